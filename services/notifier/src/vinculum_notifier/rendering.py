"""A notification as a mail, in the contact's language, with headers that no name can add to.

A mail is a file of words in `templates/mails/`; `mail.txt` and `mail.html` lay them out.
"""

import hashlib
import hmac
import re
import unicodedata
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime as rfc5322
from typing import Any, Final

from babel import Locale
from jinja2 import TemplateError

from vinculum_notifier import headers, languages
from vinculum_notifier.headers import UnsafeHeaderError
from vinculum_notifier.known import Known, Record
from vinculum_notifier.routing import Notification
from vinculum_notifier.settings import Settings
from vinculum_shared.contracts.addresses import address_hash
from vinculum_shared.signed import Invitation

BODY: Final = SMTP.clone(max_line_length=76)  # of quoted-printable (RFC 2045, 6.7); Python's default is for headers
MIME_HEADERS: Final = ("MIME-Version", "Content-Type")


class UnwritableError(Exception):
    """A template is missing, or can't be filled in."""


def render(
    mail: Notification, known: Known, settings: Settings, *, unsubscribe_url: str | None, now: datetime
) -> bytes:
    """Return the mail, ready to be sent. Raise UnsafeHeaderError where it would have other headers than those meant."""
    try:
        subject, text, html = worded(mail, known, settings, unsubscribe_url)
    except TemplateError as error:  # TemplateNotFound is an OSError, and would pass for an outage
        raise UnwritableError from error
    body = EmailMessage(BODY)
    body.set_content(text, cte="quoted-printable")
    body.add_alternative(html, subtype="html", cte="quoted-printable")
    body.set_boundary(f"=_{mail.id.hex}")
    fields = header_fields(mail, known, settings, subject, unsubscribe_url, now)
    written = "".join(f"{name}: {value}\r\n" for name, value in fields.items()).encode() + body.as_bytes()
    if headers.names(written) != [*fields, *MIME_HEADERS]:
        raise UnsafeHeaderError
    return written


def worded(mail: Notification, known: Known, settings: Settings, unsubscribe_url: str | None) -> tuple[str, str, str]:
    """Return the subject, the text and the HTML. Both bodies lay out the same words, in the contact's language."""
    contact = known.contact(mail.addressee.contact_id)
    locale = languages.preferred(contact.locale if contact else None, known.tenant.locale)
    templates = languages.templates(locale.language)
    words = templates.get_template(f"mails/{mail.template}.jinja")
    values = facts(mail, known, settings, locale)
    beside = {name: isolated(value) if name in FOREIGN else value for name, value in values.items()}
    subject = vars(words.make_module(beside))["subject"]
    values = {name: inert(value) if name in FOREIGN else value for name, value in values.items()}
    values |= vars(words.make_module(values)) | {"unsubscribe_url": unsubscribe_url}
    text, html = (templates.get_template(layout).render(values) for layout in ("mail.txt", "mail.html"))
    return subject, text, html


def header_fields(
    mail: Notification, known: Known, settings: Settings, subject: str, unsubscribe_url: str | None, now: datetime
) -> dict[str, str]:
    """Return the headers that the mail is to have, as they are written."""
    fields = {
        "From": headers.mailbox("From", unturned(known.tenant.name), settings.mail_from),
        "To": headers.addr_spec(mail.addressee.address),
        "Subject": headers.text("Subject", subject),
        "Date": rfc5322(now),
        "Message-ID": message_id(mail, settings),
        "Auto-Submitted": "auto-generated",
        "X-Vinculum-Event": str(mail.event_id),
        "X-Vinculum-Topic": mail.topic,
    }
    if known.tenant.reply_to:
        fields["Reply-To"] = headers.mailbox("Reply-To", unturned(known.tenant.name), known.tenant.reply_to)
    if mail.traceparent:
        fields["Traceparent"] = mail.traceparent
    if unsubscribe_url:
        fields["List-Unsubscribe"] = f"<{unsubscribe_url}>"
        fields["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    return fields


def message_id(mail: Notification, settings: Settings) -> str:
    """Give the same id for the same (tenant, event, recipient, topic): whoever gets a mail twice can tell."""
    key = settings.message_id_key.get_secret_value().encode()
    name = hmac.digest(key, f"{mail.tenant}/{mail.id}".encode(), hashlib.sha256).hex()
    return f"<{name}@{settings.mail_from.partition('@')[2]}>"


def where(mail: Notification, known: Known, settings: Settings) -> str | None:
    """Give the link that the mail is about: into the portal, for an invitation with the secret that opens it."""
    portal_url = known.tenant.portal_url
    if portal_url is None or mail.topic != "invitation":
        return portal_url
    invitation = Invitation.model_validate(
        {
            "tenant": mail.tenant,
            "account_id": mail.account_id,
            "contact_id": mail.addressee.contact_id,
            "email_id": mail.addressee.email_id,
            "address_hash": address_hash(settings.address_key.get_secret_value().encode(), mail.addressee.address),
            "invitation_id": mail.invitation_id,
            "expires_at": mail.expires_at,
        }
    )
    return f"{portal_url.rstrip('/')}/accept#token={invitation.token(settings.invitation_key)}"


FOREIGN: Final = frozenset({"tenant", "account", "contact", "number", "title"})
"""Values that somebody has typed."""


def facts(mail: Notification, known: Known, settings: Settings, locale: Locale) -> dict[str, Any]:
    """Return what a mail can tell, as it is written in the locale."""
    account = known.account(mail.account_id) if mail.account_id else None
    contact = known.contact(mail.addressee.contact_id)
    return {
        "tenant": known.tenant.name,
        "account": account.name if account else "",
        "contact": contact.name if contact else "",
        "address": mail.addressee.address,
        "expires": languages.instant(mail.expires_at, locale),
        "chosen": mail.reason == "chosen",
        "reply_to": known.tenant.reply_to,
        "url": where(mail, known, settings),
        **facts_of_record(known.record(mail.record_id) if mail.record_id else None, locale),
    }


def facts_of_record(record: Record | None, locale: Locale) -> dict[str, str | None]:
    if record is None:
        return dict.fromkeys(("number", "title", "amount", "due"))
    return {
        "number": record.number,
        "title": record.title,
        "amount": None if record.amount is None else languages.money(record.amount, record.currency, locale),
        "due": languages.day(record.due, locale) if record.due else None,
    }


def inert(text: str | None) -> str | None:
    """Return a name that no mail program makes a link of, and that turns no text beside it around.

    A zero-width space parts what looks like a link; it stays out of numbers, which are copied into payments.
    """
    return isolated(text and re.sub(r"([.:@])(?=[^\W\d_]{2}|/)", "\\1\u200b", text))


def isolated(text: str | None) -> str | None:
    """Return a name that turns no text beside it around: what is written from right to left is isolated."""
    if not text:
        return text
    text = unturned(text)
    return f"{FIRST_STRONG_ISOLATE}{text}{POP_ISOLATE}" if any(map(is_right_to_left, text)) else text


def unturned(text: str) -> str:
    """Return a text without characters that change the direction of others."""
    return text.translate(dict.fromkeys(BIDI_CONTROLS))


def is_right_to_left(character: str) -> bool:
    return unicodedata.bidirectional(character) in {"R", "AL"}


BIDI_CONTROLS: Final = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
FIRST_STRONG_ISOLATE: Final = "\u2068"
POP_ISOLATE: Final = "\u2069"
