"""Header fields (RFC 5322) whose text is read back as it was given, whatever a name is made of.

Python's EmailPolicy is not asked to write them: 3.11 drops the quotes around a name when it folds it, so that a comma
parts one sender into two; it decodes what looks like an encoded word in a name, and loses blanks between its own.
"""

import re
from email.errors import MessageError
from email.header import Header
from email.policy import default
from email.utils import formataddr
from typing import Final

from vinculum_shared.contracts.addresses import ENCODED_WORD, mailable

ENCODED_LINE: Final = 76  # characters, in a field with encoded words (RFC 2047, 2)
LONGEST_LINE: Final = 998  # RFC 5322, 2.1.1


class UnsafeHeaderError(Exception):
    """An address would be read as another one, or the mail would have other headers than those meant."""


def text(name: str, value: str) -> str:
    """Return the value of an unstructured field, such as Subject."""
    value = " ".join(value.split())
    fits = len(name) + len(": ") + len(value) <= ENCODED_LINE
    return value if fits and is_plain(value) else encoded(name, value)


def mailbox(name: str, display_name: str, address: str) -> str:
    """Return the value of a field that is one address with the name to show for it."""
    shown, spec = " ".join(display_name.split()), addr_spec(address)
    plain = formataddr((shown, spec))
    fits = len(name) + len(": ") + len(plain) <= LONGEST_LINE
    return plain if fits and is_plain(shown) else f"{encoded(name, shown)}\r\n <{spec}>"


def addr_spec(address: str) -> str:
    """Return an address as it is mailed to. Raise UnsafeHeaderError if it would be read as another one, or several."""
    address = mailable(address)
    try:
        read = default.header_factory("To", address).addresses
    except (ValueError, IndexError, MessageError) as error:
        raise UnsafeHeaderError from error
    if [each.addr_spec for each in read] != [address] or ENCODED_WORD in address:
        raise UnsafeHeaderError
    return address


def encoded(name: str, value: str) -> str:
    """Return encoded words, on as many lines as they need: letters, digits and a few signs, whatever they stand for."""
    return Header(value, "utf-8", maxlinelen=ENCODED_LINE, header_name=name).encode(linesep="\r\n")


def is_plain(value: str) -> bool:
    return value.isascii() and value.isprintable() and ENCODED_WORD not in value


def names(written: bytes) -> list[str]:
    """Return the names of a message's fields, as a mail server reads them. A line that is no header counts as one."""
    block = written.partition(b"\r\n\r\n")[0].decode()
    return [line.partition(":")[0] for line in re.split(r"\r\n|\r|\n", block) if not line.startswith((" ", "\t"))]
