"""The metrics of the notifier. No label takes values without a bound (no tenants, no ids)."""

from typing import Final

from prometheus_client import Counter

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
