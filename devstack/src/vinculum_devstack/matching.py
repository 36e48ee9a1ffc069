"""What a row of an import is about: the account, contact and link that are there already, and what has to be made.

An account is the one with the row's external id or, where the row has none, with exactly its name; a contact the one
with the row's address or, where it has none, with exactly its name. What is there stays as it is. The id of what is
made follows from what it is known by, so another run of the import means the same things by it, renamed or not.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID, uuid5

import orjson

from vinculum_devstack.tables import DETAIL, Row
from vinculum_shared.contracts.accounts import AccountChanged, AccountCreated, AccountProfile
from vinculum_shared.contracts.addresses import comparable
from vinculum_shared.contracts.contacts import (
    ContactChanged,
    ContactCreated,
    EmailAdded,
    EmailChanged,
    EmailRemoved,
)
from vinculum_shared.contracts.envelope import Recorded
from vinculum_shared.contracts.events import Event
from vinculum_shared.contracts.links import ContactLinked, ContactUnlinked

NAMESPACE: Final = UUID("4f1d6a52-7f0e-5c0b-9a52-6f3d1f1c7b10")
FLAGS: Final = dict.fromkeys(("yes", "y", "true", "t", "on", "1"), True) | dict.fromkeys(
    ("no", "n", "false", "f", "off", "0"), False
)
SOURCE: Final = "import"  # the system that an imported account's external id is one of

EVENTS: Final = (
    AccountCreated,
    AccountChanged,
    ContactCreated,
    ContactChanged,
    EmailAdded,
    EmailChanged,
    EmailRemoved,
    ContactLinked,
    ContactUnlinked,
)
"""Those that tell what is there."""

Pair = tuple[UUID, UUID]
Thing = UUID | Pair  # an account, a contact, or the link between them


@dataclass(frozen=True, slots=True)
class Planned:
    """A row, and the line of a batch that makes what is missing; without one, nothing is.

    `merged`: it is about a contact with its address, who has another name.
    """

    row: Row
    fault: str | None = None
    line: bytes | None = None
    makes: frozenset[Thing] = frozenset()
    relies_on: frozenset[Thing] = frozenset()
    merged: bool = False


class Known:
    """What a tenant has, or will have once what is planned is done."""

    def __init__(self, tenant: str) -> None:
        self._tenant = tenant
        self._ids: defaultdict[str, list[UUID]] = defaultdict(list)  # by what they are known by
        self._things: set[Thing] = set()
        self._last_unlinked = 0

    def read(self, event: Recorded[Event]) -> None:
        match event.data:
            case AccountCreated() as account:
                self._add(account.account_id, _profile_keys(account))
            case AccountChanged(account_id=id_, before=before, after=after):
                self._drop(id_, _profile_keys(before))
                self._add(id_, _profile_keys(after))
            case ContactCreated() as contact:
                self._add(contact.contact_id, _contact_keys(contact.name, [each.address for each in contact.emails]))
            case ContactChanged(contact_id=id_, before=before, after=after):
                self._drop(id_, _contact_keys(before.name))
                self._add(id_, _contact_keys(after.name))
            case EmailAdded(contact_id=id_, address=address):
                self._add(id_, _contact_keys(None, [address]))
            case EmailChanged(contact_id=id_, before=before, after=after):
                self._drop(id_, _contact_keys(None, [before.address]))
                self._add(id_, _contact_keys(None, [after.address]))
            case EmailRemoved(contact_id=id_, address=address):
                self._drop(id_, _contact_keys(None, [address]))
            case ContactLinked(account_id=account_id, contact_id=contact_id):
                self._things.add((account_id, contact_id))
            case ContactUnlinked(account_id=account_id, contact_id=contact_id):
                self._things.discard((account_id, contact_id))
                self._last_unlinked = event.position
            case _:
                pass

    def plan(self, row: Row) -> Planned:
        """Say what has to be made for a row, and count on it from now on."""
        account_keys, contact_keys = _keys(row)
        accounts, contacts = self._find(account_keys), self._find(contact_keys)
        if len(accounts) == 1 and len(contacts) > 1:  # the one that the row has linked before, if it has
            contacts = [each for each in contacts if (accounts[0], each) in self._things] or contacts
        fault = row.fault or _ambiguous(accounts, account_keys) or _ambiguous(contacts, contact_keys)
        if fault:
            return Planned(row, fault, relies_on=frozenset(accounts + contacts))
        account_id, contact_id = next(iter(accounts), None), next(iter(contacts), None)
        if not (account_id or contact_id):
            return Planned(row, "it names neither an account nor a contact")
        name = next((key for key in contact_keys if key.startswith("contact/name/")), None)
        merged = bool(name and contact_id in self._things and contact_id not in self._ids[name])
        about: set[Thing] = {id_ for id_ in (account_id, contact_id) if id_}
        if account_id and contact_id:
            about.add((account_id, contact_id))
        makes = frozenset(about - self._things)
        for id_, keys in ((account_id, account_keys), (contact_id, contact_keys)):
            if id_ and id_ in makes:
                self._add(id_, keys)
        self._things |= makes
        command = _command(row, account_id, contact_id, makes)
        return Planned(row, None, self._line(command) if command else None, makes, frozenset(about - makes), merged)

    def forget(self, planned: Planned) -> None:
        """Count no more on what was refused."""
        self._things -= planned.makes
        for thing in planned.makes:
            if isinstance(thing, UUID):
                for keys in _keys(planned.row):
                    self._drop(thing, keys)

    def _find(self, keys: list[str]) -> list[UUID]:
        """Return the ids of all that have the first key, or of what will have it."""
        if not keys:
            return []
        return list(dict.fromkeys(self._ids.get(keys[0], ()))) or [uuid5(NAMESPACE, f"{self._tenant}/{keys[0]}")]

    def _add(self, id_: UUID, keys: Iterable[str]) -> None:
        self._things.add(id_)
        for key in keys:
            self._ids[key].append(id_)

    def _drop(self, id_: UUID, keys: Iterable[str]) -> None:
        for key in keys:
            if id_ in self._ids[key]:
                self._ids[key].remove(id_)

    def _line(self, command: dict[str, Any]) -> bytes:
        """Give the command an idempotency key: the same one in every run, until something has been unlinked since."""
        key = hashlib.sha256(b"%d/%s" % (self._last_unlinked, orjson.dumps(command))).hexdigest()
        return orjson.dumps(command | {"idempotency_key": f"import/{key}"})


def _command(
    row: Row, account_id: UUID | None, contact_id: UUID | None, makes: frozenset[Thing]
) -> dict[str, Any] | None:
    """Make the account with its contact, or link the contact to an account that is there: one command does all."""
    if not makes:
        return None
    terms = _given(
        role=row.get("link.role"), job_title=row.get("link.job_title"), primary=_flag(row.get("link.primary"))
    )
    contact = {"id": contact_id, **_contact(row)} if contact_id in makes else None
    if account_id in makes:
        members = "link_contacts" if contact is None else "new_contacts"
        member = {"contact_id": contact_id} if contact is None else contact
        linked = {members: [member | terms]} if contact_id else {}
        return {"command": "CreateAccount", "id": account_id, **_account(row), **linked}
    if account_id:
        member = {"contact_id": contact_id} if contact is None else {"new_contact": contact}
        return {"command": "LinkContacts", "account_id": account_id, "contacts": [member | terms]}
    return {"command": "CreateContact", **(contact or {})}


def _account(row: Row) -> dict[str, Any]:
    external_id = row.get("account.external_id")
    details = {field.removeprefix(DETAIL): row.get(field) for field in row.fields if field.startswith(DETAIL)}
    return _given(
        name=row.get("account.name"),
        kind=row.get("account.kind"),
        external_ids={SOURCE: external_id} if external_id else None,
        details=details or None,
    )


def _contact(row: Row) -> dict[str, Any]:
    return _given(
        first_name=row.get("contact.first_name"),
        last_name=row.get("contact.last_name") or row.get("contact.name"),
        emails=[{"address": address} for address in row.fields.get("contact.email", ())] or None,
        phones=row.fields.get("contact.phone"),
    )


def _flag(text: str | None) -> bool | str | None:
    """Return what a cell says of yes or no; what says neither is left for the command service to refuse."""
    return FLAGS.get(text.casefold(), text) if text else None


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _keys(row: Row) -> tuple[list[str], list[str]]:
    """Return what the row's account and its contact are known by, the decisive key first."""
    contact = _contact(row)
    names = (contact.get("first_name"), contact.get("last_name"))
    return (
        list(_account_keys(row.get("account.name"), row.get("account.external_id"))),
        list(_contact_keys(" ".join(filter(None, names)), row.fields.get("contact.email", ()))),
    )


def _ambiguous(found: list[UUID], keys: list[str]) -> str | None:
    if len(found) < 2:  # noqa: PLR2004
        return None
    kind, known_by, _ = keys[0].split("/", 2)
    return f"ambiguous: {len(found):,} {kind}s have this {known_by.replace('_', ' ')}"


def _profile_keys(account: AccountProfile) -> Iterator[str]:
    return _account_keys(account.name, account.external_ids.get(SOURCE))


def _account_keys(name: str | None, external_id: str | None) -> Iterator[str]:
    if external_id:
        yield f"account/external_id/{external_id}"
    if name:
        yield f"account/name/{name}"


def _contact_keys(name: str | None, addresses: Iterable[str | None] = ()) -> Iterator[str]:
    for address in addresses:
        if address:
            yield f"contact/email/{comparable(address)}"
    if name:
        yield f"contact/name/{name}"
