"""Who may give which command, what it reads, and what it answers besides events."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import ValidationError

from support.commands import PLATFORM, SERVICE
from support.decisions import Case, Outcome, hashed, new
from vinculum_command.domain.access import AcceptInvitation, SetPortalAccess, SettleAccess
from vinculum_command.domain.accounts import ArchiveAccount, ChangeAccount, CreateAccount, RestoreAccount
from vinculum_command.domain.commands import SYSTEM, Caller, Command, TopicUncovered
from vinculum_command.domain.contacts.activity import DeactivateContact, ReactivateContact
from vinculum_command.domain.contacts.creation import CreateContact
from vinculum_command.domain.contacts.emails import AddEmail, ChangeEmail, RemoveEmail
from vinculum_command.domain.contacts.profiles import ChangeContact
from vinculum_command.domain.contacts.suppression import ReleaseEmail, SuppressEmail
from vinculum_command.domain.links import (
    ChangeLink,
    LinkAccounts,
    LinkContacts,
    PutLink,
    TransferContact,
    UnlinkContact,
)
from vinculum_command.domain.notifications import SetNotifications, SetPermissions
from vinculum_command.domain.records import CreateRecord, RemindRecord, SendRecord
from vinculum_command.domain.rejections import (
    AccountArchived,
    AccountNotFound,
    ContactNotFound,
    EmailTaken,
    Forbidden,
    RecordNotFound,
    VersionMismatch,
)
from vinculum_command.domain.staff import AddStaffUser, ChangeStaffUser, DeactivateStaffUser, GivenLimits
from vinculum_command.domain.tenants import ChangePolicy, ChangeTenant, RegisterTenant
from vinculum_command.domain.unsubscriptions import Unsubscribe
from vinculum_command.http.routes import COMMANDS
from vinculum_shared.contracts.staff import Role
from vinculum_shared.contracts.tenants import Policy
from vinculum_shared.contracts.values import AccountId, StaffId, Value
from vinculum_shared.problems import invalid

pytestmark = pytest.mark.unit

EVERYDAY = {
    *(CreateAccount, ChangeAccount, ArchiveAccount, RestoreAccount),
    *(CreateContact, ChangeContact, DeactivateContact, ReactivateContact, AddEmail, ChangeEmail, RemoveEmail),
    *(LinkContacts, LinkAccounts, PutLink, ChangeLink, UnlinkContact, TransferContact),
    *(SetPortalAccess, SetPermissions, SetNotifications, Unsubscribe, CreateRecord, SendRecord, RemindRecord),
}
ADMINISTRATION = {ChangeTenant, ChangePolicy, AddStaffUser, ChangeStaffUser, DeactivateStaffUser}
OF_THE_NOTIFIER = {SuppressEmail, ReleaseEmail}
ALL = {*COMMANDS.values(), AcceptInvitation, SettleAccess}


def staff(case: Case, *roles: Role, token: tuple[str, ...] | None = None, limited: bool = False) -> Caller:
    """A staff user, with a token of the same roles unless other ones are named."""
    command = AddStaffUser(name="Sam", email="sam@example.com", roles=roles, limits=GivenLimits(accounts=limited))
    case.given(command)
    return Caller(kind="staff", id=str(command.id), roles=frozenset(roles if token is None else token))


def commands() -> dict[type[Command], dict[str, Any]]:
    """Every command, about things that are not there."""
    nothing = str(uuid4())
    pair = {"account_id": nothing, "contact_id": nothing}
    email = {"contact_id": nothing, "email_id": nothing}
    admin = {"name": "Ada", "email": "ada@example.com"}
    return {
        RegisterTenant: {"tenant": "other", "name": "O", "profile": "zoho", "admin": admin},
        ChangeTenant: {"tenant": "other", "name": "O"},
        ChangePolicy: {"profile": "dynamics"},
        AddStaffUser: {**admin, "roles": ["agent"]},
        ChangeStaffUser: {"staff_id": nothing},
        DeactivateStaffUser: {"staff_id": nothing},
        CreateAccount: {"name": "A"},
        **{kind: {"account_id": nothing} for kind in (ChangeAccount, ArchiveAccount, RestoreAccount)},
        CreateContact: {},
        **{kind: {"contact_id": nothing} for kind in (ChangeContact, DeactivateContact, ReactivateContact)},
        AddEmail: {"contact_id": nothing, "address": "a@example.com"},
        **{kind: {"contact_id": nothing, "address_hash": "0" * 64} for kind in OF_THE_NOTIFIER},
        **dict.fromkeys((ChangeEmail, RemoveEmail), email),
        LinkContacts: {"account_id": nothing, "contacts": [{"contact_id": nothing}]},
        LinkAccounts: {"contact_id": nothing, "accounts": [{"account_id": nothing}]},
        **dict.fromkeys((PutLink, ChangeLink, UnlinkContact), pair),
        TransferContact: {"contact_id": nothing, "from_account_id": nothing, "to_account_id": nothing},
        SetPortalAccess: {**pair, "login": True},
        SetPermissions: {**pair, "features": []},
        SetNotifications: {**pair, "topics": {"invoice": True}},
        Unsubscribe: {**pair, "address_hash": "0" * 64, "topic": "invoice"},
        CreateRecord: {"type": "invoice", "account_id": nothing},
        SendRecord: {"record_id": nothing},
        RemindRecord: {"record_id": nothing, "kind": "overdue"},
        AcceptInvitation: {**pair, "email_id": nothing, "address_hash": "", "invitation_id": nothing},
        SettleAccess: {"account_id": nothing},
    }


def allowed(case: Case, caller: Caller) -> set[type[Command]]:
    """Give the commands that the caller is not forbidden to give."""
    return {
        kind
        for kind, fields in commands().items()
        if not isinstance(case.copy().when(kind.model_validate(fields), by=caller).refusal, Forbidden)
    }


class TestWhoMayGiveACommand:
    def test_every_command_is_looked_at(self) -> None:
        assert commands().keys() == ALL
        assert EVERYDAY | ADMINISTRATION | OF_THE_NOTIFIER | {RegisterTenant, AcceptInvitation, SettleAccess} == ALL

    @pytest.mark.parametrize(
        ("role", "may"),
        [
            ("admin", EVERYDAY | ADMINISTRATION),
            ("manager", EVERYDAY),
            ("agent", EVERYDAY),
            ("viewer", set()),
            ("operator", set()),
        ],
    )
    def test_staff_by_their_role(self, role: Role, may: set[type[Command]]) -> None:
        case = Case.under("zoho")
        assert allowed(case, staff(case, role)) == may

    def test_staff_have_the_rights_that_token_and_record_both_give(self) -> None:
        case = Case.under("zoho")
        assert allowed(case, staff(case, "agent", token=("admin",))) == set()
        assert allowed(case, staff(case, "admin", "agent", token=("agent",))) == EVERYDAY

    def test_no_staff_that_is_inactive_or_unknown(self) -> None:
        case = Case.under("zoho")
        caller = staff(case, "admin")
        case.given(DeactivateStaffUser.model_validate({"staff_id": caller.id}))
        assert allowed(case, caller) == set()
        assert allowed(case, Caller(kind="staff", id=str(uuid4()), roles=frozenset({"admin"}))) == set()

    @pytest.mark.parametrize(
        ("scopes", "may"),
        [
            ({"commands"}, EVERYDAY),
            ({"admin"}, ADMINISTRATION),
            ({"commands", "admin"}, EVERYDAY | ADMINISTRATION),
            # SetNotifications turns a topic on here
            ({"preferences"}, OF_THE_NOTIFIER | {Unsubscribe}),
            ({"queries", "log", "personal", "all_tenants"}, set()),
        ],
    )
    def test_services_by_their_scopes(self, scopes: set[str], may: set[type[Command]]) -> None:
        assert allowed(Case.under("zoho"), Caller(kind="service", id="crm", scopes=frozenset(scopes))) == may

    def test_a_service_for_preferences_only_turns_topics_off(self) -> None:
        case = Case.under("perfex")
        account, contact = case.linked("b@example.com")
        notifier = Caller(kind="service", id="notifier", scopes=frozenset({"preferences"}))
        pair = {"account_id": account, "contact_id": contact}
        off = SetNotifications.model_validate({**pair, "topics": {"invoice": False, "task": False}})
        case.given(off, by=notifier)
        for topics in ({"invoice": True}, {"invoice": True, "task": False}):
            case.refused(SetNotifications.model_validate({**pair, "topics": topics}), Forbidden, by=notifier)
        case.refused(SetPermissions.model_validate({**pair, "features": []}), Forbidden, by=notifier)

    def test_the_platform_registers_tenants_and_does_nothing_else(self) -> None:
        assert allowed(Case.under("zoho"), PLATFORM) == {RegisterTenant}

    def test_contacts_accept_invitations_and_do_nothing_else(self) -> None:
        assert allowed(Case.under("zoho"), Caller(kind="contact", id=str(uuid4()))) == {AcceptInvitation}

    def test_the_system_goes_on_with_anything(self) -> None:
        assert allowed(Case.under("zoho"), SYSTEM) == ALL


class TestWhereManagersLimitAccess:
    """An agent sees what they manage; nobody manages anything yet, so it is nothing but what they make."""

    def test_an_agent_does_not_see_what_he_does_not_manage(self) -> None:
        case = Case.under("taxdome")
        account, contact = case.linked("b@example.com")
        record = CreateRecord(type="invoice", account_id=account)
        case.given(record)
        agent = staff(case, "agent")
        case.refused(ArchiveAccount(account_id=account), AccountNotFound, by=agent)
        case.refused(PutLink(account_id=account, contact_id=contact), AccountNotFound, by=agent)
        case.refused(UnlinkContact(account_id=account, contact_id=contact), AccountNotFound, by=agent)
        case.refused(DeactivateContact(contact_id=contact), ContactNotFound, by=agent)
        assert case.refused(SendRecord(record_id=record.id), RecordNotFound, by=agent).facts == {"record_id": record.id}

    def test_what_he_does_not_see_tells_no_version(self) -> None:
        case = Case.under("taxdome")
        account = case.account(new())
        case.refused(ArchiveAccount(account_id=account), AccountNotFound, by=staff(case, "agent"), expected=7)

    def test_who_has_an_address_is_told_to_those_who_see_the_contact(self) -> None:
        case = Case.under("perfex")
        _, contact = case.linked("b@example.com")
        members = [new("c@example.com"), new("b@example.com")]
        command = CreateAccount.model_validate({"name": "A", "new_contacts": members})
        assert case.refused(command, EmailTaken).facts == {"contact_id": contact}
        assert case.refused(command, EmailTaken, by=staff(case, "agent")).facts == {}

    def test_a_warning_names_no_account_that_he_does_not_see(self) -> None:
        case = Case.under("teamleader", default_topics="all")
        contact = case.contact("b@example.com")
        accounts = [case.account(contact), case.account(contact)]
        agent = staff(case, "agent", limited=True)
        case.heads |= {
            key: stored._replace(head=stored.head.evolve(managers=(StaffId(UUID(agent.id)),)))
            for key, stored in case.heads.items()
            if key == f"account/{accounts[0]}"
        }
        remove = RemoveEmail(contact_id=contact, email_id=case.email(contact))

        def named(outcome: Outcome) -> set[AccountId]:
            return {each.account_id for each in outcome.cautions if isinstance(each, TopicUncovered)}

        assert named(case.copy().when(remove)) == set(accounts)
        assert named(case.when(remove, by=agent)) == {accounts[0]}

    def test_an_agent_makes_accounts_with_new_contacts(self) -> None:
        case = Case.under("taxdome")
        command = CreateAccount.model_validate({"name": "A", "new_contacts": [new("b@example.com")]})
        outcome = case.when(command, by=staff(case, "agent"))
        assert outcome.types == ["AccountCreated", "ContactCreated", "ContactLinked"]

    def test_managers_and_admins_see_everything(self) -> None:
        case = Case.under("taxdome")
        for role in ("manager", "admin"):
            case.given(ArchiveAccount(account_id=case.account(new())), by=staff(case, role, "agent"))

    @pytest.mark.parametrize("limited", [True, False])
    def test_or_each_staff_user_is_limited_or_not(self, *, limited: bool) -> None:
        case = Case.under("teamleader")
        outcome = case.when(ArchiveAccount(account_id=case.account()), by=staff(case, "agent", limited=limited))
        assert isinstance(outcome.refusal, AccountNotFound) == limited

    def test_where_they_do_not_an_agent_sees_everything(self) -> None:
        case = Case.under("zoho")
        case.given(ArchiveAccount(account_id=case.account()), by=staff(case, "agent", limited=True))


def lax(schema: Any, where: str = "") -> Iterator[str]:
    """Name the flags and numbers of a model that something else is taken for."""
    if isinstance(schema, list):
        for each in schema:
            yield from lax(each, where)
    elif isinstance(schema, dict) and schema.get("type") != "tagged-union":  # that is JsonValue: anything, as it is
        if schema.get("type") in ("bool", "int") and not schema.get("strict"):
            yield where
        for key, each in schema.items():
            yield from lax(each, f"{where}/{key}")


@pytest.mark.parametrize("model", [*COMMANDS.values(), Policy], ids=lambda model: model.__name__)
def test_nothing_is_taken_for_a_flag_or_a_number_that_is_none(model: type[Value]) -> None:
    assert list(lax(model.__pydantic_core_schema__)) == []


NOTHING = str(uuid4())
PRIMARIES = [{"contact_id": str(uuid4()), "primary": True} for _ in range(2)]


@pytest.mark.parametrize(
    ("kind", "fields", "where"),
    [
        (CreateAccount, {"name": "A", "details": {"a/b": {"~": ["x\0"]}}}, "/details/a~1b/~0/0"),
        (CreateAccount, {"name": "A", "external_ids": {"a\nb": "x"}}, "/external_ids/a\nb"),
        (CreateAccount, {"name": "A", "external_ids": {"ERP ID": 1}}, "/external_ids/ERP ID"),
        (CreateAccount, {"name": "A", "link_contacts": [{}]}, "/link_contacts/0/contact_id"),
        (CreateAccount, {"name": "A", "new_contacts": [new("a@b.cd"), new("a")]}, "/new_contacts/1/emails/0/address"),
        (CreateContact, {"emails": [{"address": "a@b.cd", "primary": True}] * 2}, "/emails/1/address"),
        (CreateContact, {"emails": [{"address": f"{n}@b.cd", "primary": True} for n in "ab"]}, "/emails/1/primary"),
        (LinkContacts, {"account_id": NOTHING, "contacts": PRIMARIES}, "/contacts/1/primary"),
        (CreateAccount, {"name": "A", "link_contacts": PRIMARIES}, "/link_contacts/1/primary"),
        (
            CreateAccount,
            {"name": "A", "link_contacts": PRIMARIES[:1], "new_contacts": [new(primary=True)]},
            "/new_contacts/0/primary",
        ),
        (CreateAccount, {"name": "A", "new_contacts": [{"id": NOTHING}] * 2}, "/new_contacts/1/id"),
        (LinkContacts, {"account_id": NOTHING, "contacts": [{"contact_id": NOTHING}, {"role": "x"}]}, "/contacts/1"),
        (SetNotifications, {"account_id": NOTHING, "contact_id": NOTHING, "topics": {"nope": True}}, "/topics/nope"),
        (SetPermissions, {"account_id": NOTHING, "contact_id": NOTHING, "features": ["nope"]}, "/features/0"),
        (CreateRecord, {"type": "invoice"}, "/account_id"),
        (CreateRecord, {"type": "invoice", "account_id": None}, "/account_id"),
        (ChangePolicy, {"profile": "zoho", "overrides": {"nope": 1}}, "/overrides/nope"),
        (ChangePolicy, {"profile": "zoho", "overrides": {"features_fixed": "yes"}}, "/overrides/features_fixed"),
        (
            ChangePolicy,
            {"profile": "zoho", "overrides": {"manager_limits_access": 1}},
            "/overrides/manager_limits_access",
        ),
        (ChangePolicy, {"profile": "zoho", "overrides": {"default_features": "nope"}}, "/overrides/default_features"),
        (ChangePolicy, {"profile": "zoho", "overrides": {"managers": 1}}, "/overrides/managers"),
        (ChangePolicy, {"profile": "zoho", "overrides": {"managers": {"nope": {}}}}, "/overrides/managers/nope"),
        (
            ChangePolicy,
            {"profile": "zoho", "overrides": {"managers": {"account": {"min": 2}}}},
            "/overrides/managers/account/min",
        ),
        (
            RegisterTenant,
            {**commands()[RegisterTenant], "overrides": {"managers": {"account": {"min": "0", "max": 1}}}},
            "/overrides/managers/account/min",
        ),
    ],
)
def test_what_is_wrong_is_pointed_at_in_the_body(kind: type[Command], fields: dict[str, Any], where: str) -> None:
    with pytest.raises(ValidationError) as refused:
        kind.model_validate(fields)
    assert {error["pointer"] for error in invalid(refused.value.errors()).facts["errors"]} == {where}


class TestIfMatch:
    def test_names_the_version_that_the_stream_must_have(self) -> None:
        case = Case.under("zoho")
        account = case.account()
        mismatch = case.refused(ChangeAccount(account_id=account, name="B"), VersionMismatch, expected=2)
        assert mismatch.facts == {"version": 1}
        outcome = case.when(ChangeAccount(account_id=account, name="B"), expected=1)
        assert outcome.types == ["AccountChanged"]

    def test_holds_for_what_changes_nothing_too(self) -> None:
        case = Case.under("zoho")
        case.refused(RestoreAccount(account_id=case.account()), VersionMismatch, expected=2)

    def test_comes_after_the_rules(self) -> None:
        case = Case.under("zoho")
        account = case.account()
        case.given(ArchiveAccount(account_id=account))
        case.refused(ChangeAccount(account_id=account, name="B"), AccountArchived, expected=1)
        case.refused(ArchiveAccount(account_id=AccountId(uuid4())), AccountNotFound, expected=1)


# record, then its account's links, then their contacts, then what is known of the addresses
FOUR_LOADS = {
    SendRecord,
    RemindRecord,
    # what the access must be like, then the links, then what is moved beside them, then the addresses that are invited
    SettleAccess,
}
THREE_LOADS = {
    # links, then what is moved beside them, then what is known of the addresses that are invited
    RestoreAccount,
    ReactivateContact,
    # links, then what is moved beside them, then who else gets the mail that the contact got
    DeactivateContact,
    RemoveEmail,
    ChangeEmail,
    # what is known of the addresses, then who else gets the mail that the contact got
    TransferContact,
    SetNotifications,
    Unsubscribe,
}


class TestLoads:
    """A command says what it is likely to read, so that one load does, or one more."""

    def busy(self) -> tuple[Case, list[Command]]:
        """A firm where there is much to read, and every command at its most demanding."""
        case = Case.under("taxdome", access_unit="contact", features_fixed=False, default_topics="all")
        contact = case.contact("b@example.com", "b@example.org")
        account, *others = [
            case.account(new(f"c{n}@example.com", primary=True), contact, new(f"d{n}@example.com")) for n in range(4)
        ]
        member = new("g@example.com")
        free, (_, stranger) = case.account(member), case.linked()
        for each in (account, *others):
            case.invited(each, contact)
        case.given(ArchiveAccount(account_id=others[0]))
        asleep = case.contact("e@example.com", link_accounts=[{"account_id": each} for each in (account, others[1])])
        for each in (account, others[1]):
            case.invited(each, asleep)
        case.given(DeactivateContact(contact_id=asleep))
        record = CreateRecord.model_validate({"type": "invoice", "account_id": account, "due": "2020-01-01"})
        case.given(record)
        staff_id = staff(case, "agent").id
        pair: dict[str, Any] = {"account_id": account, "contact_id": contact}
        email: dict[str, Any] = {"contact_id": contact, "email_id": case.email(contact)}
        brought = [{"new_contact": new(f"n{n}@example.com"), "primary": n == 1} for n in range(3)]
        joined = [{"account_id": each, "primary": True} for each in (account, others[1], others[2])]
        fields: dict[type[Command], list[dict[str, Any]]] = {
            **{kind: [given] for kind, given in commands().items()},
            ChangeTenant: [{"tenant": "acme", "name": "B"}],
            ChangePolicy: [{"profile": "perfex"}],
            DeactivateStaffUser: [{"staff_id": staff_id, "successor_id": staff(case, "agent").id}],
            ChangeStaffUser: [{"staff_id": staff_id, "name": "Pat"}],
            CreateAccount: [
                {"name": "A", "new_contacts": [new(f"m{n}@example.com") for n in range(3)]},
                {"name": "A", "link_contacts": [{"contact_id": each} for each in (contact, stranger)]},
            ],
            ChangeAccount: [{"account_id": account, "name": "B"}],
            ArchiveAccount: [{"account_id": account}],
            RestoreAccount: [{"account_id": others[0]}],
            CreateContact: [new("f@example.com", link_accounts=joined)],
            ChangeContact: [{"contact_id": contact, "first_name": "Bo"}],
            DeactivateContact: [{"contact_id": contact}],
            ReactivateContact: [{"contact_id": asleep}],
            SuppressEmail: [{"contact_id": contact, "address_hash": hashed("b@example.com")}],
            ReleaseEmail: [{"contact_id": contact, "address_hash": hashed("b@example.com")}],
            AddEmail: [{"contact_id": contact, "address": "f@example.com", "primary": True}],
            ChangeEmail: [{**email, "address": "f@example.com"}, {**email, "label": "Work"}],
            RemoveEmail: [email],
            LinkContacts: [{"account_id": account, "contacts": [*brought, {"contact_id": stranger}]}],
            LinkAccounts: [{"contact_id": stranger, "accounts": joined}],
            PutLink: [{**pair, "primary": True}, {"account_id": account, "contact_id": stranger, "primary": True}],
            ChangeLink: [{**pair, "primary": True}],
            UnlinkContact: [pair],
            TransferContact: [{"contact_id": contact, "from_account_id": account, "to_account_id": free}],
            SetPortalAccess: [
                {"account_id": free, "contact_id": member["id"], "login": True},
                {**pair, "login": False},
            ],
            SetPermissions: [{**pair, "features": []}],
            SetNotifications: [{**pair, "topics": {"invoice": False, "task": False}}],
            Unsubscribe: [{**pair, "address_hash": hashed("b@example.com"), "topic": "invoice"}],
            CreateRecord: [{"type": "invoice", **pair}],
            SendRecord: [{"record_id": record.id}, {"record_id": record.id, "contact_ids": [contact]}],
            RemindRecord: [{"record_id": record.id, "kind": "overdue"}],
            AcceptInvitation: [case.accept(account, contact).model_dump()],
            SettleAccess: [{"account_id": account}, {"contact_id": contact}, {"contact_id": asleep}],
        }
        return case, [kind.model_validate(given) for kind, listed in fields.items() for given in listed]

    def test_are_two_for_a_command_and_three_where_one_thing_leads_to_another(self) -> None:
        case, some = self.busy()
        assert {type(command) for command in some} == ALL
        for command in some:
            caller = {"platform": PLATFORM, "contact": Caller(kind="contact", id="c"), "system": SYSTEM}
            tried = Case() if isinstance(command, RegisterTenant) else case.copy()
            outcome = tried.when(command, by=caller.get(command.ROLE, SERVICE))
            assert outcome.refusal is None, (command, outcome.refusal)
            kind = type(command)
            assert tried.loads <= (4 if kind in FOUR_LOADS else 3 if kind in THREE_LOADS else 2), command
