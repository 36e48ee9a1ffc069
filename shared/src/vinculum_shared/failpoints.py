"""Named moments at which a test can have this process die, pause, fail or leave.

VINCULUM_FAILPOINTS="relay.acknowledged=kill@3,subscription.applied=raise" acts at the third hit of the one, at the
first of the other. Without the variable `reach` does nothing.
"""

import os
import signal
from collections.abc import Callable
from typing import Final

SPEC: Final = os.environ.get("VINCULUM_FAILPOINTS", "")


class FailpointError(Exception):
    """A failpoint was told to raise."""


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def stop() -> None:
    """Pause until somebody sends SIGCONT."""
    os.kill(os.getpid(), signal.SIGSTOP)


def leave() -> None:
    os._exit(3)


def fail() -> None:
    raise FailpointError


ACTIONS: Final[dict[str, Callable[[], None]]] = {"kill": kill, "stop": stop, "exit": leave, "raise": fail}


def armed(spec: str) -> Callable[[str], None]:
    """Make a `reach` that acts as `spec` says."""
    actions: dict[str, tuple[Callable[[], None], int]] = {}
    for item in spec.split(","):
        name, _, action = item.strip().partition("=")
        verb, _, hit = action.partition("@")
        actions[name] = (ACTIONS[verb], int(hit or 1))
    hits = dict.fromkeys(actions, 0)

    def reach_armed(name: str) -> None:
        if name in actions:
            hits[name] += 1
            act, hit = actions[name]
            if hits[name] == hit:
                act()

    return reach_armed


def unarmed(_: str) -> None:
    """Do nothing: this is production."""


reach: Final = armed(SPEC) if SPEC else unarmed
