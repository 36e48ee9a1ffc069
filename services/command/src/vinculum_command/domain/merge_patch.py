"""What a merge patch (RFC 7396) makes of a value."""

from collections.abc import Mapping
from typing import Any


def merged(before: Any, patch: Any) -> Any:
    """Replace a value; an object key by key, where one left out stays and null removes it."""
    if not isinstance(patch, Mapping):
        return patch
    kept = before if isinstance(before, Mapping) else {}
    after = {**kept, **{key: merged(kept.get(key), value) for key, value in patch.items()}}
    return {key: value for key, value in after.items() if key not in patch or value is not None}
