"""Whether a history, and what was found after it, can be true of a system that loses, doubles and reorders nothing.

Each check gives what it looked at and what is wrong with it. A report is good only if nothing is wrong and each of the
checks looked at something.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from support.evidence import Evidence, Mail, Record
from support.fold import Due, Fold, Json, due_mails, parsed
from support.history import Operation

SHOWN: Final = 10


@dataclass
class Report:
    looked_at: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def __iadd__(self, other: "Report") -> Self:
        self.looked_at += other.looked_at
        self.wrong += other.wrong
        return self

    def require(self, *kinds: str) -> None:
        """Fail if anything is wrong, or if of some kind nothing was looked at."""
        unseen = [f"nothing was looked at: {kind}" for kind in kinds if not self.looked_at[kind]]
        found = self.wrong + unseen
        assert not found, "\n".join([f"{len(found)} violations, the first of them:", *found[:SHOWN]])


EVERYTHING: Final = ("acknowledged", "refused", "events", "commits", "records", "rows", "due mails", "mails")


def check(
    operations: Iterable[Operation],
    found: Evidence,
    *,
    never_sent: Mapping[str, Collection[int]] | None = None,
    forged: Collection[bytes] = (),
    topic_made_anew: bool = False,
    extra_copies: int = 0,
) -> Report:
    """Hold everything against everything.

    `never_sent` are positions that the topic lacks, `forged` what it has from somebody else; one that was made anew
    begins anywhere. Of each mail there may be `extra_copies`: as many as a deliverer was killed while it may have been
    between the server's answer and its own record. A mail that is no longer due after that is `sent_unconfirmed`.
    """
    report = Report()
    report += commands(operations, found)
    for tenant, events in found.log.items():
        report += numbering(tenant, events, found.last_positions.get(tenant, 0))
        report += transport(
            tenant,
            events,
            [record for record in found.topic if record.key == tenant and record.value not in forged],
            never_sent=(never_sent or {}).get(tenant, ()),
            made_anew=topic_made_anew,
        )
        report += read_models(tenant, events, found.tables)
        report += notifications(
            events,
            [row for row in found.ledger if row["tenant"] == tenant],
            found.mails,
            extra_copies=extra_copies,
        )
    report.wrong += [f"parked: {row['stream']} {row['position']} {row['reason']}" for row in found.parked]
    return report


def commands(operations: Iterable[Operation], found: Evidence) -> Report:
    """Every acknowledged command is in the log as it was told, once; a refused one left nothing; and nothing else is.

    Events are traced to the request that caused them; what follows from an event by itself has no trace.
    """
    report = Report()
    by_trace: dict[str, list[Operation]] = defaultdict(list)
    for operation in operations:
        by_trace[operation.trace.hex].append(operation)
    log = {(tenant, event["position"]): event for tenant, events in found.log.items() for event in events}
    traced: dict[str, dict[str, list[Json]]] = defaultdict(lambda: defaultdict(list))
    for event in log.values():
        if "traceparent" in event:
            traced[event["traceparent"].split("-")[1]][event["commandid"]].append(event)

    for trace, given in by_trace.items():
        told: set[str] = set()
        for operation in given:
            kept = found.requests.get(f"{operation.tenant}/given/{operation.key}")
            if operation.outcome == "ok":
                report.looked_at["acknowledged"] += 1
                report.wrong += acknowledged(operation, log, kept)
                assert operation.answer
                told |= {event["id"] for event in operation.answer["events"]}
            elif operation.refused_for_sure:
                report.looked_at["refused"] += 1
                if kept:
                    report.wrong.append(f"{name(operation)} was refused, and its answer is kept as carried out")
        untold = [command for command, events in traced[trace].items() if not {event["id"] for event in events} <= told]
        report.looked_at["unclear"] += sum(operation.unclear for operation in given)
        if len(untold) > sum(operation.nobody_knows for operation in given):
            report.wrong.append(f"{name(given[0])} left {len(untold)} commits that nobody was told of")
    strangers = traced.keys() - by_trace.keys()
    report.wrong += [f"commits of a request that nobody made: {trace}" for trace in strangers]
    return report


def acknowledged(operation: Operation, log: Mapping[tuple[str, int], Json], kept: Json | None) -> Iterator[str]:
    answer = operation.answer
    assert answer
    for told in answer["events"]:
        event = log.get((operation.tenant, told["position"]))
        if event is None or event["id"] != told["id"]:
            yield f"{name(operation)} was acknowledged; {told['type']} is not at position {told['position']}"
    if kept is None:
        yield f"{name(operation)} was acknowledged, and its answer is not kept"
    elif answer["events"] and (kept["position"], kept["event_count"]) != (answer["position"], len(answer["events"])):
        yield f"{name(operation)} has another answer kept than was given"


def name(operation: Operation) -> str:
    return f"{operation.command} {operation.key} of {operation.tenant}"


def numbering(tenant: str, events: list[Json], last_position: int) -> Report:
    """Positions, versions of streams and places in commits leave nothing out; time never goes back."""
    report = Report(Counter(events=len(events)))
    if [event["position"] for event in events] != list(range(1, last_position + 1)):
        report.wrong.append(f"{tenant}: positions are not 1 to {last_position}")
    if len({event["id"] for event in events}) != len(events):
        report.wrong.append(f"{tenant}: an event's id stands twice")
    versions: Counter[str] = Counter()
    ended: set[str] = set()
    before: Json | None = None
    for event in events:
        where = f"{tenant} {event['position']}"
        versions[event["subject"]] += 1
        if event["streamversion"] != versions[event["subject"]]:
            report.wrong.append(
                f"{where}: version {event['streamversion']} of a stream at {versions[event['subject']]}"
            )
        if before and event["time"] < before["time"]:
            report.wrong.append(f"{where}: recorded before the event before it")
        inside = before is not None and before["commitindex"] < before["commitsize"]
        expected = before["commitindex"] + 1 if before and inside else 1
        if event["commitindex"] != expected or (before and inside and event["commandid"] != before["commandid"]):
            report.wrong.append(f"{where}: not the place in its commit where it should be")
        if event["commandid"] in ended:
            report.wrong.append(f"{where}: its command had a commit before")
        if event["commitindex"] == event["commitsize"]:
            report.looked_at["commits"] += 1
            ended.add(event["commandid"])
        before = event
    if before and before["commitindex"] != before["commitsize"]:
        report.wrong.append(f"{tenant}: the last commit is not whole")
    return report


def transport(
    tenant: str,
    events: list[Json],
    records: list[Record],
    *,
    never_sent: Collection[int] = (),
    made_anew: bool = False,
) -> Report:
    """The topic has a tenant's events on one partition; first occurrences in order; what comes again, byte by byte."""
    report = Report(Counter(records=len(records)))
    by_position = {event["position"]: event for event in events}
    first: dict[int, bytes] = {}
    for record in sorted(records, key=lambda record: (record.partition, record.offset)):
        event = parsed(record.value)
        position = event["position"]
        if position in first:
            report.looked_at["sent again"] += 1
            if first[position] != record.value:
                report.wrong.append(f"{tenant} {position}: came again with other bytes")
            continue
        first[position] = record.value
        if event != by_position.get(position):
            report.wrong.append(f"{tenant} {position}: the topic has something else than the log")
    if len({record.partition for record in records}) > 1:
        report.wrong.append(f"{tenant}: on more than one partition")
    begin = next(iter(first), len(events) + 1) if made_anew else 1
    expected = [position for position in range(begin, len(events) + 1) if position not in never_sent]
    report.looked_at["not on the topic"] = len(events) - len(expected)
    if list(first) != expected:
        report.wrong.append(f"{tenant}: the topic has {spans(first)} in this order, and should have {spans(expected)}")
    return report


def spans(positions: Iterable[int]) -> str:
    """Shorten a list of positions to its runs."""
    runs: list[list[int]] = []
    for position in positions:
        if runs and position == runs[-1][-1] + 1:
            runs[-1][1:] = [position]
        else:
            runs.append([position])
    return ", ".join("-".join(map(str, run)) for run in runs) or "nothing"


def read_models(tenant: str, events: list[Json], tables: Mapping[str, list[Json]]) -> Report:
    """The tables say what a fold of the log says."""
    fold = Fold.of(events)
    own = {table: [row for row in rows if row["tenant"] == tenant] for table, rows in tables.items()}
    report = Report()
    for what, expected, actual in (
        ("account", fold.accounts, {str(row["account_id"]): shown(row, ACCOUNT) for row in own["accounts"]}),
        ("contact", fold.contacts, {str(row["contact_id"]): shown(row, CONTACT) for row in own["contacts"]}),
        (
            "address",
            {(contact, email): said for contact, emails in fold.emails.items() for email, said in emails.items()},
            {ids(row, "contact_id", "email_id"): shown(row, EMAIL) for row in own["contact_emails"]},
        ),
        ("link", fold.links, {ids(row, "account_id", "contact_id"): shown(row, LINK) for row in own["links"]}),
        (
            "access",
            fold.open(),
            {ids(row, "account_id", "contact_id", "email_id"): row["state"] for row in own["access"]},
        ),
    ):
        report += equal(f"{tenant} {what}", expected, actual)
    report.wrong += [f"{tenant} {wrong}" for wrong in out_of_line(fold)]
    return report


def out_of_line(fold: Fold) -> Iterator[str]:
    """Where access is suspended, the account is archived or the contact inactive; and the other way round."""
    for (account_id, contact_id, email_id), state in fold.open().items():
        closed = fold.accounts[account_id]["archived"] or not fold.contacts[contact_id]["active"]
        if closed != (state == "suspended"):
            yield f"access {account_id} {contact_id} {email_id}: {state}, and closed: {closed}"


ACCOUNT: Final = {"name": "name", "archived": "archived", "version": "version"}
CONTACT: Final = {"first_name": "first_name", "last_name": "last_name", "active": "active", "version": "version"}
EMAIL: Final = {"address": "address", "primary": "is_primary"}
LINK: Final = {
    "role": "role",
    "job_title": "job_title",
    "primary": "is_primary",
    "since": "since",
    "features": "features",
    "topics": "topics",
    "by_email": "topics_by_email",
    "version": "version",
}


def shown(row: Json, columns: Mapping[str, str]) -> Json:
    return {said: row[column] for said, column in columns.items()}


def ids(row: Json, *columns: str) -> tuple[str, ...]:
    return tuple(str(row[column]) for column in columns)


def equal(what: str, expected: Mapping[Any, Any], actual: Mapping[Any, Any]) -> Report:
    report = Report(Counter(rows=len(expected)))
    for key in expected.keys() | actual.keys():
        if expected.get(key) != actual.get(key):
            report.wrong.append(f"{what} {key}: is {actual.get(key)}, should be {expected.get(key)}")
    return report


def notifications(events: list[Json], ledger: list[Json], mails: Iterable[Mail], *, extra_copies: int = 0) -> Report:
    """The ledger has a row for each mail that was due; what it says was sent, was; and hardly anything came twice."""
    due = due_mails(events)
    report = Report(Counter({"due mails": len(due)}))
    last_change = {event["subject"]: event["position"] for event in events}
    copies: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    known = {event["id"] for event in events}
    for mail in mails:
        if mail.event_id in known:
            copies[mail.event_id, mail.address, mail.topic].append(mail.message_id)
            report.looked_at["mails"] += 1
    rows = {(str(row["event_id"]), row["email_id"] and str(row["email_id"]), row["topic"]): row for row in ledger}
    report.wrong += [f"the ledger lacks {key}" for key in due.keys() - rows.keys()]
    report.wrong += [f"the ledger has {key}, which was not due" for key in rows.keys() - due.keys()]
    if len(rows) != len(ledger):
        report.wrong.append("the ledger has a mail twice")
    for key in due.keys() & rows.keys():
        row = rows[key]
        came = copies.pop((key[0], row["address"], key[2]), [])
        report.wrong += [f"{key}: {wrong}" for wrong in mailed(row, due[key], last_change, came, extra_copies)]
    report.wrong += [f"mails that no row speaks of: {key}" for key in copies]
    return report


def mailed(row: Json, due: Due, last_change: Mapping[str, int], came: list[str], extra_copies: int) -> Iterator[str]:
    outcome = row["outcome"]
    if due.outcome != "due":
        if outcome != due.outcome or came:
            yield f"is {outcome} with {len(came)} mails, should be {due.outcome} with none"
        return
    stopped = {"skipped", "sent_unconfirmed"} if extra_copies else {"skipped"}
    if outcome not in {"sent", *stopped}:
        yield f"is {outcome}, should have been sent"
    if outcome == "sent" and not came:
        yield "is said to be sent, and never came"
    if outcome in stopped and not any(last_change.get(stream, 0) > due.position for stream in due.streams):
        yield f"is {outcome} ({row['reason']}), and nothing has changed"
    if len(came) > (outcome == "sent") + extra_copies:
        yield f"came {len(came)} times"
    if len(set(came)) > 1:
        yield "came under several Message-IDs"
