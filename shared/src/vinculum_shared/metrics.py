"""Every metric of the three services, and what it means. No label takes values without a bound (no tenants, no ids)."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

QUICK: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)

HTTP_SECONDS: Final = Histogram(
    "vinculum_http_request_seconds",
    "From the first byte of a request to the last of its answer; streams count until they end.",
    ["method", "route", "status"],
    buckets=QUICK,
)

PART_RESTARTS: Final = Counter(
    "vinculum_part_restarts", "Times that a part of the process ended unasked, and was restarted.", ["part"]
)

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
RELAY_LAG: Final = Gauge("vinculum_relay_position_lag_events", "Events stored and not yet relayed, over all tenants.")

CONSUMER_LAG_EVENTS: Final = Gauge(
    "vinculum_consumer_lag_events",
    "Events in the log and not yet applied by this service, over all tenants, as of the last comparison with the log.",
)
CONSUMER_LAG_SECONDS: Final = Gauge(
    "vinculum_consumer_lag_seconds", "Age of the newest applied event when it was applied; stale while nothing comes."
)
APPLIED: Final = Counter("vinculum_consumer_applied", "Events applied, those parked not included.")
SEEN_AGAIN: Final = Counter("vinculum_consumer_seen_again", "Events dropped because their position was applied before.")
GAPS_FILLED: Final = Counter(
    "vinculum_gaps_filled", "Times that events were fetched from the log, because the topic did not bring them."
)
CAS_REJECTIONS: Final = Counter(
    "vinculum_cas_rejections", "Batches dropped because another instance had gone on: the fence at work."
)
PARKED: Final = Gauge("vinculum_parked_events", "Events that wait for an operator; anything above 0 wants a look.")

NOTIFICATIONS: Final = Counter(
    "vinculum_notifications",
    "Rows of the ledger that reached an outcome: sent, sent_unconfirmed, held, skipped, failed, nobody.",
    ["topic", "outcome"],
)
NOTIFICATION_ERRORS: Final = Counter(
    "vinculum_notification_errors",
    "Attempts to send a mail that ended in an unforeseen error, which the log has; the mail is tried again.",
)
NOTIFICATIONS_UNCLEAR: Final = Counter(
    "vinculum_notifications_unclear",
    "Times that the mail server may have accepted a mail without our hearing it; each may be one duplicate.",
)
