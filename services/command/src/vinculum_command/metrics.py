"""The metrics of the command service. No label takes values without a bound (no tenants, no ids)."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from vinculum_shared.metrics import QUICK

SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)

COMMANDS: Final = Counter(
    "vinculum_commands",
    "Commands answered. Outcome: done, nothing (no events), replayed (stored answer), or the problem's code.",
    ["command", "outcome"],
)
APPEND_SECONDS: Final = Histogram(
    "vinculum_append_seconds", "One append call of a group of commands, commit included.", buckets=QUICK
)
APPEND_COMMANDS: Final = Histogram("vinculum_append_batch_size", "Commands that shared one commit.", buckets=SIZES)
APPEND_MOVED: Final = Counter(
    "vinculum_append_moved", "Commands decided again because a head that they had read had moved."
)
QUEUED_COMMANDS: Final = Gauge("vinculum_queue_length", "Commands that wait for the next append.")
RELAYED: Final = Counter("vinculum_relay_sent", "Events that Kafka has acknowledged; those sent again count again.")
RELAY_RESTARTS: Final = Counter("vinculum_relay_restarts", "Failed sends, after each of which the relay starts afresh.")
