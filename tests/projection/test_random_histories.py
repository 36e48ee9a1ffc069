"""Read models say what an independent fold of the same events says, whatever happened."""

import random
from datetime import datetime
from typing import Any

import pytest

from support.firms import Firm
from support.fold import Fold, parsed
from support.projection import Projection
from vinculum_shared.contracts import accounts, contacts, links
from vinculum_shared.contracts.topics import FEATURES, TOPICS

pytestmark = pytest.mark.integration

NAMES = ("Ähre", "ahre", "Beta", "béta 2", "Çelik", "Zoo", "Zoo", "9 Lives")
STATES: tuple[links.AccessState, ...] = ("invited", "active", "suspended", "off")


class History:
    """A random history that could have happened: nothing happens to a link that isn't there, or is there already."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311  the same history for the same seed
        self.firm = Firm.registered()
        self.fold = Fold()
        self.accounts = [self.firm.account(self.random.choice(NAMES)) for _ in range(7)]
        self.contacts = [self.firm.contact("Ann", None, "a@example.com", "b@example.com") for _ in range(5)]
        self.folded = 0
        self.take_in()

    def take_in(self) -> None:
        for line in self.firm.log.lines[self.folded :]:
            self.fold.add(parsed(line))
        self.folded = len(self.firm.log.lines)

    def step(self) -> None:
        account_id, contact_id = self.random.choice(self.accounts), self.random.choice(self.contacts)
        linked = (str(account_id), str(contact_id)) in self.fold.links
        steps = [self.rename, self.archive, self.deactivate]
        steps += (
            [self.unlink, self.change, self.permit, self.prefer, self.open, self.open] if linked else [self.link] * 5
        )
        self.random.choice(steps)(account_id, contact_id)
        self.take_in()

    def rename(self, account_id: Any, _: Any) -> None:
        before, after = self.fold.accounts[str(account_id)]["name"], self.random.choice(NAMES)
        self.firm.log.commit(
            accounts.AccountChanged(
                account_id=account_id,
                before=accounts.AccountProfile(name=before),
                after=accounts.AccountProfile(name=after),
            )
        )

    def archive(self, account_id: Any, _: Any) -> None:
        if self.fold.accounts[str(account_id)]["archived"]:
            self.firm.log.commit(accounts.AccountRestored(account_id=account_id))
        else:
            self.firm.log.commit(accounts.AccountArchived(account_id=account_id))

    def deactivate(self, _: Any, contact_id: Any) -> None:
        if self.fold.contacts[str(contact_id)]["active"]:
            self.firm.log.commit(contacts.ContactDeactivated(contact_id=contact_id))
        else:
            self.firm.log.commit(contacts.ContactReactivated(contact_id=contact_id))

    def link(self, account_id: Any, contact_id: Any) -> None:
        self.firm.link(account_id, contact_id, "invoice", role="first")

    def unlink(self, account_id: Any, contact_id: Any) -> None:
        self.firm.log.commit(
            links.ContactUnlinked(account_id=account_id, contact_id=contact_id, before=links.LinkTerms())
        )

    def change(self, account_id: Any, contact_id: Any) -> None:
        after = links.LinkTerms(role=self.random.choice(("owner", None)))
        self.firm.log.commit(
            links.LinkChanged(account_id=account_id, contact_id=contact_id, before=links.LinkTerms(), after=after)
        )

    def permit(self, account_id: Any, contact_id: Any) -> None:
        after = tuple(feature for feature in FEATURES if self.random.random() < 0.5)
        self.firm.log.commit(
            links.PermissionsChanged(account_id=account_id, contact_id=contact_id, before=(), after=after)
        )

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

    def open(self, account_id: Any, contact_id: Any) -> None:
        number, state = self.random.choice((0, 1)), self.random.choice(STATES)
        self.firm.access(account_id, contact_id, state, number=number)


@pytest.mark.parametrize("seed", range(6))
async def test_read_models_equal_an_independent_fold(projection: Projection, seed: int) -> None:
    history = History(seed)
    for _ in range(300):
        history.step()
        if history.random.random() < 0.05:
            await projection.deliver(history.firm.log)
    await projection.deliver(history.firm.log)
    fold, token = history.fold, projection.service("acme")

    for account_id in map(str, history.accounts):
        path = f"/v1/accounts/{account_id}"
        listed = await projection.items(f"{path}/contacts", token, limit=2)
        assert {item["contact_id"]: said(item) for item in listed} == {
            contact_id: {key: link[key] for key in SAID}
            for (a, contact_id), link in fold.links.items()
            if a == account_id
        }
        assert {
            (item["contact_id"], email["email_id"]): email["access"] for item in listed for email in item["emails"]
        } == {
            (contact_id, email_id): fold.access[a, contact_id].get(email_id, "off")
            for a, contact_id in fold.links
            if a == account_id
            for email_id in fold.emails[contact_id]
        }
        entries = await projection.items(f"{path}/access", token, limit=2)
        assert {(entry["contact_id"], entry["email_id"]) for entry in entries} == fold.entries(account_id)
        related = await projection.items(f"{path}/related", token, limit=2)
        assert {
            item["account"]["id"]: {via["contact_id"]: datetime.fromisoformat(via["since"]) for via in item["via"]}
            for item in related
        } == fold.related(account_id)
        assert [item["account"]["name"] for item in related] == sorted(
            (item["account"]["name"] for item in related), key=in_order
        )
    for contact_id in map(str, history.contacts):
        listed = await projection.items(f"/v1/contacts/{contact_id}/accounts", token, limit=2)
        assert [item["account_id"] for item in listed] == sorted(
            (account_id for account_id, c in fold.links if c == contact_id),
            key=lambda account_id: (in_order(fold.accounts[account_id]["name"]), account_id),
        )
        assert all(item["name"] == fold.accounts[item["account_id"]]["name"] for item in listed)


SAID = ("since", "role", "features", "version", "topics")


def said(item: dict[str, Any]) -> dict[str, Any]:
    topics = [topic for topic, on in item["topics"].items() if on]
    said = {key: item[key] for key in SAID}
    return said | {"topics": topics, "since": datetime.fromisoformat(item["since"])}


def in_order(name: str) -> int:
    """The order of NAMES without case and accents, written out."""
    return {"9 Lives": 0, "Ähre": 1, "ahre": 1, "Beta": 2, "béta 2": 3, "Çelik": 4, "Zoo": 5}[name]
