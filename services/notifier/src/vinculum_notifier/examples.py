"""An example of each answer, for OpenAPI, by the operation."""

from typing import Any, Final

TIME: Final = "2026-03-02T09:30:00.123456Z"
NOTIFICATION: Final = {
    "id": "01980000-0000-7000-8000-000000000009",
    "event_id": "01980000-0000-7000-8000-000000000008",
    "position": 10234,
    "topic": "invoice",
    "account_id": "01980000-0000-7000-8000-000000000002",
    "record_id": "01980000-0000-7000-8000-000000000007",
    "recipient": {
        "contact_id": "01980000-0000-7000-8000-000000000003",
        "email_id": "01980000-0000-7000-8000-000000000004",
        "address": "ada@example.com",
    },
    "outcome": "sent",
    "reason": "preference",
    "attempts": 1,
    "next_attempt_at": None,
    "waits_for": None,
    "unclear": 0,
    "reply": "250 2.0.0",
    "message_id": "<3f1c@example.com>",
    "changed_at": TIME,
    "held": False,
}

EXAMPLES: Final[dict[str, dict[str, Any]]] = {
    "ListNotifications": {
        "answer": {"items": [NOTIFICATION], "next_cursor": None, "position": 10234, "parked": False, "held": False}
    },
    "GetNotification": {"answer": NOTIFICATION},
    "ReleaseAddress": {"answer": {"released": True}},
}
