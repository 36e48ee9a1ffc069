"""Who may enter an account's portal, and what every change takes away or gives back."""

from collections.abc import Callable
from datetime import timedelta
from itertools import permutations
from uuid import uuid4

import pytest

from support.decisions import Case, Outcome, hashed, new
from vinculum_command.domain.access import AcceptInvitation, SetPortalAccess, may_enter
from vinculum_command.domain.accounts import ArchiveAccount, RestoreAccount
from vinculum_command.domain.commands import Caller, Command, InvitationPending
from vinculum_command.domain.contacts.activity import DeactivateContact, ReactivateContact
from vinculum_command.domain.contacts.emails import AddEmail, ChangeEmail, RemoveEmail
from vinculum_command.domain.heads.accounts import Account
from vinculum_command.domain.heads.contacts import Contact
from vinculum_command.domain.links import PutLink, UnlinkContact
from vinculum_command.domain.notifications import SetPermissions
from vinculum_command.domain.rejections import (
    AccountArchived,
    ContactInactive,
    ContactNotLinked,
    EmailRequired,
    InvitationInvalid,
    PortalDisabled,
    PortalUrlMissing,
    TooManyInvitations,
)
from vinculum_command.domain.tenants import ChangeTenant
from vinculum_shared.contracts.links import PortalAccessChanged
from vinculum_shared.contracts.values import AccountId, ContactId, EmailId, InvitationId
from vinculum_shared.problems import Invalid

pytestmark = pytest.mark.unit

HOURS_48 = timedelta(hours=48)


def on(account_id: AccountId, contact_id: ContactId, email_id: EmailId | None = None) -> SetPortalAccess:
    return SetPortalAccess(account_id=account_id, contact_id=contact_id, login=True, email_id=email_id)


def off(account_id: AccountId, contact_id: ContactId, email_id: EmailId | None = None) -> SetPortalAccess:
    return SetPortalAccess(account_id=account_id, contact_id=contact_id, login=False, email_id=email_id)


def by(contact_id: ContactId) -> Caller:
    return Caller(kind="contact", id=str(contact_id))


def changes(outcome: Outcome) -> list[tuple[str, str, str]]:
    """Of access: from, to, and why."""
    return [(e.from_, e.to, e.why) for e in outcome.events if isinstance(e, PortalAccessChanged)]


class TestLogin:
    def test_is_off_until_it_is_turned_on(self) -> None:
        case = Case.under("taxdome")
        account, contact = case.linked("b@example.com")
        assert (case.entry(account, contact).state, case.entry(account, contact).code) == ("off", "access_off")

    def test_is_an_invitation_first_and_active_once_that_is_accepted(self) -> None:
        case = Case.under("taxdome")
        account, contact = case.linked("b@example.com")
        assert changes(case.when(on(account, contact))) == [("off", "invited", "invited")]
        assert case.entry(account, contact).code == "access_invited"
        accepted = case.when(case.accept(account, contact), by=by(contact))
        assert changes(accepted) == [("invited", "active", "accepted")]
        assert case.entry(account, contact).allowed

    def test_again_while_the_invitation_is_fresh_changes_nothing(self) -> None:
        case = Case.under("taxdome")
        account, contact = case.linked("b@example.com")
        case.invited(account, contact)
        case.at += HOURS_48 - timedelta(seconds=1)
        outcome = case.when(on(account, contact))
        assert outcome.events == ()
        until = case.at + timedelta(seconds=1)
        assert outcome.cautions == (InvitationPending(email_id=case.email(contact), expires_at=until),)

    def test_again_after_48_hours_is_a_new_invitation_and_the_old_one_is_dead(self) -> None:
        case = Case.under("taxdome")
        account, contact = case.linked("b@example.com")
        case.invited(account, contact)
        old = case.accept(account, contact)
        case.at += HOURS_48
        assert changes(case.when(on(account, contact))) == [("invited", "invited", "invited")]
        case.refused(old, InvitationInvalid, by=by(contact))
        assert case.when(case.accept(account, contact), by=by(contact)).types == ["PortalAccessChanged"]

    def test_when_it_is_active_changes_nothing(self) -> None:
        case = Case.under("taxdome")
        account, contact = case.linked("b@example.com")
        case.active(account, contact)
        case.at += HOURS_48
        assert case.when(on(account, contact)).events == ()

    def test_is_granted_where_the_same_address_is_active_on_another_account(self) -> None:
        case = Case.under("taxdome")
        account, contact = case.linked("b@example.com")
        other = case.account(contact)
        case.active(account, contact)
        assert changes(case.when(on(other, contact))) == [("off", "active", "granted")]

    def test_is_an_invitation_where_the_address_is_active_for_somebody_else_only(self) -> None:
        case = Case.under("taxdome")
        account, contact = case.linked("office@example.com")
        other, colleague = case.linked("office@example.com")
        case.active(account, contact)
        assert changes(case.when(on(other, colleague))) == [("off", "invited", "invited")]

    def test_is_an_invitation_where_another_address_of_the_contact_is_active(self) -> None:
        case = Case.under("taxdome")
        account, contact = case.linked("b@example.com", "b@example.org")
        other = case.account(contact)
        case.active(account, contact, case.email(contact, 0))
        assert changes(case.when(on(other, contact, case.email(contact, 1)))) == [("off", "invited", "invited")]

    def test_that_is_revoked_and_turned_on_again_starts_with_an_invitation(self) -> None:
        case = Case.under("taxdome")
        account, contact = case.linked("b@example.com")
        case.active(account, contact)
        assert changes(case.when(off(account, contact))) == [("active", "off", "revoked")]
        assert case.when(off(account, contact)).events == ()
        assert changes(case.when(on(account, contact))) == [("off", "invited", "invited")]

    def test_needs_the_link(self) -> None:
        case = Case.under("taxdome")
        case.refused(on(case.account(new()), case.contact("b@example.com")), ContactNotLinked)

    def test_needs_an_address(self) -> None:
        case = Case.under("taxdome")
        case.refused(on(*case.linked()), EmailRequired)

    def test_needs_a_portal(self) -> None:
        case = Case.under("teamleader")
        case.refused(on(*case.linked("b@example.com")), PortalDisabled)

    def test_needs_somewhere_to_invite_to(self) -> None:
        case = Case.under("zoho", portal_url=None)
        account, contact = case.linked("b@example.com")
        case.refused(on(account, contact), PortalUrlMissing)
        case.given(ChangeTenant(tenant=case.tenant, portal_url="https://portal.example.com"))
        case.given(on(account, contact))

    def test_is_given_back_and_goes_on_at_another_address_without_somewhere_to_invite_to(self) -> None:
        case = Case.under("zoho")
        account, contact = case.linked("b@example.com")
        case.invited(account, contact)
        case.given(ChangeTenant(tenant=case.tenant, portal_url=None), ArchiveAccount(account_id=account))
        assert changes(case.when(RestoreAccount(account_id=account))) == [("suspended", "invited", "account_restored")]
        change = ChangeEmail(contact_id=contact, email_id=case.email(contact), address="c@example.com")
        assert changes(case.when(change)) == [("invited", "invited", "email_changed")]

    def test_is_not_for_archived_accounts_or_inactive_contacts_but_can_be_taken_from_them(self) -> None:
        case = Case.under("taxdome")
        account, contact = case.linked("b@example.com")
        case.active(account, contact)
        case.given(DeactivateContact(contact_id=contact))
        case.refused(on(account, contact), ContactInactive)
        case.given(ArchiveAccount(account_id=account))
        case.refused(on(account, contact), AccountArchived)
        assert changes(case.when(off(account, contact))) == [("suspended", "off", "revoked")]

    def test_by_an_address_that_the_contact_does_not_have_is_not_found(self) -> None:
        case = Case.under("taxdome")
        account, contact = case.linked("b@example.com")
        for command in (on, off):
            assert case.faults(command(account, contact, EmailId(uuid4()))) == [("/email_id", "email_not_found")]


class TestTheUnitOfAccess:
    def test_is_the_address_so_of_several_one_must_be_named(self) -> None:
        case = Case.under("taxdome")
        account, contact = case.linked("b@example.com", "b@example.org")
        first, second = case.email(contact, 0), case.email(contact, 1)
        assert case.refused(on(account, contact), Invalid).facts["errors"][0]["pointer"] == "/email_id"
        case.active(account, contact, second)
        assert case.entry(account, contact, second).allowed
        assert case.entry(account, contact, first).code == "access_off"
        case.active(account, contact, first)
        case.refused(off(account, contact), Invalid)
        case.given(off(account, contact, second))
        assert case.entry(account, contact, first).allowed

    def test_or_the_contact_who_logs_in_by_the_primary_address(self) -> None:
        case = Case.under("dynamics")
        account, contact = case.linked("b@example.com", "b@example.org")
        (event,) = case.when(on(account, contact)).events
        assert isinstance(event, PortalAccessChanged)
        assert event.email_id == case.email(contact, 0)
        refusal = case.refused(on(account, contact, case.email(contact, 1)), Invalid)
        assert refusal.facts["errors"][0]["pointer"] == "/email_id"

    def test_a_contact_s_login_stays_with_its_address_when_another_becomes_primary(self) -> None:
        case = Case.under("dynamics")
        account, contact = case.linked("b@example.com", "b@example.org")
        case.active(account, contact)
        case.given(ChangeEmail(contact_id=contact, email_id=case.email(contact, 1), primary=True))
        assert case.entry(account, contact).allowed
        assert case.when(on(account, contact)).events == ()
        assert changes(case.when(off(account, contact))) == [("active", "off", "revoked")]


class TestAnInvitation:
    def test_can_be_used_by_contacts_only(self) -> None:
        case = Case.under("taxdome")
        account, contact = case.linked("b@example.com")
        case.invited(account, contact)
        assert case.when(case.accept(account, contact)).refusal is not None

    def test_used_again_changes_nothing(self) -> None:
        case = Case.under("taxdome")
        account, contact = case.linked("b@example.com")
        case.active(account, contact)
        assert case.when(case.accept(account, contact), by=by(contact)).events == ()

    @pytest.mark.parametrize(
        "then",
        [
            lambda account, contact, _: off(account, contact),
            lambda account, contact, _: UnlinkContact(account_id=account, contact_id=contact),
            lambda account, _, __: ArchiveAccount(account_id=account),
            lambda _, contact, __: DeactivateContact(contact_id=contact),
            lambda _, contact, email: ChangeEmail(contact_id=contact, email_id=email, address="new@example.com"),
        ],
        ids=["revoked", "unlinked", "archived", "deactivated", "another address"],
    )
    def test_is_dead_once_the_access_is_not_what_it_was(
        self, then: Callable[[AccountId, ContactId, EmailId], Command]
    ) -> None:
        case = Case.under("taxdome")
        account, contact = case.linked("b@example.com")
        case.invited(account, contact)
        old = case.accept(account, contact)
        case.given(then(account, contact, case.email(contact)))
        case.refused(old, InvitationInvalid, by=by(contact))

    def test_that_was_never_sent_is_refused(self) -> None:
        case = Case.under("taxdome")
        account, contact = case.linked("b@example.com")
        forged = AcceptInvitation(
            account_id=account,
            contact_id=contact,
            email_id=case.email(contact),
            address_hash=hashed("b@example.com"),
            invitation_id=InvitationId(uuid4()),
        )
        case.refused(forged, InvitationInvalid, by=by(contact))
        case.invited(account, contact)
        case.refused(forged, InvitationInvalid, by=by(contact))

    def test_that_was_mailed_to_another_address_than_the_contact_s_is_refused(self) -> None:
        case = Case.under("taxdome")
        account, contact = case.linked("b@example.com")
        case.invited(account, contact)
        stolen = case.accept(account, contact).model_copy(update={"address_hash": hashed("thief@example.com")})
        case.refused(stolen, InvitationInvalid, by=by(contact))


class TestOfInvitationsToOneAddress:
    def test_there_are_five_a_day(self) -> None:
        case = Case.under("taxdome")
        account, contact = case.linked("b@example.com")
        for _ in range(5):
            case.given(on(account, contact), off(account, contact))
            case.at += timedelta(hours=1)
        refused = case.refused(on(account, contact), TooManyInvitations)
        assert refused.facts == {"retry_after": 19 * 3_600}
        case.at += timedelta(hours=19)
        case.given(on(account, contact))
        case.given(off(account, contact))
        case.refused(on(account, contact), TooManyInvitations)

    def test_an_unlink_or_another_id_of_the_address_makes_no_more(self) -> None:
        case = Case.under("taxdome")
        account, contact = case.linked("b@example.com")
        pair = {"account_id": account, "contact_id": contact}
        for _ in range(3):
            case.given(on(account, contact), UnlinkContact.model_validate(pair), PutLink.model_validate(pair))
        for _ in range(2):
            case.given(on(account, contact), RemoveEmail(contact_id=contact, email_id=case.email(contact)))
            case.given(AddEmail(contact_id=contact, address="B@example.com"))
        case.refused(on(account, contact), TooManyInvitations)
        email = case.email(contact)
        case.given(AddEmail(contact_id=contact, address="c@example.com"))
        case.given(on(account, contact, case.email(contact, 1)))
        other = case.account(contact)
        case.given(on(other, contact, email))

    def test_a_change_of_the_address_there_and_back_makes_no_more(self) -> None:
        case = Case.under("taxdome")
        account, contact = case.linked("b@example.com")
        email = case.email(contact)
        case.invited(account, contact)
        for _ in range(4):
            for address in ("c@example.com", "b@example.com"):
                case.given(ChangeEmail(contact_id=contact, email_id=email, address=address))
        case.given(ChangeEmail(contact_id=contact, email_id=email, address="c@example.com"))
        case.refused(ChangeEmail(contact_id=contact, email_id=email, address="b@example.com"), TooManyInvitations)

    def test_a_restored_account_has_the_last_one_still_hold(self) -> None:
        case = Case.under("taxdome")
        account, contact = case.linked("b@example.com")
        case.invited(account, contact)
        for _ in range(4):
            case.given(ArchiveAccount(account_id=account), RestoreAccount(account_id=account))
        case.given(ArchiveAccount(account_id=account))
        outcome = case.when(RestoreAccount(account_id=account))
        (_, access) = outcome.events
        assert isinstance(access, PortalAccessChanged)
        assert (access.to, access.invitation_id) == ("invited", None)
        assert outcome.codes == ["invitation_pending"]
        case.given(case.accept(account, contact), by=by(contact))
        assert case.entry(account, contact).allowed


class TestAnUnlink:
    def test_takes_access_and_invitations_of_that_account_away_together(self) -> None:
        case = Case.under("taxdome")
        account, contact = case.linked("b@example.com", "b@example.org")
        other = case.account(contact)
        case.active(account, contact, case.email(contact, 0))
        case.invited(account, contact, case.email(contact, 1))
        case.given(on(other, contact, case.email(contact, 0)))
        outcome = case.when(UnlinkContact(account_id=account, contact_id=contact))
        assert outcome.types == ["ContactUnlinked", "PortalAccessChanged", "PortalAccessChanged"]
        assert changes(outcome) == [("active", "off", "unlinked"), ("invited", "off", "unlinked")]
        assert case.entry(account, contact).code == "contact_not_linked"
        assert case.entry(other, contact).allowed

    def test_is_not_undone_by_linking_again(self) -> None:
        case = Case.under("taxdome")
        account, contact = case.linked("b@example.com")
        case.active(account, contact)
        case.given(
            UnlinkContact(account_id=account, contact_id=contact), PutLink(account_id=account, contact_id=contact)
        )
        assert case.entry(account, contact).state == "off"

    def test_ends_a_suspended_access_too(self) -> None:
        case = Case.under("taxdome")
        account, contact = case.linked("b@example.com")
        case.active(account, contact)
        case.given(ArchiveAccount(account_id=account))
        outcome = case.when(UnlinkContact(account_id=account, contact_id=contact))
        assert changes(outcome) == [("suspended", "off", "unlinked")]


class TestSuspension:
    def test_an_archive_suspends_and_a_restore_gives_back_as_it_was(self) -> None:
        case = Case.under("taxdome")
        account, contact = case.linked("b@example.com")
        case.active(account, contact)
        archived = case.when(ArchiveAccount(account_id=account))
        assert archived.types == ["AccountArchived", "PortalAccessChanged"]
        assert changes(archived) == [("active", "suspended", "account_archived")]
        assert case.entry(account, contact).code == "account_archived"
        assert changes(case.when(RestoreAccount(account_id=account))) == [("suspended", "active", "account_restored")]
        assert case.entry(account, contact).allowed

    def test_being_inactive_suspends_on_every_account(self) -> None:
        case = Case.under("taxdome")
        account, contact = case.linked("b@example.com")
        other = case.account(contact)
        case.active(account, contact)
        case.given(on(other, contact))
        outcome = case.when(DeactivateContact(contact_id=contact))
        assert changes(outcome) == [("active", "suspended", "contact_deactivated")] * 2
        assert case.entry(other, contact).code == "contact_inactive"
        outcome = case.when(ReactivateContact(contact_id=contact))
        assert changes(outcome) == [("suspended", "active", "contact_reactivated")] * 2

    def test_what_comes_back_invited_gets_a_new_invitation(self) -> None:
        case = Case.under("taxdome")
        account, contact = case.linked("b@example.com")
        case.invited(account, contact)
        old = case.accept(account, contact)
        case.given(ArchiveAccount(account_id=account))
        assert changes(case.when(RestoreAccount(account_id=account))) == [("suspended", "invited", "account_restored")]
        case.refused(old, InvitationInvalid, by=by(contact))
        case.given(case.accept(account, contact), by=by(contact))

    def test_nothing_is_suspended_or_given_back_where_there_is_no_access(self) -> None:
        case = Case.under("taxdome")
        account, _ = case.linked("b@example.com")
        assert case.when(ArchiveAccount(account_id=account)).types == ["AccountArchived"]
        assert case.when(RestoreAccount(account_id=account)).types == ["AccountRestored"]

    @pytest.mark.parametrize("invited", [False, True])
    @pytest.mark.parametrize("archive_first", [False, True])
    @pytest.mark.parametrize("restore_first", [False, True])
    def test_with_both_causes_access_comes_back_when_the_last_one_goes(
        self, *, invited: bool, archive_first: bool, restore_first: bool
    ) -> None:
        case = Case.under("taxdome")
        account, contact = case.linked("b@example.com")
        (case.invited if invited else case.active)(account, contact)
        causes: list[Command] = [ArchiveAccount(account_id=account), DeactivateContact(contact_id=contact)]
        ends: list[Command] = [RestoreAccount(account_id=account), ReactivateContact(contact_id=contact)]
        first, second = causes if archive_first else causes[::-1]
        assert len(changes(case.when(first))) == 1
        assert changes(case.when(second)) == []
        first, second = ends if restore_first else ends[::-1]
        assert changes(case.when(first)) == []
        assert case.entry(account, contact).state == "suspended"
        why = "contact_reactivated" if restore_first else "account_restored"
        assert changes(case.when(second)) == [("suspended", "invited" if invited else "active", why)]

    def test_archive_and_deactivate_and_their_ends_in_any_order_leave_access_as_it_was(self) -> None:
        for order in permutations(range(4)):
            case = Case.under("taxdome")
            account, contact = case.linked("b@example.com")
            case.active(account, contact)
            commands = (
                ArchiveAccount(account_id=account),
                DeactivateContact(contact_id=contact),
                RestoreAccount(account_id=account),
                ReactivateContact(contact_id=contact),
            )
            case.given(*(commands[number] for number in order), *commands[2:])
            assert case.entry(account, contact).allowed, order


class TestTheAnswer:
    def test_says_because_of_which_events(self) -> None:
        case = Case.under("taxdome")
        account, contact = case.linked("b@example.com")
        case.active(account, contact)
        assert [mark.type for mark in case.entry(account, contact).because] == ["ContactLinked", "PortalAccessChanged"]
        case.given(ArchiveAccount(account_id=account))
        because = [mark.type for mark in case.entry(account, contact).because]
        assert because == ["ContactLinked", "AccountArchived", "PortalAccessChanged"]

    def test_is_no_for_a_feature_that_is_not_permitted(self) -> None:
        case = Case.under("perfex")
        account, contact = case.linked("b@example.com")
        case.active(account, contact)
        case.given(SetPermissions(account_id=account, contact_id=contact, features=frozenset({"support"})))
        heads = case.link(account, contact), case.head(Account, account_id=account)
        contact_head = case.head(Contact, contact_id=contact)
        assert may_enter(*heads, contact_head, feature="support").allowed
        assert may_enter(*heads, contact_head, feature="invoices").code == "feature_not_permitted"

    def test_is_the_best_of_several_addresses_unless_one_is_named(self) -> None:
        case = Case.under("taxdome")
        account, contact = case.linked("b@example.com", "b@example.org")
        case.invited(account, contact, case.email(contact, 0))
        case.active(account, contact, case.email(contact, 1))
        assert case.entry(account, contact).allowed
        assert case.entry(account, contact, case.email(contact, 0)).code == "access_invited"
