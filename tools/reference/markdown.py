"""Tables, and schemas in words."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

Schema = dict[str, Any]

BAR: Final = "\\|"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', BAR) for cell in line)} |\n" for line in lines)


def code(value: Any) -> str:
    return f"`{value}`"


def in_words(schema: Schema) -> str:
    """Say what a value looks like: `uuid`, `list of text`, `time or null`."""
    keyword = next((each for each in WORDS if each in schema), None)
    return WORDS[keyword](schema) if keyword else "any value"


def reference(schema: Schema) -> str:
    name = schema["$ref"].rpartition("/")[2]
    return "any value" if name == "JsonValue" else f"[{name}](#{name.lower()})"


def either(schemas: Iterable[Schema]) -> str:
    return " or ".join(dict.fromkeys(map(in_words, schemas)))


def listed(values: Iterable[Any]) -> str:
    return ", ".join(map(code, values))


def of_type(schema: Schema) -> str:
    if isinstance(schema["type"], list):
        return either({**schema, "type": each} for each in schema["type"])
    return TYPES[schema["type"]](schema) if schema["type"] in TYPES else str(schema["type"])


def text(schema: Schema) -> str:
    if "format" in schema:
        return "time" if schema["format"] == "date-time" else str(schema["format"])
    return f"text up to {schema['maxLength']}" if "maxLength" in schema else "text"


def mapping(schema: Schema) -> str:
    """Describe a map by what its values are; an object that has fields is told field by field, elsewhere."""
    values = [*schema.get("patternProperties", {}).values(), schema.get("additionalProperties")]
    return f"map to {in_words(values[0])}" if isinstance(values[0], dict) else "object"


WORDS: Final[dict[str, Callable[[Schema], str]]] = {
    "$ref": reference,
    "anyOf": lambda schema: either(schema["anyOf"]),
    "const": lambda schema: code(schema["const"]),
    "enum": lambda schema: listed(schema["enum"]),
    "x-extensible-enum": lambda schema: f"{listed(schema['x-extensible-enum'])}, more to come",
    "type": of_type,
}
TYPES: Final[dict[str, Callable[[Schema], str]]] = {
    "string": text,
    "array": lambda schema: f"list of {in_words(schema['items'])}",
    "object": mapping,
}
