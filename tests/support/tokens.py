"""Bearer tokens of an issuer that the tests make up."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


@dataclass(frozen=True)
class Issuer:
    key: Ed25519PrivateKey
    jwks: Path

    @classmethod
    def make(cls, folder: Path) -> Self:
        key = Ed25519PrivateKey.generate()
        public = jwt.algorithms.OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)
        jwks = folder / "jwks.json"
        jwks.write_text(json.dumps({"keys": [public | {"kid": "test", "use": "sig"}]}))
        return cls(key, jwks)

    def token(self, **claims: Any) -> str:
        now = int(time.time())
        standard = {"iss": "vinculum", "aud": "vinculum", "iat": now, "exp": now + 600}
        return jwt.encode(standard | claims, self.key, algorithm="EdDSA", headers={"kid": "test"})


@pytest.fixture(scope="session")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Issuer:
    return Issuer.make(tmp_path_factory.mktemp("issuer"))
