"""A notification as a mail, in the contact's language, with headers that no name can add to.

A mail is a folder in `templates/`: subject.txt, body.txt, body.html. Its strings are English; `locale/` has the other
languages, and a language is spoken here if it has a catalogue there.
"""

import gettext
import hashlib
import hmac
import io
import re
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime as rfc5322
from functools import cache
from importlib.resources import files
from typing import Any, Final

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_datetime
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal
from jinja2 import PackageLoader, StrictUndefined, TemplateError, select_autoescape
from jinja2.sandbox import SandboxedEnvironment

from vinculum_notifier import headers
from vinculum_notifier.headers import UnsafeHeaderError
from vinculum_notifier.known import Known, Record
from vinculum_notifier.routing import Notification
from vinculum_notifier.settings import Settings
from vinculum_shared.contracts.addresses import address_hash
from vinculum_shared.signed import Invitation

PACKAGE: Final = "vinculum_notifier"
SOURCE_LANGUAGE: Final = "en"
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
    body = EmailMessage(SMTP)
    body.set_content(text, cte="quoted-printable")
    body.add_alternative(html, subtype="html", cte="quoted-printable")
    body.set_boundary(f"=_{mail.id.hex}")
    fields = header_fields(mail, known, settings, subject, unsubscribe_url, now)
    written = "".join(f"{name}: {value}\r\n" for name, value in fields.items()).encode() + body.as_bytes()
    if headers.names(written) != [*fields, *MIME_HEADERS]:
        raise UnsafeHeaderError
    return written


def worded(mail: Notification, known: Known, settings: Settings, unsubscribe_url: str | None) -> tuple[str, str, str]:
    """Give the subject, the text and the HTML, in the contact's language."""
    contact = known.contact(mail.addressee.contact_id)
    templates = speaking(contact.locale if contact else None, known.tenant.locale)
    values = facts(mail, known) | {"unsubscribe_url": unsubscribe_url, "url": where(mail, known, settings)}
    subject = templates.get_template(f"{mail.template}/subject.txt").render(values)
    values = {name: inert(value) if name in FOREIGN else value for name, value in values.items()}
    text = templates.get_template(f"{mail.template}/body.txt").render(values)
    html = templates.get_template(f"{mail.template}/body.html").render(values)
    return subject, text, html


def header_fields(
    mail: Notification, known: Known, settings: Settings, subject: str, unsubscribe_url: str | None, now: datetime
) -> dict[str, str]:
    """Return the headers that the mail is to have, as they are written."""
    fields = {
        "From": headers.mailbox("From", known.tenant.name, settings.mail_from),
        "To": headers.addr_spec(mail.addressee.address),
        "Subject": headers.text("Subject", subject),
        "Date": rfc5322(now),
        "Message-ID": message_id(mail, settings),
        "Auto-Submitted": "auto-generated",
        "X-Vinculum-Event": str(mail.event_id),
        "X-Vinculum-Topic": mail.topic,
    }
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


def facts(mail: Notification, known: Known) -> dict[str, Any]:
    account = known.account(mail.account_id) if mail.account_id else None
    contact = known.contact(mail.addressee.contact_id)
    record = known.record(mail.record_id) if mail.record_id else None
    return {
        "tenant": known.tenant.name,
        "account": account.name if account else "",
        "contact": contact.name if contact else "",
        "expires_at": mail.expires_at,
        **(record.model_dump(exclude={"type"}) if record else dict.fromkeys(Record.model_fields)),
    }


def inert(text: str | None) -> str | None:
    """Put zero-width spaces into what mail programs would make a link of, though it is only a name."""
    return text and re.sub(r"([.:@])(?=\w\w|/)", "\\1\u200b", text)


def speaking(*preferred: str | None) -> SandboxedEnvironment:
    """Return the templates in the first of the languages that is spoken here, whatever region the tag names."""
    spoken = (tag for tag in preferred if tag and tag.partition("-")[0] in languages())
    return environment(nearest(next(spoken, SOURCE_LANGUAGE)))


def nearest(tag: str) -> Locale:
    """Return the locale whose dates and numbers come closest: CLDR has none for it-AT, and `it` for it."""
    language, _, region = tag.partition("-")
    try:
        return Locale(language, region or None)
    except UnknownLocaleError:
        return Locale(language)


@cache
def languages() -> frozenset[str]:
    catalogues = (each.name for each in files(PACKAGE).joinpath("locale").iterdir() if each.is_dir())
    return frozenset({SOURCE_LANGUAGE, *catalogues})


@cache
def environment(locale: Locale) -> SandboxedEnvironment:
    templates = SandboxedEnvironment(
        loader=PackageLoader(PACKAGE),
        extensions=["jinja2.ext.i18n"],
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.globals["language"] = locale.language
    templates.filters["day"] = lambda day: format_date(day, "long", locale)
    templates.filters["instant"] = lambda at: format_datetime(at, "long", locale=locale)
    templates.filters["amount"] = lambda amount: format_decimal(amount, "#,##0.00##", locale)
    templates.install_gettext_translations(catalogue(locale.language), newstyle=True)  # type: ignore[attr-defined]
    return templates


def catalogue(language: str) -> gettext.NullTranslations:
    """Read a catalogue as translators write it, so that no compiled one can be older than it."""
    if language == SOURCE_LANGUAGE:
        return gettext.NullTranslations()
    compiled = io.BytesIO()
    with files(PACKAGE).joinpath("locale", language, "LC_MESSAGES", "messages.po").open("rb") as source:
        write_mo(compiled, read_po(source, language))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)
