"""What becomes of a mail: each outcome with its reasons, and what keeps a queued mail waiting."""

from typing import Final, Literal

Outcome = Literal["queued", "sent", "sent_unconfirmed", "held", "skipped", "failed", "nobody"]
Due = Literal["invited", "preference", "chosen"]
Obstacle = Literal[
    "historic",
    "no_address",
    "same_address",
    "address_suppressed",
    "account_archived",
    "contact_inactive",
    "unlinked",
    "revoked",
    "superseded",
    "expired",
    "no_portal",
    "unsubscribed",
    "preference_off",
    "permission_removed",
]
Failure = Literal[
    "rejected", "address_rejected", "retries_exhausted", "internal_error", "unsafe_header", "unsupported_address"
]
Reason = Due | Literal["no_permission", "no_recipient", "not_in_log"] | Obstacle | Failure
Wait = Literal["mail_server", "same_address", "reader"]

OUTCOMES: Final[dict[Outcome, str]] = {
    "queued": "Will be sent when it is due: see `waits_for` and `next_attempt_at`.",
    "sent": "The mail server took it. If `unclear` is above 0, it may have taken an earlier copy too.",
    "sent_unconfirmed": "It may have been sent: the answer to an attempt was lost, and it was not to be sent again.",
    "held": "The policy keeps it back.",
    "skipped": "Was not sent, since something spoke against it.",
    "failed": "Could not be sent.",
    "nobody": "There was nobody to send it to.",
}
REASONS: Final[dict[Reason, str]] = {
    "invited": "Portal access was turned on for the address.",
    "preference": "The topic is on for the address.",
    "chosen": "The contact was chosen by hand, whatever the preference.",
    "no_permission": "The contact may not see what the mail is about, and the policy holds such mail.",
    "no_recipient": "Nobody wants mail about the topic, or only the contact who caused the event.",
    "not_in_log": "With any outcome: a rebuild found that the event is not in the tenant's log. It never happened.",
    "historic": "The event happened before this notifier first started, or long before the tenant was rebuilt.",
    "no_address": "The address was removed or erased.",
    "same_address": "Another contact of the account has the same address, and the mail was sent there.",
    "address_suppressed": "A mail server has said that the address does not exist.",
    "account_archived": "The account is archived.",
    "contact_inactive": "The contact is inactive.",
    "unlinked": "The contact is no longer linked to the account.",
    "revoked": "The invitation was taken back, or accepted.",
    "superseded": "There is a newer invitation.",
    "expired": "The invitation ended before it could be sent.",
    "no_portal": "The tenant has no `portal_url`.",
    "unsubscribed": "The recipient has unsubscribed from the topic.",
    "preference_off": "The topic was turned off for the address.",
    "permission_removed": "The contact may no longer see what the mail is about, and the policy holds such mail.",
    "rejected": "The mail server refused the mail for good.",
    "address_rejected": "The mail server said that the address does not exist.",
    "retries_exhausted": "The mail could not be sent for three days.",
    "internal_error": "The same, and the last attempt ended in an unforeseen error, which the service's log has.",
    "unsafe_header": "The address would be read as another one, or would add headers. New ones are refused.",
    "unsupported_address": "The address is not ASCII, and the mail server does not take such addresses.",
}
WAITS: Final[dict[Wait, str]] = {
    "mail_server": "The mail server could not be reached, put the mail off, or its answer was lost.",
    "same_address": "Another mail about the same event is on its way to this address.",
    "reader": "What the tenant's log says by now was not known: the log was out of reach, or not read to its end.",
}
