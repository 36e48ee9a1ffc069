"""What a log says, told a second time: event by event, in plain dictionaries, with nothing of what it checks.

It reads the events' JSON form and imports neither contracts nor services.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

Json = dict[str, Any]
Pair = tuple[str, str]
"""An account's id and a contact's."""

FEATURE_OF: Final = {"invoice": "invoices"}


def parsed(line: bytes | str) -> Json:
    """Read an event, with its times as times and its personal data joined to the rest."""
    event: Json = json.loads(line)
    event["time"] = datetime.fromisoformat(event["time"])
    data = event["data"]
    data["effective_at"] = datetime.fromisoformat(data["effective_at"])
    event["data"] = joined(data, data.get("personal") or {})
    return event


def joined(data: Json, personal: Json) -> Json:
    whole = dict(data)
    for name, value in personal.items():
        mine = data.get(name)
        if isinstance(value, dict) and isinstance(mine, dict):
            whole[name] = joined(mine, value)
        elif isinstance(value, list) and isinstance(mine, list):
            whole[name] = [joined(one, more) for one, more in zip(mine, value, strict=True)]
        else:
            whole[name] = value
    return whole


@dataclass
class Fold:
    """One tenant, as of the last event that was added."""

    accounts: dict[str, Json] = field(default_factory=dict)
    contacts: dict[str, Json] = field(default_factory=dict)
    emails: dict[str, dict[str, Json]] = field(default_factory=lambda: defaultdict(dict))
    """By contact and address id."""
    links: dict[Pair, Json] = field(default_factory=dict)
    access: dict[Pair, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    hold: bool = False
    """Mail without permission is held."""

    @classmethod
    def of(cls, events: Iterable[Json]) -> "Fold":
        fold = cls()
        for event in events:
            fold.add(event)
        return fold

    def add(self, event: Json) -> None:
        kind, _, ids = event["subject"].partition("/")
        match kind:
            case "tenant":
                self._tenant(event["type"], event["data"])
            case "account":
                self._account(event, self.accounts.setdefault(ids, {}))
            case "contact":
                self._contact(event, self.contacts.setdefault(ids, {}), self.emails[ids])
            case "link":
                account_id, contact_id = ids.split("/")
                self._link(event, (account_id, contact_id))

    def _tenant(self, type_: str, data: Json) -> None:
        if type_ == "vinculum.policy_changed.v1":
            self.hold = data["after"]["mail_without_permission"] == "hold"

    @staticmethod
    def _account(event: Json, account: Json) -> None:
        data = event["data"]
        account["version"] = event["streamversion"]
        match event["type"]:
            case "vinculum.account_created.v1":
                account |= {"name": data.get("name"), "archived": False}
            case "vinculum.account_changed.v1":
                account["name"] = data["after"].get("name")
            case "vinculum.account_archived.v1":
                account["archived"] = True
            case "vinculum.account_restored.v1":
                account["archived"] = False

    @staticmethod
    def _contact(event: Json, contact: Json, emails: dict[str, Json]) -> None:
        data = event["data"]
        contact["version"] = event["streamversion"]
        match event["type"]:
            case "vinculum.contact_created.v1":
                contact |= {**_name(data), "active": True}
                emails |= {email["email_id"]: _address(email) for email in data["emails"]}
            case "vinculum.contact_changed.v1":
                contact |= _name(data["after"])
            case "vinculum.contact_deactivated.v1":
                contact["active"] = False
            case "vinculum.contact_reactivated.v1":
                contact["active"] = True
            case "vinculum.email_added.v1":
                emails[data["email_id"]] = _address(data)
            case "vinculum.email_changed.v1":
                emails[data["email_id"]] = _address(data["after"])
            case "vinculum.email_removed.v1":
                del emails[data["email_id"]]

    def _link(self, event: Json, pair: Pair) -> None:
        data, type_ = event["data"], event["type"]
        if type_ == "vinculum.contact_linked.v1":
            self.links[pair] = {
                **_terms(data),
                "since": data["effective_at"],
                "features": data["features"],
                "topics": data["topics"],
                "by_email": {},
            }
        elif type_ == "vinculum.contact_unlinked.v1":
            self.links.pop(pair, None)
            self.access.pop(pair, None)
        elif link := self.links.get(pair):
            match type_:
                case "vinculum.link_changed.v1":
                    link |= _terms(data["after"])
                case "vinculum.permissions_changed.v1":
                    link["features"] = data["after"]
                case "vinculum.notification_preferences_changed.v1":
                    link |= {"topics": data["after"]["topics"], "by_email": data["after"]["by_email"]}
                case "vinculum.portal_access_changed.v1":
                    self.access[pair][data["email_id"]] = data["to"]
        if link := self.links.get(pair):
            link["version"] = event["streamversion"]

    def open(self) -> dict[tuple[str, str, str], str]:
        """Return each access that isn't off, by account, contact and address."""
        return {
            (*pair, email_id): state
            for pair, states in self.access.items()
            for email_id, state in states.items()
            if state != "off"
        }

    def entries(self, account_id: str) -> set[tuple[str, str]]:
        """Who may enter the account now, and by which address."""
        if self.accounts[account_id]["archived"]:
            return set()
        return {
            (contact_id, email_id)
            for (of, contact_id, email_id), state in self.open().items()
            if of == account_id and state == "active" and self.contacts[contact_id]["active"]
        }

    def related(self, account_id: str) -> dict[str, dict[str, datetime]]:
        """Accounts that share a contact with this one; each contact with when it began to be shared."""
        found: dict[str, dict[str, datetime]] = defaultdict(dict)
        shared = {contact: link["since"] for (of, contact), link in self.links.items() if of == account_id}
        for (other, contact), link in self.links.items():
            if other != account_id and contact in shared:
                found[other][contact] = max(shared[contact], link["since"])
        return found

    def wanting(self, account_id: str, topic: str) -> Iterator[tuple[str, str, bool]]:
        """Return contact and address of who wants mail about the topic, and whether it is held."""
        for (of, contact_id), link in self.links.items():
            if of != account_id or not self.contacts[contact_id]["active"]:
                continue
            held = self.hold and FEATURE_OF[topic] not in link["features"]
            for email_id, email in self.emails[contact_id].items():
                default = email["primary"] and topic in link["topics"]
                if link["by_email"].get(email_id, {}).get(topic, default):
                    yield contact_id, email_id, held


def _name(data: Json) -> Json:
    return {"first_name": data.get("first_name"), "last_name": data.get("last_name")}


def _address(data: Json) -> Json:
    return {"address": data.get("address"), "primary": data["primary"]}


def _terms(data: Json) -> Json:
    return {"role": data["role"], "job_title": data.get("job_title"), "primary": data["primary"]}


@dataclass(frozen=True)
class Due:
    """A mail that an event was due as of then; without an address, the row that says that nobody gets one."""

    outcome: str
    """`due`, `held` or `nobody`."""
    position: int
    streams: frozenset[str] = frozenset()
    """What can have changed since, so that it is not due any more."""


def due_mails(events: Iterable[Json]) -> dict[tuple[str, str | None, str], Due]:
    """Return what each event of a tenant's log was due, by event, address id and topic."""
    fold, due = Fold(), {}
    for event in events:
        fold.add(event)
        for email_id, topic, mail in _due(event, fold):
            due[event["id"], email_id, topic] = mail
    return due


def _due(event: Json, fold: Fold) -> Iterator[tuple[str | None, str, Due]]:
    data, position = event["data"], event["position"]

    def mail(outcome: str, account_id: str, contact_id: str) -> Due:
        about = (f"account/{account_id}", f"contact/{contact_id}", f"link/{account_id}/{contact_id}")
        return Due(outcome, position, frozenset(about))

    match event["type"]:
        case "vinculum.portal_access_changed.v1" if data["to"] == "invited":
            yield data["email_id"], "invitation", mail("due", data["account_id"], data["contact_id"])
        case "vinculum.record_sent.v1" | "vinculum.record_reminded.v1" as type_:
            account_id, topic = data["account_id"], data["topic"]
            wanting = list(fold.wanting(account_id, topic))
            if type_ == "vinculum.record_sent.v1":
                found = [(each["contact_id"], each["email_id"], False) for each in data["recipients"]]
                found += [] if data["override"] else [each for each in wanting if each[2]]
            else:
                found = wanting
            for contact_id, email_id, held in found:
                yield email_id, topic, mail("held" if held else "due", account_id, contact_id)
            if not found:
                yield None, topic, Due("nobody", position)
