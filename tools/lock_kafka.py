"""Resolve what Kafka needs from Maven and write devstack's kafka_jars.txt. To take another version, change it here."""

from typing import Final

import jgo
from jgo.maven import Artifact

from vinculum_devstack.kafka_jars import Jar, sha256, write_lock

KAFKA: Final = "org.apache.kafka:kafka_2.13:4.4.0"
LOGGING: Final = "org.apache.logging.log4j:log4j-slf4j-impl:2.25.5"  # without a binding Kafka logs nothing


def main() -> None:
    artifacts: dict[tuple[str, str], Artifact] = {}
    # One after the other: resolved together, the versions that log4j's own build uses would win over Kafka's.
    for endpoint in (KAFKA, LOGGING):
        for artifact in jgo.resolve(endpoint):
            artifacts.setdefault((artifact.groupId, artifact.artifactId), artifact)
    jars = [
        Jar(f"{artifact.groupId}:{artifact.artifactId}:{artifact.version}", sha256(artifact.resolve()))
        for _, artifact in sorted(artifacts.items())
    ]
    write_lock(jars)
    print(f"{len(jars)} jars")


if __name__ == "__main__":
    main()
