"""Codes of public standards that a command may name. An event keeps any that has the form, for the lists change."""

from functools import cache
from typing import Annotated, Final

import babel
from babel.core import get_global
from babel.numbers import get_territory_currencies, list_currencies
from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from vinculum_shared.contracts import values

NOT_A_PLACE: Final = "ZZ"
"""The territory under which CLDR lists what is no money: test codes, metals, no currency."""


def _locale(tag: object) -> object:
    if isinstance(tag, str):
        language, dash, region = tag.partition("-")
        if language not in _languages() or (dash and region not in _regions()):
            detail = "Give a language, or a language and a region, for example it or it-CH (BCP 47)."
            raise PydanticCustomError("unknown_locale", detail)
    return tag


def _currency(code: object) -> object:
    if isinstance(code, str) and code not in _currencies():
        raise PydanticCustomError("unknown_currency", "Give a currency by its ISO 4217 code, for example EUR.")
    return code


@cache
def _languages() -> frozenset[str]:
    return frozenset({*babel.Locale("en").languages, *get_global("language_aliases")})


@cache
def _regions() -> frozenset[str]:
    return frozenset(babel.Locale("en").territories)


@cache
def _currencies() -> frozenset[str]:
    """Return what is or was money: an invoice may be older than its currency's end."""
    return frozenset(list_currencies()) - set(get_territory_currencies(NOT_A_PLACE, non_tender=True))


Locale = Annotated[values.Locale, BeforeValidator(_locale)]
Currency = Annotated[values.Currency, BeforeValidator(_currency)]
