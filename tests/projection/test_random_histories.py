"""Read models say what an independent fold of the same events says, whatever happened."""

import random
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import pytest

from support.firms import Firm
from support.projection import Projection
from vinculum_shared.contracts import accounts, contacts, links
from vinculum_shared.contracts.topics import FEATURES, TOPICS

pytestmark = pytest.mark.integration

NAMES = ("Ähre", "ahre", "Beta", "béta 2", "Çelik", "Zoo", "Zoo", "9 Lives")
STATES: tuple[links.AccessState, ...] = ("invited", "active", "suspended", "off")
Pair = tuple[Any, Any]


@dataclass
class Fold:
    """One event at a time, in plain dictionaries."""

    name: dict[Any, str] = field(default_factory=dict)
    archived: set[Any] = field(default_factory=set)
    inactive: set[Any] = field(default_factory=set)
    links: dict[Pair, dict[str, Any]] = field(default_factory=dict)
    access: dict[Pair, dict[Any, str]] = field(default_factory=lambda: defaultdict(dict))

    def entries(self, account_id: Any) -> set[Pair]:
        if account_id in self.archived:
            return set()
        return {
            (contact_id, email_id)
            for (a, contact_id), states in self.access.items()
            if a == account_id and contact_id not in self.inactive
            for email_id, state in states.items()
            if state == "active"
        }

    def related(self, account_id: Any) -> dict[Any, dict[Any, str]]:
        found: dict[Any, dict[Any, str]] = defaultdict(dict)
        for mine, contact_id in self.links:
            for other, shared in self.links:
                if mine == account_id and other != account_id and shared == contact_id:
                    since = max(self.links[mine, shared]["since"], self.links[other, shared]["since"])
                    found[other][contact_id] = since
        return found


class History:
    """A random history that could have happened: nothing happens to a link that isn't there, or is there already."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311  the same history for the same seed
        self.firm = Firm.registered()
        self.fold = Fold()
        self.accounts = [self.firm.account(self.random.choice(NAMES)) for _ in range(7)]
        self.contacts = [self.firm.contact("Ann", None, "a@example.com", "b@example.com") for _ in range(5)]
        for event in self.firm.log.recorded:
            if isinstance(event.data, accounts.AccountCreated):
                self.fold.name[event.data.account_id] = event.data.name or ""

    def step(self) -> None:
        account_id, contact_id = self.random.choice(self.accounts), self.random.choice(self.contacts)
        pair = (account_id, contact_id)
        linked = pair in self.fold.links
        steps = [self.rename, self.archive, self.deactivate]
        steps += (
            [self.unlink, self.change, self.permit, self.prefer, self.open, self.open] if linked else [self.link] * 5
        )
        self.random.choice(steps)(*pair)
        if pair in self.fold.links:
            stream = f"link/{account_id}/{contact_id}"
            self.fold.links[pair]["version"] = self.firm.log.versions[stream]

    def rename(self, account_id: Any, _: Any) -> None:
        before, after = self.fold.name[account_id], self.random.choice(NAMES)
        self.firm.log.commit(
            accounts.AccountChanged(
                account_id=account_id,
                before=accounts.AccountProfile(name=before),
                after=accounts.AccountProfile(name=after),
            )
        )
        self.fold.name[account_id] = after

    def archive(self, account_id: Any, _: Any) -> None:
        if account_id in self.fold.archived:
            self.firm.log.commit(accounts.AccountRestored(account_id=account_id))
        else:
            self.firm.log.commit(accounts.AccountArchived(account_id=account_id))
        self.fold.archived ^= {account_id}

    def deactivate(self, _: Any, contact_id: Any) -> None:
        if contact_id in self.fold.inactive:
            self.firm.log.commit(contacts.ContactReactivated(contact_id=contact_id))
        else:
            self.firm.log.commit(contacts.ContactDeactivated(contact_id=contact_id))
        self.fold.inactive ^= {contact_id}

    def link(self, account_id: Any, contact_id: Any) -> None:
        self.firm.link(account_id, contact_id, "invoice", role="first")
        since = self.firm.log.now.isoformat().replace("+00:00", "Z")
        self.fold.links[account_id, contact_id] = {
            "since": since,
            "role": "first",
            "features": list(FEATURES),
            "topics": ["invoice"],
        }

    def unlink(self, account_id: Any, contact_id: Any) -> None:
        self.firm.log.commit(
            links.ContactUnlinked(account_id=account_id, contact_id=contact_id, before=links.LinkTerms())
        )
        del self.fold.links[account_id, contact_id]
        self.fold.access.pop((account_id, contact_id), None)

    def change(self, account_id: Any, contact_id: Any) -> None:
        after = links.LinkTerms(role=self.random.choice(("owner", None)))
        self.firm.log.commit(
            links.LinkChanged(account_id=account_id, contact_id=contact_id, before=links.LinkTerms(), after=after)
        )
        self.fold.links[account_id, contact_id]["role"] = after.role

    def permit(self, account_id: Any, contact_id: Any) -> None:
        after = tuple(feature for feature in FEATURES if self.random.random() < 0.5)
        self.firm.log.commit(
            links.PermissionsChanged(account_id=account_id, contact_id=contact_id, before=(), after=after)
        )
        self.fold.links[account_id, contact_id]["features"] = list(after)

    def prefer(self, account_id: Any, contact_id: Any) -> None:
        topics = tuple(topic for topic in TOPICS if self.random.random() < 0.5)
        self.firm.log.commit(
            links.NotificationPreferencesChanged(
                account_id=account_id,
                contact_id=contact_id,
                before=links.NotificationPreferences(),
                after=links.NotificationPreferences(topics=topics),
            )
        )
        self.fold.links[account_id, contact_id]["topics"] = list(topics)

    def open(self, account_id: Any, contact_id: Any) -> None:
        number, state = self.random.choice((0, 1)), self.random.choice(STATES)
        self.firm.access(account_id, contact_id, state, number=number)
        self.fold.access[account_id, contact_id][self.firm.emails(contact_id)[number]] = state


@pytest.mark.parametrize("seed", range(6))
async def test_read_models_equal_an_independent_fold(projection: Projection, seed: int) -> None:
    history = History(seed)
    for _ in range(300):
        history.step()
        if history.random.random() < 0.05:
            await projection.deliver(history.firm.log)
    await projection.deliver(history.firm.log)
    fold, token = history.fold, projection.service("acme")

    for account_id in history.accounts:
        path = f"/v1/accounts/{account_id}"
        listed = await projection.items(f"{path}/contacts", token, limit=2)
        assert {item["contact_id"]: said(item) for item in listed} == {
            str(c): link for (a, c), link in fold.links.items() if a == account_id
        }
        assert {
            (item["contact_id"], email["email_id"]): email["access"] for item in listed for email in item["emails"]
        } == {
            (str(c), str(email_id)): fold.access[a, c].get(email_id, "off")
            for a, c in fold.links
            if a == account_id
            for email_id in history.firm.emails(c)
        }
        entries = await projection.items(f"{path}/access", token, limit=2)
        assert {(entry["contact_id"], entry["email_id"]) for entry in entries} == {
            (str(c), str(e)) for c, e in fold.entries(account_id)
        }
        related = await projection.items(f"{path}/related", token, limit=2)
        assert {
            item["account"]["id"]: {each["contact_id"]: each["since"] for each in item["via"]} for item in related
        } == {str(a): {str(c): since for c, since in via.items()} for a, via in fold.related(account_id).items()}
        assert [item["account"]["name"] for item in related] == sorted(
            (item["account"]["name"] for item in related), key=in_order
        )
    for contact_id in history.contacts:
        listed = await projection.items(f"/v1/contacts/{contact_id}/accounts", token, limit=2)
        assert [item["account_id"] for item in listed] == sorted(
            (str(a) for a, c in fold.links if c == contact_id), key=lambda a: (in_order(names(fold)[a]), a)
        )
        assert all(item["name"] == names(fold)[item["account_id"]] for item in listed)


def said(item: dict[str, Any]) -> dict[str, Any]:
    said = {key: item[key] for key in ("since", "role", "features", "version")}
    return said | {"topics": [topic for topic, on in item["topics"].items() if on]}


def names(fold: Fold) -> dict[str, str]:
    return {str(account_id): name for account_id, name in fold.name.items()}


def in_order(name: str) -> int:
    """The order of NAMES without case and accents, written out."""
    return {"9 Lives": 0, "Ähre": 1, "ahre": 1, "Beta": 2, "béta 2": 3, "Çelik": 4, "Zoo": 5}[name]
