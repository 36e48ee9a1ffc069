"""Who may do what on a Kafka with an authorizer: users that authenticate with SCRAM, and their rights as ACLs.

Only the relay's user may make and write the topic. Every other user is a reader, with consumer groups that begin with
its own name.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Final

import typer
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialAlteration,
    UserScramCredentialUpsertion,
)

from vinculum_devstack.folder import read_json
from vinculum_shared.settings import TOPIC

RELAY: Final = "vinculum-command"
READERS: Final = ("vinculum-projection", "vinculum-notifier", "subscriber")
ITERATIONS: Final = 8_192
TIMEOUT_SECONDS: Final = 60.0


def grant(bootstrap: str, topic: str, passwords: Mapping[str, str]) -> None:
    """Set the passwords of users and add their rights, over a listener whose clients are super users."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    scram = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, ITERATIONS)
    credentials: list[UserScramCredentialAlteration] = [
        UserScramCredentialUpsertion(user, scram, password.encode()) for user, password in passwords.items()
    ]
    users = admin.alter_user_scram_credentials(credentials, request_timeout=TIMEOUT_SECONDS)
    rights = admin.create_acls(list(acls(topic, passwords)), request_timeout=TIMEOUT_SECONDS)
    for done in (*users.values(), *rights.values()):
        done.result()


def acls(topic: str, users: Iterable[str]) -> Iterator[AclBinding]:
    for user in users:
        if user == RELAY:
            yield allow(user, ResourceType.TOPIC, topic, AclOperation.CREATE)
            yield allow(user, ResourceType.TOPIC, topic, AclOperation.WRITE)
        else:
            yield allow(user, ResourceType.TOPIC, topic, AclOperation.READ)
            yield allow(user, ResourceType.GROUP, user, AclOperation.READ, ResourcePatternType.PREFIXED)


def allow(
    user: str,
    kind: ResourceType,
    name: str,
    operation: AclOperation,
    pattern: ResourcePatternType = ResourcePatternType.LITERAL,
) -> AclBinding:
    return AclBinding(kind, name, pattern, f"User:{user}", "*", operation, AclPermissionType.ALLOW)


def main(bootstrap: Annotated[str, typer.Argument()], users: Annotated[Path, typer.Argument()]) -> None:
    grant(bootstrap, TOPIC, read_json(users))


if __name__ == "__main__":
    typer.run(main)
