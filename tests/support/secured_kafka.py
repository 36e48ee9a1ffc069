"""A broker that clients reach over TLS, authenticate to with SCRAM, and may only use as its ACLs say."""

from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from pydantic import SecretStr

from vinculum_devstack.certificates import make_certificate
from vinculum_devstack.kafka import Kafka
from vinculum_devstack.ports import HOST
from vinculum_shared.kafka import Security


@dataclass(frozen=True)
class SecuredKafka(Kafka):
    clients_port: int = 0
    passwords: dict[str, str] = field(default_factory=dict)

    @property
    def clients(self) -> str:
        """The address for clients. The other one is that of the super users."""
        return f"{HOST}:{self.clients_port}"

    def security(self, user: str) -> Security:
        password = self.passwords.setdefault(user, uuid4().hex)
        return Security("SASL_SSL", user, SecretStr(password), self.ca_file)

    @property
    def ca_file(self) -> Path:
        return self.folder / "ca.pem"

    def initialise(self) -> None:
        self.folder.mkdir()
        authority, certificate = make_certificate()
        self.ca_file.write_text(authority)
        self._certificate.write_text(certificate)
        super().initialise()

    def settings(self) -> dict[str, str]:
        plain = super().settings()
        scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        return plain | {
            "listeners": f"{plain['listeners']},CLIENTS://{self.clients}",
            "advertised.listeners": f"{plain['advertised.listeners']},CLIENTS://{self.clients}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,CLIENTS:SASL_SSL",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.clients.scram-sha-512.sasl.jaas.config": scram,
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self._certificate),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        }

    @property
    def _certificate(self) -> Path:
        return self.folder / "certificate.pem"
