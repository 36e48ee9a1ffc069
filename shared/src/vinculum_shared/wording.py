"""What callers are told about a value that can't be accepted, in place of pydantic's own messages."""

from collections.abc import Mapping
from typing import Any, Final, get_args

from pydantic_core.core_schema import ErrorType

from vinculum_shared.contracts import values

REFUSED: Final = "This value can't be accepted."

A_DATE: Final = "Give a date, for example 2026-03-01."
A_LIST: Final = "Give a list."
A_NUMBER: Final = "Give a number."
A_STRING: Final = "Give a string."
A_TIME: Final = "Give a time with its zone, for example 2026-03-01T09:00:00Z."
A_UUID: Final = "Give a UUID, for example 01980000-0000-7000-8000-000000000001."
A_WHOLE_NUMBER: Final = "Give a whole number."
AN_OBJECT: Final = "Give an object."
TRUE_OR_FALSE: Final = "Give true or false."

WORDS: Final[dict[str, str]] = {
    "missing": "This field is required.",
    "extra_forbidden": "This field is not known here. Correct its name, or remove it.",
    "none_required": "Give null, or leave the field out.",
    "bool_type": TRUE_OR_FALSE,
    "bool_parsing": TRUE_OR_FALSE,
    "int_type": A_WHOLE_NUMBER,
    "int_parsing": A_WHOLE_NUMBER,
    "int_parsing_size": "The number is too large.",
    "int_from_float": A_WHOLE_NUMBER,
    "float_type": A_NUMBER,
    "float_parsing": A_NUMBER,
    "finite_number": A_NUMBER,
    "decimal_type": A_NUMBER,
    "decimal_parsing": A_NUMBER,
    "decimal_max_digits": "Give at most {max_digits} digits.",
    "decimal_max_places": "Give at most {decimal_places} decimal places.",
    "decimal_whole_digits": "Give at most {whole_digits} digits before the decimal point.",
    "greater_than": "Give more than {gt}.",
    "greater_than_equal": "Give at least {ge}.",
    "less_than": "Give less than {lt}.",
    "less_than_equal": "Give at most {le}.",
    "string_type": A_STRING,
    "string_unicode": "The string is not valid Unicode.",
    "string_too_short": "Give at least {min_length} character(s).",
    "string_too_long": "Give at most {max_length} characters.",
    "literal_error": "Give one of these: {expected}.",
    "uuid_type": A_UUID,
    "uuid_parsing": A_UUID,
    "uuid_version": A_UUID,
    "date_type": A_DATE,
    "date_parsing": A_DATE,
    "date_from_datetime_parsing": A_DATE,
    "date_from_datetime_inexact": A_DATE,
    "datetime_type": A_TIME,
    "datetime_parsing": A_TIME,
    "datetime_from_date_parsing": A_TIME,
    "datetime_object_invalid": A_TIME,
    "timezone_aware": A_TIME,
    "dict_type": AN_OBJECT,
    "mapping_type": AN_OBJECT,
    "model_type": AN_OBJECT,
    "model_attributes_type": AN_OBJECT,
    "list_type": A_LIST,
    "tuple_type": A_LIST,
    "set_type": A_LIST,
    "frozen_set_type": A_LIST,
    "too_short": "Give at least {min_length}.",
    "too_long": "Give at most {max_length}.",
    "invalid-json-value": "Give a value that JSON has.",
}
"""By pydantic's type of the error, with the names of its context."""

FORMS: Final[dict[str, str]] = {
    values.IN_A_LINE: "Give one line of text that is not blank, without control characters.",
    values.SHOWING: "Give one line of text with a visible character, without control characters.",
    values.NO_NUL: "Remove the NUL characters.",
    values.CODE: "Use lower-case letters, digits and _ : . - and begin with a letter; at most 64 characters.",
    values.LOCALE: "Give a language, or a language and a region, for example it or it-CH.",
    values.CURRENCY: "Give a currency by its ISO 4217 code, for example EUR.",
    values.ADDRESS: "Give an email address, for example bo@example.com.",
    values.ADDRESS_HASH: "Give the keyed hash of an address: 64 hexadecimal digits, in lower case.",
    values.TENANT: "Use lower-case letters, digits and hyphens, and begin with no hyphen; at most 63 characters.",
    values.WEB_ADDRESS: "Give an address that begins with https:// or http://, without a query or a fragment.",
}
"""By the regular expression that a string has to match."""

PYDANTIC: Final = frozenset(get_args(ErrorType))


def detail(error: Mapping[str, Any]) -> str:
    """Return what to tell a caller about one of pydantic's errors. It repeats nothing of the value."""
    kind, context = error["type"], error.get("ctx", {})
    if "detail" in context:
        return str(context["detail"])
    if kind == "string_pattern_mismatch":
        return FORMS.get(context["pattern"], REFUSED)
    if kind in ("value_error", "assertion_error"):
        return str(context["error"])
    if kind in WORDS:
        return WORDS[kind].format_map(context)
    return REFUSED if kind in PYDANTIC else str(error["msg"])
