"""The languages that mails and pages are written in, and how each writes a date and a sum of money.

Strings are English in the templates. `locale/` has them in other languages: those, and English, are spoken here.
"""

import gettext
import io
import re
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Final

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_time, get_datetime_format
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_currency, format_decimal
from jinja2 import PackageLoader, StrictUndefined, select_autoescape
from jinja2.sandbox import SandboxedEnvironment

PACKAGE: Final = "vinculum_notifier"
SOURCE_LANGUAGE: Final = "en"
LETTER_BEFORE_DIGIT: Final = re.compile(r"(?<=[^\W\d_])(?=\d)")
NO_BREAK_SPACE: Final = "\u00a0"


def preferred(*tags: str | None) -> Locale:
    """Return the locale to write in: that of the first tag whose language is spoken here, or else English."""
    return nearest(next((tag for tag in tags if tag and tag.partition("-")[0] in languages()), SOURCE_LANGUAGE))


def nearest(tag: str) -> Locale:
    """Return the locale whose dates and numbers come closest: CLDR has none for it-AT, and `it` for it."""
    language, _, region = tag.partition("-")
    try:
        return Locale(language, region or None)
    except UnknownLocaleError:
        return Locale(language)


@cache
def languages() -> frozenset[str]:
    catalogues = (each.name for each in files(PACKAGE).joinpath("locale").iterdir() if each.is_dir())
    return frozenset({SOURCE_LANGUAGE, *catalogues})


@cache
def templates(language: str) -> SandboxedEnvironment:
    found = SandboxedEnvironment(
        loader=PackageLoader(PACKAGE),
        extensions=["jinja2.ext.i18n"],
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.globals["language"] = language
    found.install_gettext_translations(catalogue(language), newstyle=True)  # type: ignore[attr-defined]
    return found


def catalogue(language: str) -> gettext.NullTranslations:
    """Read a catalogue as translators write it, so that no compiled one can be older than it."""
    if language == SOURCE_LANGUAGE:
        return gettext.NullTranslations()
    compiled = io.BytesIO()
    with files(PACKAGE).joinpath("locale", language, "LC_MESSAGES", "messages.po").open("rb") as source:
        write_mo(compiled, read_po(source, language))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


def day(value: date, locale: Locale) -> str:
    return str(format_date(value, "long", locale))


def instant(value: datetime, locale: Locale) -> str:
    """Write a time in UTC, and say so: nobody has told where the reader is."""
    pattern = str(get_datetime_format("long", locale)).replace("'", "")
    return f"{pattern.format(format_time(value, 'short', locale=locale), format_date(value, 'long', locale))} UTC"


def money(amount: Decimal, currency: str | None, locale: Locale) -> str:
    """Write a sum to its last digit: never rounded, and with the currency's digits at least."""
    if currency is None:
        return str(format_decimal(amount, "#,##0.00", locale, decimal_quantization=False))
    written = format_currency(amount, currency, locale=locale, decimal_quantization=False)
    return LETTER_BEFORE_DIGIT.sub(NO_BREAK_SPACE, written)
