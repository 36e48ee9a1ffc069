"""Write docs/reference from the code: schemas, AsyncAPI, OpenAPI, catalogues. `--check` only compares."""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from breaking_changes import Change, breaking_changes, transport_changes
from reference import commands, errors, events, notifications, openapi
from vinculum_command import asyncapi
from vinculum_shared.contracts import schemas

REFERENCE: Final = Path(__file__).parents[1] / "docs" / "reference"
RENEW: Final = "Renew it: .venv/bin/python tools/generate.py"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a document is stale")
    parser.add_argument("--accept-breaking", action="store_true", help="overwrite what readers rely on")
    options = parser.parse_args()
    new, old = documents(), committed()
    if options.check:
        check(old, new)
    elif (breaking := changes(old, new)) and not options.accept_breaking:
        refuse(breaking)
    else:
        write(old, new)


def documents() -> dict[str, str]:
    """Return every document by its path in docs/reference."""
    return {
        **{f"schemas/{name}.json": as_text(schema) for name, schema in schemas.schemas().items()},
        "asyncapi.json": as_text(asyncapi.document()),
        **{f"openapi-{service}.json": as_text(document) for service, document in openapi.documents().items()},
        "events.md": events.document(),
        "commands.md": commands.document(),
        "errors.md": errors.document(),
        "notifications.md": notifications.document(),
    }


def as_text(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def committed() -> dict[str, str]:
    files = [path for path in REFERENCE.rglob("*") if path.is_file()]
    return {path.relative_to(REFERENCE).as_posix(): path.read_text("utf-8") for path in files}


def changes(old: Mapping[str, str], new: Mapping[str, str]) -> list[Change]:
    """Find what would break readers, or replay. A schema that is committed is frozen; the union of all grows."""
    union = f"schemas/{schemas.ANY_EVENT_FILE}.json"
    frozen = ({k: json.loads(v) for k, v in each.items() if "schemas/" in k and k != union} for each in (old, new))
    found = breaking_changes(*frozen)
    if "asyncapi.json" in old:
        found += transport_changes(json.loads(old["asyncapi.json"]), json.loads(new["asyncapi.json"]))
    return found


def check(old: Mapping[str, str], new: Mapping[str, str]) -> None:
    stale = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
    if stale:
        sys.exit("\n".join([*(f"docs/reference/{name} is stale." for name in stale), RENEW]))


def refuse(breaking: list[Change]) -> None:
    advice = "A new meaning is a new version of the type: raise its VERSION. --accept-breaking overwrites all the same."
    sys.exit("\n".join([*map(str, breaking), advice]))


def write(old: Mapping[str, str], new: Mapping[str, str]) -> None:
    for name in {*old} - {*new}:
        (REFERENCE / name).unlink()
    for name, text in new.items():
        path = REFERENCE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
