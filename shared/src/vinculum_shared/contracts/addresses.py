"""E-mail addresses: when two are the same one."""

import hashlib
import hmac
import string
from typing import Final

_ASCII_LOWER: Final = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def comparable(address: str) -> str:
    """Return the form by which addresses are compared: only the case of ASCII letters doesn't count."""
    return address.translate(_ASCII_LOWER)


def address_hash(key: bytes, address: str) -> str:
    """Return the keyed hash of an address: the same for all ways to write it, and telling nobody without the key."""
    return hmac.new(key, comparable(address).encode(), hashlib.sha256).hexdigest()
