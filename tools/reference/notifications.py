"""The catalogue of what can become of a mail."""

from typing import Final, get_args

from reference.markdown import code, listed, table
from vinculum_notifier.outcomes import OUTCOMES, REASONS, WAITS, Due, Failure, Obstacle, Outcome

INTRODUCTION: Final = """\
# Notifications

Each mail that an event is due is a row of the notifier's ledger (`GET /v1/notifications`), with one outcome and one
reason. An outcome other than `queued` is final.
"""
REASONS_OF: Final[dict[Outcome, str]] = {
    "queued": listed(get_args(Due)),
    "sent": listed(get_args(Due)),
    "sent_unconfirmed": "those of `skipped` and `failed`: why it was not sent again",
    "held": code("no_permission"),
    "skipped": listed(get_args(Obstacle)),
    "failed": listed(get_args(Failure)),
    "nobody": code("no_recipient"),
}


def document() -> str:
    outcomes = [(code(outcome), meaning, REASONS_OF[outcome]) for outcome, meaning in OUTCOMES.items()]
    return "\n".join(
        (
            INTRODUCTION,
            table(("outcome", "meaning", "reasons"), outcomes),
            table(("reason", "meaning"), [(code(reason), meaning) for reason, meaning in REASONS.items()]),
            "A queued mail that could not be sent when it was due says in `waits_for` what it waits for.\n",
            table(("waits for", "meaning"), [(code(wait), meaning) for wait, meaning in WAITS.items()]),
        )
    )
