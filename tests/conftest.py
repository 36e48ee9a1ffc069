import os

import structlog
from hypothesis import HealthCheck, settings

pytest_plugins = ["support.servers", "support.paused", "support.log_server", "support.tokens"]

# With its defaults, structlog draws all the locals beside a traceback, which keeps the event loop for seconds.
structlog.configure(processors=[structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)])

# What somebody has set for a stack of their own must not reach the services that are tested here.
STEERING = ("VINCULUM_TEST_", "VINCULUM_FAULT_")
for name in [name for name in os.environ if name.startswith("VINCULUM_") and not name.startswith(STEERING)]:
    del os.environ[name]

# How long an example takes says something of the machine, not of the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def pytest_xdist_auto_num_workers() -> int:
    """Return how many tests `-n auto` runs at once: one more than there are cores, since most of them wait."""
    return (os.cpu_count() or 1) + 1
