"""Who is mailed about a topic of an account, unless somebody chooses by hand (PX-11)."""

from typing import Annotated, Final, LiteralString
from uuid import UUID

from fastapi import APIRouter, Query

from vinculum_projection.reading import Reader, Row, sort_key
from vinculum_shared import recipients
from vinculum_shared.contracts.contacts import Email
from vinculum_shared.contracts.links import NotificationPreferences
from vinculum_shared.contracts.topics import Topic
from vinculum_shared.contracts.values import AccountId, ContactId, EmailId, Personal
from vinculum_shared.http.documented import Documented
from vinculum_shared.http.paging import NIL, Page, Paged
from vinculum_shared.recipients import Member

router = APIRouter(prefix="/v1", tags=["recipients"])


class DefaultRecipient(Documented):
    contact_id: ContactId
    name: Personal[str | None]
    email_id: EmailId
    address: Personal[str | None]
    parked: bool


class DefaultRecipients(Page[DefaultRecipient]):
    uncovered: bool
    """Nobody is told (PX-8)."""


@router.get("/accounts/{account_id}/recipients")
async def get_recipients(
    account_id: AccountId, topic: Annotated[Topic, Query()], read: Reader, paging: Paged
) -> DefaultRecipients:
    """List who gets mail about the topic, by last name, then first name."""
    await read.account(account_id)
    contacts = {row["contact_id"]: row for row in await read.rows(MEMBERS, account_id, topic)}
    members = [member(row) for row in contacts.values()]
    hold = read.policy.mail_without_permission if read.policy else "send"
    found = recipients.recipients(topic, members, mail_without_permission=hold)
    rows = sorted(
        (recipient(contacts[each.contact_id], each.email_id) for each in found), key=lambda row: sort_key(row, ORDER)
    )
    after = paging.after("", NIL, NIL)
    rest = [row for row in rows if sort_key(row, ORDER) > after]
    page = await read.page(DefaultRecipient, rest[: paging.limit + 1], paging, ORDER, account_id)
    return DefaultRecipients(**dict(page), uncovered=not rows)


ORDER: Final = ("folded_name", "contact_id", "email_id")


def member(row: Row) -> Member:
    return Member(
        contact_id=row["contact_id"],
        active=row["active"],
        emails=tuple(Email.model_validate(email) for email in row["emails"]),
        preferences=NotificationPreferences(topics=row["topics"], by_email=row["topics_by_email"]),
        features=frozenset(row["features"]),
    )


def recipient(contact: Row, email_id: UUID) -> Row:
    (address,) = (each["address"] for each in contact["emails"] if each["email_id"] == str(email_id))
    return dict(contact) | {"email_id": email_id, "address": address}


# Those who could be recipients; which of them are, and at which address, is for the one rule to say. A contact
# is looked up by its primary key, whatever Postgres knows about the tables: see access.ENTRIES.
MEMBERS: LiteralString = """
    SELECT contact_id, folded_name, name, active, features, topics, topics_by_email,
        (SELECT coalesce(jsonb_agg(jsonb_build_object('email_id', email_id, 'address', address, 'address_hash',
                address_hash, 'primary', is_primary) ORDER BY email_id), '[]')
            FROM (
                SELECT * FROM contact_emails
                WHERE tenant = $1 AND contact_id BETWEEN links.contact_id AND links.contact_id
                ORDER BY contact_id OFFSET 0) AS email) AS emails,
        EXISTS (SELECT FROM parked WHERE tenant = $1 AND stream IN (
            'link/' || links.account_id || '/' || links.contact_id, 'contact/' || links.contact_id)) AS parked
    FROM links CROSS JOIN LATERAL (
        SELECT folded_name, name, active FROM contacts
        WHERE tenant = $1 AND contact_id BETWEEN links.contact_id AND links.contact_id
        ORDER BY contact_id OFFSET 0) AS contact
    WHERE links.tenant = $1 AND links.account_id = $2
        AND (topics @> ARRAY[$3::text] OR topics_by_email <> '{}')
    ORDER BY folded_name, contact_id"""
