"""Which port is whose: given by a variable, else fixed for the three services, else a free one that is remembered."""

import asyncio
import os
import random
import socket
from collections.abc import Collection
from pathlib import Path
from typing import Final

from vinculum_devstack.folder import read_json, write_json
from vinculum_devstack.problems import StackError

FIXED: Final = {"command": 8001, "projection": 8002, "notifier": 8003}
CHOSEN: Final = (
    "postgres",
    "kafka",
    "kafka_controller",
    "smtp",
    "command_metrics",
    "projection_metrics",
    "notifier_metrics",
)

# Below the range from which systems take the local ports of outgoing connections (32768 and up), so that a port
# that was free once is not lost to a connection before the next start.
CANDIDATES: Final = range(20_000, 30_000)

HOST: Final = "127.0.0.1"


def variable(name: str) -> str:
    return f"VINCULUM_{name.upper()}_PORT"


def known(data: Path) -> dict[str, int]:
    """Return the ports as far as they are settled, without choosing any."""
    remembered: dict[str, int] = read_json(data / "ports.json") or {}
    given = {name: _number(name) for name in (*FIXED, *CHOSEN) if variable(name) in os.environ}
    return FIXED | remembered | given


def settled(data: Path) -> dict[str, int]:
    ports = known(data)
    chosen: dict[str, int] = read_json(data / "ports.json") or {}
    for name in CHOSEN:
        if name not in ports:
            ports[name] = chosen[name] = free(but=ports.values())
    write_json(data / "ports.json", chosen)
    return ports


def free(but: Collection[int] = ()) -> int:
    shuffled = random.sample(CANDIDATES, len(CANDIDATES))
    return next(port for port in shuffled if port not in but and is_free(port))


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def require_free(name: str, port: int) -> None:
    if not is_free(port):
        raise StackError(
            f"Port {port} ({name.replace('_', ' ')}) is taken by another program. "
            f"End that program, or set {variable(name)} to a free port."
        )


async def answers(port: int) -> bool:
    try:
        _, connection = await asyncio.open_connection(HOST, port)
    except OSError:
        return False
    connection.close()
    return True


def _number(name: str) -> int:
    value = os.environ[variable(name)]
    if not (value.isdecimal() and 0 < int(value) < 1 << 16):
        raise StackError(f"{variable(name)} is {value!r}, which is not a port: set it to a number from 1 to 65535.")
    return int(value)
