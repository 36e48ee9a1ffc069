"""What a merge patch (RFC 7396) makes of a value."""

from collections.abc import Mapping
from typing import Any


def merged(before: Any, patch: Any, *, null_removes: bool = True) -> Any:
    """Replace a value; an object key by key, where one left out stays and null removes it, unless null is a value."""
    if not isinstance(patch, Mapping):
        return patch
    kept = before if isinstance(before, Mapping) else {}
    changes = {key: merged(kept.get(key), value, null_removes=null_removes) for key, value in patch.items()}
    removed = {key for key, value in changes.items() if value is None and null_removes}
    return {key: value for key, value in {**kept, **changes}.items() if key not in removed}
