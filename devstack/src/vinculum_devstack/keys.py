"""The signing key, the passwords and the secrets of one stack: made once, readable by its owner alone."""

import json
import os
import secrets
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jwt.algorithms import OKPAlgorithm

from vinculum_devstack.folder import read_json, write_json
from vinculum_devstack.problems import StackError

KID: Final = "local"

# By the suffix of the setting that takes it.
SECRETS: Final = {
    "command": ("ADDRESS_KEY", "INVITATION_KEY"),
    "projection": ("CURSOR_KEY",),
    "notifier": ("ADDRESS_KEY", "CURSOR_KEY", "INVITATION_KEY", "MESSAGE_ID_KEY", "UNSUBSCRIBE_KEY"),
}
SHARED: Final = frozenset({"ADDRESS_KEY", "INVITATION_KEY"})
"""Services with such a secret have the same one."""


def make_keys(data: Path) -> None:
    """Make what is missing: an older stack lacks the secrets that came later."""
    found = keys(data) if _path(data).exists() else _new_keys(data)
    complete = found | {"secrets": _secrets(found["secrets"])}
    if complete != read_json(_path(data)):
        write_json(_path(data), complete)


def _new_keys(data: Path) -> dict[str, Any]:
    private = Ed25519PrivateKey.generate()
    public = OKPAlgorithm.to_jwk(private.public_key(), as_dict=True) | {"kid": KID, "use": "sig", "alg": "EdDSA"}
    write_json(jwks(data), {"keys": [public]})
    return {
        "signing_key": private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        "postgres_password": secrets.token_urlsafe(24),
        "database_passwords": {service: secrets.token_urlsafe(24) for service in SECRETS},
        "secrets": {},
    }


def _secrets(made: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """Add the secrets that have not been made yet."""
    common = {name: secrets.token_urlsafe(32) for name in SHARED}
    common |= {name: value for own in made.values() for name, value in own.items() if name in SHARED}
    return {
        service: {name: secrets.token_urlsafe(32) for name in names}
        | {name: common[name] for name in names if name in SHARED}
        | made.get(service, {})
        for service, names in SECRETS.items()
    }


def keys(data: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] | None = read_json(_path(data))
    except PermissionError as error:
        raise StackError(f"{_path(data)} is somebody else's: run this as the one who started the stack.") from error
    except json.JSONDecodeError as error:
        raise StackError(f"{_path(data)} is damaged. Run `vinculum down` and delete {data} to start afresh.") from error
    if found is None:
        raise StackError(f"There is no stack in {data} yet. Run `vinculum up`, or set VINCULUM_DATA to where it is.")
    return found


def jwks(data: Path) -> Path:
    return data / "jwks.json"


def service_secrets(data: Path, service: str) -> dict[str, str]:
    return {f"VINCULUM_{service.upper()}_{name}": value for name, value in keys(data)["secrets"][service].items()}


def write_secret(path: Path, content: str) -> None:
    draft = path.with_suffix(".draft")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(content)
    draft.replace(path)


def _path(data: Path) -> Path:
    return data / "keys.json"
