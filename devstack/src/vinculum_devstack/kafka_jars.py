"""The jars of Kafka, from Maven: fetched once per machine, each checked against the sum in kafka_jars.txt.

`tools/lock_kafka.py` writes that file.
"""

import hashlib
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import requests
from jgo.maven import MavenContext

from vinculum_devstack.folder import only_one
from vinculum_devstack.problems import StackError

LOCK: Final = Path(__file__).with_name("kafka_jars.txt")
DOWNLOADS: Final = 8  # at a time


@dataclass(frozen=True)
class Jar:
    coordinate: str  # group:artifact:version
    sha256: str

    @property
    def path(self) -> Path:
        group, artifact, version = self.coordinate.split(":")
        return cache_folder().joinpath(*group.split("."), artifact, version, f"{artifact}-{version}.jar")

    def fetch(self) -> None:
        group, artifact, version = self.coordinate.split(":")
        maven = MavenContext(repo_cache=cache_folder(), local_repos=[])
        maven.project(group, artifact).at_version(version).artifact().resolve()
        if sha256(self.path) != self.sha256:  # a download that was cut short, or worse
            self.path.unlink()
            raise StackError(
                f"{self.coordinate} from the Maven repository is not the file it should be. Run this again."
            )


def jars() -> list[Jar]:
    return [Jar(*line.split()) for line in LOCK.read_text().splitlines()]


def fetch_jars() -> None:
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    try:
        with only_one(cache / "lock"), ThreadPoolExecutor(DOWNLOADS) as downloads:
            list(downloads.map(Jar.fetch, jars()))
    except (requests.RequestException, RuntimeError) as error:
        raise StackError(
            "Kafka could not be downloaded from the Maven repository: 43 MB, once. Connect to the network and run this "
            f"again, or set VINCULUM_KAFKA_BOOTSTRAP to a Kafka that runs already. What has come stays in {cache}.\n"
            f"{error}"
        ) from error


def write_lock(jars: Iterable[Jar]) -> None:
    LOCK.write_text("".join(f"{jar.coordinate} {jar.sha256}\n" for jar in jars))


def cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vinculum" / "maven"


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
