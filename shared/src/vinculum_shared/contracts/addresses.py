"""Email addresses: what is one, and when two are the same."""

import hashlib
import hmac
import re
import unicodedata
from contextlib import suppress
from functools import lru_cache
from typing import Annotated, Final

import email_validator
from email_validator import EmailNotValidError, ValidatedEmail, validate_email
from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from vinculum_shared.contracts.values import ADDRESS_LENGTH_MAX, INVISIBLE, Address

# Whether mail can reach a domain is not asked here: firms have addresses at names that are only known inside.
email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()

_LABEL: Final = "[a-z0-9]+(?:-[a-z0-9]+)*"
PLAIN: Final = re.compile(rf"[a-z0-9_+-]+(?:\.[a-z0-9_+-]+)*@(?:{_LABEL}\.)+[a-z]{{2,}}", re.IGNORECASE | re.ASCII)
PLAIN_LENGTH_MAX: Final = 64  # no part of a shorter address is too long
"""Most addresses are of this form, of which the library has nothing to say."""

ENCODED_WORD: Final = "=?"
"""How an encoded word begins (RFC 2047). In a header, an address that has it may be read as another one."""

LOCAL_LENGTH_MAX: Final = 64  # octets (RFC 5321, 4.5.3.1.1; RFC 6531, 3.3)
_INVISIBLE: Final = re.compile(f"[{INVISIBLE}]")


def comparable(address: str) -> str:
    """Return the form by which addresses are compared: neither case, nor how Unicode or IDNA spell it, counts.

    What is not an address, such as half of one in a search, has such a form too.
    """
    if _plain(address):
        return address.lower()
    with suppress(EmailNotValidError):
        address = _validated(address).normalized
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", address).lower())


def mailable(address: str) -> str:
    """Return an address as mail servers take it: with a domain in IDNA's form, in ASCII if that is all there is to it.

    What was stored earlier and is no address stays as it is.
    """
    if address.isascii():
        return address
    with suppress(EmailNotValidError):
        validated = _validated(address)
        return validated.ascii_email or validated.normalized
    return address


def address_hash(key: bytes, address: str) -> str:
    """Return the keyed hash of an address: the same for all ways to write it, and telling nobody without the key."""
    return hmac.new(key, comparable(address).encode(), hashlib.sha256).hexdigest()


def check(address: object) -> object:
    """Return an address as it was given. Raise what a validator raises, with the reason in words, if it is none."""
    fault = _fault(address) if isinstance(address, str) and not _plain(address) else None
    if fault:
        raise PydanticCustomError("not_an_address", fault)
    return address


def _fault(address: str) -> str | None:
    if _octets(address) > ADDRESS_LENGTH_MAX:  # the library would look at each of them
        return f"An email address has at most {ADDRESS_LENGTH_MAX} bytes in UTF-8."
    if _octets(address.partition("@")[0]) > LOCAL_LENGTH_MAX:
        return f"An email address has at most {LOCAL_LENGTH_MAX} bytes in UTF-8 before the @-sign."
    if _INVISIBLE.search(address):
        return "An email address can't have invisible characters."
    if ENCODED_WORD in address:
        return 'An email address can\'t have "=?", which mail programs read as the start of encoded text.'
    try:
        _validated(address)
    except EmailNotValidError as error:
        return str(error)
    return None


def _octets(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))


def _plain(address: str) -> bool:
    return len(address) <= PLAIN_LENGTH_MAX and PLAIN.fullmatch(address) is not None


@lru_cache(maxsize=16_384)
def _validated(address: str) -> ValidatedEmail:
    return validate_email(address, check_deliverability=False, strict=True)


NewAddress = Annotated[Address, BeforeValidator(check)]
"""An address that comes from outside. Events keep any that was one when they were written."""
