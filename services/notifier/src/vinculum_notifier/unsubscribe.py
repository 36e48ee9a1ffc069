"""Unsubscribing: a link in each mail about a topic, a page, and the wish as a command of the notifier's own.

Looking changes nothing, since scanners follow links; only a POST does, which is what the page's button and a mail
program's own button (RFC 8058) send. It can only switch off, and what the token names alone. It holds at once, here;
the command is repeated until it is answered.
"""

import hashlib
from base64 import b64encode
from collections.abc import Iterator
from http import HTTPStatus
from importlib.resources import files
from typing import Any, ClassVar, Final, Literal, LiteralString
from uuid import UUID

from babel import Locale
from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse

from vinculum_notifier import announcing, languages
from vinculum_notifier.known import Known, around, look
from vinculum_notifier.rendering import inert
from vinculum_notifier.routing import Notification
from vinculum_notifier.settings import Settings
from vinculum_shared.contracts.contacts import Email
from vinculum_shared.contracts.topics import Topic
from vinculum_shared.http.openapi import PUBLIC
from vinculum_shared.http.snapshots import FOR_TENANT, of_tenant
from vinculum_shared.postgres import lent
from vinculum_shared.recipients import wants
from vinculum_shared.signed import Signed

router = APIRouter(prefix="/v1/unsubscribe", tags=["unsubscribe"])

PAGE: Final = {"content": {"text/html": {"schema": {"type": "string"}}}}
PAGES: Final[dict[int | str, dict[str, Any]]] = {
    HTTPStatus.OK: PAGE | {"description": "A page in the contact's language."},
    HTTPStatus.NOT_FOUND: PAGE | {"description": "A page which says that the link is not valid."},
}


class Unsubscription(Signed):
    """What a token says: no more mail about this topic of this account to this address."""

    PURPOSE: ClassVar[str] = "unsubscribe"

    tenant: str
    account_id: UUID
    contact_id: UUID
    email_id: UUID
    topic: Topic
    address_hash: str | None = None
    """Of the address that the mail went to. Links in older mails have none."""

    def recipient(self, known: Known) -> str | None:
        """Return the hash of the address that the mail went to; if the link doesn't have it, of what it is now."""
        email = self.email(known)
        return self.address_hash or (email.address_hash if email else None)

    def about(self, address_hash: str) -> str:
        return announcing.unsubscription(self.account_id, self.topic, address_hash)

    @property
    def streams(self) -> Iterator[str]:
        """The streams of what the page shows."""
        return around(self.account_id, self.contact_id)

    def email(self, known: Known) -> Email | None:
        contact = known.contact(self.contact_id)
        return contact.email(self.email_id) if contact else None

    def is_replaced(self, known: Known) -> bool:
        """Tell if another address has taken the place of the one that the mail went to. It keeps its mail."""
        email = self.email(known)
        return email is not None and self.address_hash not in {None, email.address_hash}


def unsubscribe_url(mail: Notification, settings: Settings) -> str | None:
    """Give the link for a mail about a topic; an invitation has none, since it comes once and is asked for."""
    if mail.topic == "invitation" or mail.account_id is None:
        return None
    wish = Unsubscription(
        tenant=mail.tenant,
        account_id=mail.account_id,
        contact_id=mail.addressee.contact_id,
        email_id=mail.addressee.email_id,
        topic=mail.topic,
        address_hash=mail.addressee.address_hash,
    )
    return f"{settings.public_url.rstrip('/')}/v1/unsubscribe/{wish.token(settings.unsubscribe_key)}"


@router.get("/{token}", response_class=HTMLResponse, responses=PAGES, openapi_extra=PUBLIC)
async def show_unsubscribe_page(token: str, request: Request) -> HTMLResponse:
    """Show the page with the button. Changes nothing."""
    wish = Unsubscription.opened(request.state.settings.unsubscribe_key, token)
    if wish is None:
        return invalid_link(request)
    async with of_tenant(request.state.pool, wish.tenant) as db:
        known = await look(db, wish.tenant, *wish.streams)
        to = wish.recipient(known)
        pending = await db.fetchval(PENDING, wish.tenant, wish.about(to)) if to else None
    return page(wish, known, standing(wish, known, pending=pending))


@router.post("/{token}", response_class=HTMLResponse, responses=PAGES, openapi_extra=PUBLIC)
async def unsubscribe(token: str, request: Request) -> HTMLResponse:
    """Switch off what the token names. Again is the same as once."""
    wish = Unsubscription.opened(request.state.settings.unsubscribe_key, token)
    if wish is None:
        return invalid_link(request)
    async with lent(request.state.pool) as db, db.transaction():
        await db.execute(FOR_TENANT, wish.tenant)
        known = await look(db, wish.tenant, *wish.streams)
        if to := wish.recipient(known):
            path = f"/v1/accounts/{wish.account_id}/contacts/{wish.contact_id}/unsubscribe"
            await announcing.add(db, wish.tenant, wish.about(to), path, {"address_hash": to, "topic": wish.topic})
    return page(wish, known, "gone" if standing(wish, known, pending=None) == "gone" else "stopped")


State = Literal["on", "stopped", "off", "gone", "invalid"]


def standing(wish: Unsubscription, known: Known, *, pending: bool | None) -> State:
    """Return what the page has to say of these mails. `pending`: the wish is not an event yet; None without a wish."""
    link, email = known.link(wish.account_id, wish.contact_id), wish.email(known)
    if link is None or email is None or email.address is None or wish.is_replaced(known):
        return "gone"
    stopped = pending is not None and (pending or not wants(link.preferences, wish.topic, email))
    return "off" if stopped else "on"


def page(wish: Unsubscription, known: Known, state: State) -> HTMLResponse:
    """Write the page in the contact's language. It shows only what was in the mail that the link came in."""
    contact, account, email = known.contact(wish.contact_id), known.account(wish.account_id), wish.email(known)
    locale = languages.preferred(contact.locale if contact else None, known.tenant.locale)
    return written(
        locale,
        state,
        tenant=inert(known.tenant.name),
        topic=wish.topic,
        account=inert(account.name) if account else None,
        address=email and email.address_hash == wish.address_hash and email.address,
    )


def invalid_link(request: Request) -> HTMLResponse:
    """Say so in the browser's language: no other is known."""
    tags = (each.partition(";")[0].strip() for each in request.headers.get("accept-language", "").split(","))
    return written(languages.preferred(*tags), "invalid", status=HTTPStatus.NOT_FOUND)


def written(locale: Locale, state: State, *, status: int = HTTPStatus.OK, **values: object) -> HTMLResponse:
    template = languages.templates(locale.language).get_template("unsubscribe.html")
    return HTMLResponse(template.render(state=state, style=STYLE, **values), status, headers=PAGE_HEADERS)


STYLE: Final = files("vinculum_notifier").joinpath("templates", "page.css").read_text("utf-8")
PAGE_HEADERS: Final = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()}'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Robots-Tag": "noindex",
}


PENDING: LiteralString = "SELECT pending FROM announcement_status WHERE (tenant, about) = ($1, $2)"
