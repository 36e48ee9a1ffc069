"""The metrics of a service that reads the events. No label takes values without a bound (no tenants, no ids)."""

from typing import Final

from prometheus_client import Counter, Gauge

APPLIED: Final = Counter("vinculum_consumer_applied", "Events applied, those parked not included.")
SEEN_AGAIN: Final = Counter(
    "vinculum_consumer_seen_again",
    "Records dropped because their position was applied before, or the log was asked in their place.",
)
GAPS_FILLED: Final = Counter(
    "vinculum_gaps_filled", "Times that events were fetched from the log, because the topic did not bring them."
)
FORGERIES: Final = Counter(
    "vinculum_forgeries_noticed",
    "Times that a tenant had records on the topic beyond the end of its log, however many they were: they are forged.",
)
TENANTS_HELD: Final = Gauge(
    "vinculum_held_tenants",
    "Tenants of which nothing more is applied until they are rebuilt.",
)
CAS_REJECTIONS: Final = Counter(
    "vinculum_cas_rejections", "Batches dropped because another instance had gone on: the fence at work."
)
PARKED: Final = Gauge("vinculum_parked_events", "Events that wait for an operator; anything above 0 wants a look.")
