"""The checker finds what it is there to find: each of these histories is bad, and is called so."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from support.checker import EVERYTHING, Report, check, notifications
from support.evidence import Evidence, Mail, Record
from support.fold import parsed
from support.history import Operation

pytestmark = pytest.mark.unit

Json = dict[str, Any]
TENANT = "acme"
ACCOUNT, CONTACT, EMAIL, INVOICE = (str(UUID(int=number)) for number in range(1, 5))
TRACES = [UUID(int=number) for number in range(101, 105)]


def event(position: int, type_: str, subject: str, version: int, command: int, place: str, **data: Any) -> Json:
    index, _, size = place.partition("/")
    return {
        "id": str(UUID(int=1_000 + position)),
        "type": f"vinculum.{type_}.v1",
        "subject": subject,
        "tenant": TENANT,
        "position": position,
        "time": f"2026-01-01T00:00:{command:02}Z",
        "streamversion": version,
        "commitindex": int(index),
        "commitsize": int(size),
        "commandid": str(UUID(int=command)),
        "traceparent": f"00-{TRACES[command].hex}-{1:016x}-01",
        "data": {"effective_at": f"2026-01-01T00:00:{command:02}Z", "personal": None, **data},
    }


LINK = f"link/{ACCOUNT}/{CONTACT}"
EVENTS = [
    event(1, "policy_changed", "tenant/acme", 1, 0, "1/1", after={"mail_without_permission": "send"}),
    event(2, "account_created", f"account/{ACCOUNT}", 1, 1, "1/3", name="Rossi"),
    event(
        3,
        "contact_created",
        f"contact/{CONTACT}",
        1,
        1,
        "2/3",
        emails=[{"email_id": EMAIL, "address": "anna@example.com", "primary": True}],
    ),
    event(4, "contact_linked", LINK, 1, 1, "3/3", role=None, primary=False, features=["invoices"], topics=["invoice"]),
    event(
        5,
        "record_reminded",
        f"record/{INVOICE}",
        1,
        2,
        "1/1",
        account_id=ACCOUNT,
        topic="invoice",
    ),
]
SENT = {
    "tenant": TENANT,
    "event_id": UUID(EVENTS[4]["id"]),
    "email_id": UUID(EMAIL),
    "topic": "invoice",
    "address": "anna@example.com",
    "outcome": "sent",
    "reason": "preference",
}
MAIL = Mail(EVENTS[4]["id"], "anna@example.com", "invoice", "<1@example.com>")


def operation(number: int, outcome: Any, events: list[Json]) -> Operation:
    told = [{"id": each["id"], "type": each["type"], "position": each["position"]} for each in events]
    answer = {"position": events[-1]["position"] if events else None, "events": told}
    return Operation(UUID(int=number), TRACES[number], TENANT, f"Command{number}", {}, outcome, answer)


def operations() -> list[Operation]:
    return [
        operation(0, "ok", EVENTS[:1]),
        operation(1, "ok", EVENTS[1:4]),
        operation(2, "ok", EVENTS[4:]),
        operation(3, "fail", []),
    ]


def evidence() -> Evidence:
    since = datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC)
    lines = [json.dumps(each).encode() for each in EVENTS]
    given = [each for each in operations() if each.outcome == "ok"]
    return Evidence(
        log={TENANT: [parsed(line) for line in lines]},
        last_positions={TENANT: 5},
        requests={
            f"{TENANT}/given/{each.key}": {
                "position": (each.answer or {})["position"],
                "event_count": len((each.answer or {})["events"]),
            }
            for each in given
        },
        topic=[Record(0, offset, TENANT, line) for offset, line in enumerate(lines)],
        tables={
            "accounts": [
                {"tenant": TENANT, "account_id": UUID(ACCOUNT), "name": "Rossi", "archived": False, "version": 1}
            ],
            "contacts": [
                {
                    "tenant": TENANT,
                    "contact_id": UUID(CONTACT),
                    "first_name": None,
                    "last_name": None,
                    "active": True,
                    "version": 1,
                }
            ],
            "contact_emails": [
                {
                    "tenant": TENANT,
                    "contact_id": UUID(CONTACT),
                    "email_id": UUID(EMAIL),
                    "address": "anna@example.com",
                    "is_primary": True,
                }
            ],
            "links": [
                {
                    "tenant": TENANT,
                    "account_id": UUID(ACCOUNT),
                    "contact_id": UUID(CONTACT),
                    "role": None,
                    "job_title": None,
                    "is_primary": False,
                    "since": since,
                    "features": ["invoices"],
                    "topics": ["invoice"],
                    "topics_by_email": {},
                    "version": 1,
                }
            ],
            "access": [],
        },
        ledger=[dict(SENT)],
        mails=[MAIL],
    )


def test_a_good_history_is_good() -> None:
    check(operations(), evidence()).require(*EVERYTHING)


def lost_event(found: Evidence) -> None:
    del found.log[TENANT][3]


def lost_tail(found: Evidence) -> None:
    found.last_positions[TENANT] = 6


def doubled_effect(found: Evidence) -> None:
    again = found.log[TENANT][4] | {"id": str(uuid4()), "commandid": str(uuid4()), "position": 6, "streamversion": 2}
    found.log[TENANT].append(again)
    found.last_positions[TENANT] = 6


def effect_of_a_refusal(found: Evidence) -> None:
    refused = f"00-{TRACES[3].hex}-{1:016x}-01"
    found.log[TENANT].append(found.log[TENANT][4] | {"id": str(uuid4()), "position": 6, "traceparent": refused})


def answer_of_a_refusal(found: Evidence) -> None:
    found.requests[f"{TENANT}/given/{UUID(int=3)}"] = {"position": 5, "event_count": 0}


def answer_not_kept(found: Evidence) -> None:
    del found.requests[f"{TENANT}/given/{UUID(int=1)}"]


def stranger(found: Evidence) -> None:
    found.log[TENANT][4]["traceparent"] = f"00-{uuid4().hex}-{1:016x}-01"


def torn_commit(found: Evidence) -> None:
    found.log[TENANT][3]["commandid"] = str(uuid4())


def time_going_back(found: Evidence) -> None:
    found.log[TENANT][4]["time"] = datetime(2025, 1, 1, tzinfo=UTC)


def unsent(found: Evidence) -> None:
    del found.topic[2]


def reordered(found: Evidence) -> None:
    found.topic[2], found.topic[3] = (
        found.topic[2]._replace(value=found.topic[3].value),
        found.topic[3]._replace(value=found.topic[2].value),
    )


def altered(found: Evidence) -> None:
    found.topic[1] = found.topic[1]._replace(value=found.topic[1].value.replace(b"Rossi", b"Bianchi"))


def altered_when_sent_again(found: Evidence) -> None:
    found.topic.append(Record(0, 9, TENANT, found.topic[1].value.replace(b"Rossi", b"Bianchi")))


def on_two_partitions(found: Evidence) -> None:
    found.topic[4] = found.topic[4]._replace(partition=1)


def row_lost(found: Evidence) -> None:
    found.tables["links"].clear()


def row_left(found: Evidence) -> None:
    row = {"tenant": TENANT, "account_id": UUID(ACCOUNT), "contact_id": UUID(CONTACT), "email_id": UUID(EMAIL)}
    found.tables["access"].append(row | {"state": "active"})


def row_stale(found: Evidence) -> None:
    found.tables["accounts"][0]["name"] = "Rosso"


def applied_twice(found: Evidence) -> None:
    found.tables["contacts"][0]["version"] = 2


def left_parked(found: Evidence) -> None:
    found.parked.append({"stream": LINK, "position": 4, "reason": "some"})


def mail_lost(found: Evidence) -> None:
    found.mails.clear()


def mail_twice(found: Evidence) -> None:
    found.mails.append(MAIL)


def mail_to_nobody_we_know(found: Evidence) -> None:
    found.mails.append(MAIL._replace(address="eve@example.com"))


def row_of_the_ledger_lost(found: Evidence) -> None:
    found.ledger.clear()


def row_of_the_ledger_not_due(found: Evidence) -> None:
    found.ledger.append(SENT | {"topic": "ticket"})


def mail_skipped_for_nothing(found: Evidence) -> None:
    found.ledger[0] |= {"outcome": "skipped", "reason": "unlinked"}
    found.mails.clear()


def mail_still_queued(found: Evidence) -> None:
    found.ledger[0]["outcome"] = "queued"


BAD = (
    lost_event,
    lost_tail,
    doubled_effect,
    effect_of_a_refusal,
    answer_of_a_refusal,
    answer_not_kept,
    stranger,
    torn_commit,
    time_going_back,
    unsent,
    reordered,
    altered,
    altered_when_sent_again,
    on_two_partitions,
    row_lost,
    row_left,
    row_stale,
    applied_twice,
    left_parked,
    mail_lost,
    mail_twice,
    mail_to_nobody_we_know,
    row_of_the_ledger_lost,
    row_of_the_ledger_not_due,
    mail_skipped_for_nothing,
    mail_still_queued,
)


@pytest.mark.parametrize("spoil", BAD)
def test_a_bad_history_is_found(spoil: Callable[[Evidence], None]) -> None:
    found = evidence()
    spoil(found)
    with pytest.raises(AssertionError, match="violations"):
        check(operations(), found).require(*EVERYTHING)


def test_an_acknowledgement_of_another_position_is_found() -> None:
    given = operations()
    given[2] = operation(2, "ok", [EVENTS[4] | {"position": 4}])
    assert any("was acknowledged" in wrong for wrong in check(given, evidence()).wrong)


def test_what_nobody_was_told_of_may_have_happened_once_and_no_more() -> None:
    """The last command timed out."""
    given = operations()
    given[2] = replace(given[2], outcome="info", answer=None, unclear=1)
    found = evidence()
    assert check(given, found).wrong == []
    doubled_effect(found)
    assert any("nobody was told of" in wrong for wrong in check(given, found).wrong)


def test_a_copy_of_a_mail_is_explained_by_a_kill_if_it_has_the_same_message_id() -> None:
    found = evidence()
    found.mails.append(MAIL)
    assert check(operations(), found, extra_copies=1).wrong == []
    found.mails[1] = MAIL._replace(message_id="<2@example.com>")
    assert any("Message-IDs" in wrong for wrong in check(operations(), found, extra_copies=1).wrong)


def test_an_unconfirmed_mail_is_explained_by_a_kill_and_a_change_since_then() -> None:
    row = SENT | {"outcome": "sent_unconfirmed"}
    archived = event(6, "account_archived", f"account/{ACCOUNT}", 2, 3, "1/1")
    assert notifications([*EVENTS, archived], [row], [MAIL], extra_copies=1).wrong == []
    assert notifications([*EVENTS, archived], [row], [], extra_copies=1).wrong == []
    assert notifications([*EVENTS, archived], [row], [MAIL]).wrong
    assert notifications(EVENTS, [row], [MAIL], extra_copies=1).wrong


def test_what_was_never_sent_is_missed_where_it_should_have_been() -> None:
    found = evidence()
    del found.topic[2]
    assert check(operations(), found, never_sent={TENANT: [3]}).wrong == []
    assert check(operations(), found, never_sent={TENANT: [2]}).wrong


def test_a_report_on_nothing_is_not_good() -> None:
    with pytest.raises(AssertionError, match="nothing was looked at: mails"):
        Report().require("mails")
