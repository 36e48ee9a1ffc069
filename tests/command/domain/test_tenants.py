"""Tenants: registration, settings, and the change of their rules."""

import pytest
from pydantic import ValidationError

from support.commands import PLATFORM
from support.decisions import Case, Outcome, new
from vinculum_command.domain.commands import PolicyViolations
from vinculum_command.domain.contacts.creation import CreateContact
from vinculum_command.domain.links import LinkAccounts, PutLink, UnlinkContact
from vinculum_command.domain.rejections import ContactAlreadyLinked, IdTaken, LastContact, TenantNotFound
from vinculum_command.domain.tenants import ChangePolicy, ChangeTenant, RegisterTenant
from vinculum_shared.contracts.tenants import PolicyChanged, TenantChanged

pytestmark = pytest.mark.unit


def policy(profile: str, **overrides: object) -> ChangePolicy:
    return ChangePolicy.model_validate({"profile": profile, "overrides": overrides})


def violations(outcome: Outcome) -> dict[str, int]:
    return {each.policy: each.count for each in outcome.cautions if isinstance(each, PolicyViolations)}


class TestRegistration:
    COMMAND = RegisterTenant.model_validate(
        {"tenant": "acme", "name": "Acme", "profile": "zoho", "admin": {"name": "Ada", "email": "ada@example.com"}}
    )

    def test_is_the_tenant_its_rules_and_its_first_staff_user_in_one_commit(self) -> None:
        outcome = Case().when(self.COMMAND, by=PLATFORM)
        assert (outcome.types, outcome.created) == (["TenantRegistered", "PolicyChanged", "StaffUserAdded"], True)

    def test_is_done_once(self) -> None:
        case = Case()
        case.given(self.COMMAND, by=PLATFORM)
        case.refused(self.COMMAND, IdTaken, by=PLATFORM)

    def test_comes_before_everything_else(self) -> None:
        Case().refused(CreateContact(), TenantNotFound)

    @pytest.mark.parametrize(
        "url",
        [
            *("portal.example.com", "ftp://example.com", "https://a b", "https://x/?a=b", "https://x/\0"),
            *("https://bank.example@x", "https://u:p@x/", "https://x\u202e/moc", "https://x/a\u200bb", "https://a\\@x"),
        ],
    )
    def test_takes_a_portal_url_that_mail_can_lead_to(self, url: str) -> None:
        with pytest.raises(ValidationError, match="portal_url"):
            RegisterTenant.model_validate({**self.COMMAND.model_dump(), "portal_url": url})
        with pytest.raises(ValidationError, match="portal_url"):
            ChangeTenant(tenant="acme", portal_url=url)


class TestSettings:
    def test_are_changed_one_by_one(self) -> None:
        case = Case.under("zoho")
        (event,) = case.when(ChangeTenant(tenant="acme", locale="it")).events
        assert isinstance(event, TenantChanged)
        assert (event.before.locale, event.after.locale, event.after.name) == ("en", "it", "Acme")
        assert event.after.portal_url == event.before.portal_url
        assert case.when(ChangeTenant(tenant="acme", locale="it")).events == ()

    def test_say_where_replies_to_its_mail_go(self) -> None:
        case = Case.under("zoho")
        case.given(ChangeTenant(tenant="acme", reply_to="office@acme.example"))
        (event,) = case.when(ChangeTenant.model_validate({"tenant": "acme", "reply_to": None})).events
        assert isinstance(event, TenantChanged)
        assert (event.before.reply_to, event.after.reply_to) == ("office@acme.example", None)

    @pytest.mark.parametrize(
        "address", ["office", "a@example.com, b@example.com", "büro@example.com", "Office <a@b.c>"]
    )
    def test_take_one_address_that_every_mail_server_takes(self, address: str) -> None:
        with pytest.raises(ValidationError, match="reply_to"):
            ChangeTenant(tenant="acme", reply_to=address)

    def test_of_another_tenant_are_not_found(self) -> None:
        Case.under("zoho").refused(ChangeTenant(tenant="other", locale="it"), TenantNotFound)


class TestAChangeOfThePolicy:
    def test_carries_the_effective_rules_before_and_after(self) -> None:
        case = Case.under("taxdome")
        (event,) = case.when(policy("zoho", features_fixed=False)).events
        assert isinstance(event, PolicyChanged)
        assert event.before
        assert (event.before.max_accounts_per_contact, event.after.max_accounts_per_contact) == (None, 1)
        assert (event.profile, event.after.features_fixed) == ("zoho", False)
        assert case.when(policy("zoho", features_fixed=False)).events == ()

    def test_to_one_account_leaves_links_that_are_there_and_refuses_more(self) -> None:
        case = Case.under("taxdome")
        contact, single = case.contact(), case.contact()
        accounts = [case.account(contact), case.account(contact), case.account(contact, single)]
        assert violations(case.when(policy("taxdome", max_accounts_per_contact=1))) == {"max_accounts_per_contact": 1}
        assert all(case.link(account, contact).linked for account in accounts)
        case.refused(PutLink(account_id=accounts[0], contact_id=single), ContactAlreadyLinked)
        case.given(UnlinkContact(account_id=accounts[2], contact_id=contact))

    def test_to_a_last_contact_counts_accounts_without(self) -> None:
        case = Case.under("zoho")
        case.account()
        contact = case.contact()
        account = case.account(contact)
        assert violations(case.when(policy("taxdome"))) == {"min_contacts_per_account": 1}
        case.refused(UnlinkContact(account_id=account, contact_id=contact), LastContact)

    def test_to_a_required_account_and_one_address_each_counts_both(self) -> None:
        case = Case.under("zoho")
        for _ in range(3):
            case.contact("office@example.com")
        assert violations(case.when(policy("perfex"))) == {"contact_requires_account": 3, "unique_contact_email": 1}

    def test_to_looser_rules_warns_of_nothing(self) -> None:
        case = Case.under("dynamics")
        contact, other = case.contact(), case.account(new())
        case.account(contact)
        assert case.when(policy("teamleader")).cautions == ()
        case.given(LinkAccounts.model_validate({"contact_id": contact, "accounts": [{"account_id": other}]}))
