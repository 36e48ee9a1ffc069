"""The page at /docs: the OpenAPI document as plain HTML, without scripts and without anything from elsewhere."""

import json
from base64 import b64encode
from hashlib import sha256
from html import escape
from typing import Any, Final

Schema = dict[str, Any]

STYLE: Final = """
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.5 system-ui, sans-serif; }
details { border-top: 1px solid #ccc; padding: .4rem 0; }
summary { cursor: pointer; }
pre { background: #f4f4f4; padding: .6rem; overflow-x: auto; }
th, td { text-align: left; padding-right: 1.5rem; vertical-align: top; }
@media (prefers-color-scheme: dark) {
    body { background: #111; color: #ddd; } pre { background: #222; } a { color: #8bf; }
}
"""
STYLE_HASH: Final = b64encode(sha256(STYLE.encode()).digest()).decode()
POLICY: Final = f"default-src 'none'; frame-ancestors 'none'; style-src 'sha256-{STYLE_HASH}'"
"""The page's Content-Security-Policy."""


def page(openapi: Schema) -> str:
    title = escape(openapi["info"]["title"])
    operations = "".join(
        operation(method, path, told) for path, methods in openapi["paths"].items() for method, told in methods.items()
    )
    schemas = "".join(
        f'<details id="{escape(name)}"><summary><code>{escape(name)}</code></summary>{pretty(schema)}</details>'
        for name, schema in openapi.get("components", {}).get("schemas", {}).items()
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{title}</title><style>{STYLE}</style></head>"
        f"<body><h1>{title}</h1><p>{escape(openapi['info'].get('description', ''))}</p>"
        f'<p>The same for programs: <a href="/openapi.json">/openapi.json</a></p>'
        f"<h2>Addresses</h2>{operations}<h2>Schemas</h2>{schemas}</body></html>"
    )


def operation(method: str, path: str, told: Schema) -> str:
    parameters = "".join(map(parameter, told.get("parameters", [])))
    bodies = "".join(
        f"<p>Body, <code>{escape(content_type)}</code>:</p>{pretty(content.get('schema', {}))}"
        for content_type, content in told.get("requestBody", {}).get("content", {}).items()
    )
    return (
        f"<details><summary><code>{method.upper()} {escape(path)}</code> {escape(told.get('summary', ''))}</summary>"
        f"<p>{escape(told.get('description', ''))}</p><table>{parameters}</table>{bodies}</details>"
    )


def parameter(told: Schema) -> str:
    where = told["in"] + (", required" if told.get("required") else "")
    schema = escape(json.dumps(told.get("schema", {})))
    return f"<tr><td><code>{escape(told['name'])}</code></td><td>{where}</td><td><code>{schema}</code></td></tr>"


def pretty(schema: Schema) -> str:
    """Write a schema as indented JSON, its references linked to where on this page they are told."""
    text = escape(json.dumps(schema, indent=2, ensure_ascii=False), quote=False)
    lines = (linked(line) if '"$ref"' in line else line for line in text.splitlines())
    return f"<pre>{chr(10).join(lines)}</pre>"


def linked(line: str) -> str:
    name = line.rpartition("/")[2].rstrip('",')
    return line.replace(name, f'<a href="#{name}">{name}</a>')
