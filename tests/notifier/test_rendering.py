"""Mails as they are read. To record them anew: VINCULUM_TEST_RECORD=1."""

import os
import re
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.policy import default
from email.utils import getaddresses
from html import unescape
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Final, get_args
from uuid import UUID

import hypothesis
import pytest
from babel.messages.extract import extract
from babel.messages.pofile import read_po
from hypothesis import HealthCheck, example, given
from hypothesis import strategies as st
from pydantic import SecretStr, TypeAdapter, ValidationError

from support.notifier import settings_for
from vinculum_notifier import headers, languages
from vinculum_notifier.headers import UnsafeHeaderError
from vinculum_notifier.known import Account, Contact, Known, Record, Tenant
from vinculum_notifier.rendering import isolated, render, unturned
from vinculum_notifier.routing import RECORD_MAILS, Addressee, MailTopic, Notification
from vinculum_notifier.settings import Settings
from vinculum_notifier.unsubscribe import unsubscribe_url
from vinculum_shared.contracts.addresses import NewAddress
from vinculum_shared.contracts.records import RecordType
from vinculum_shared.signed import Invitation

pytestmark = pytest.mark.unit

GOLDEN: Final = Path(__file__).parent / "mails"
NOW: Final = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
ACCOUNT, CONTACT, EMAIL, RECORD, EVENT, INVITATION = (UUID(int=number) for number in range(1, 7))
PIECES: Final = [
    *("=?utf-8?q?", "=?utf-8?b?", "?=", "=0A", "=0D=0A", "=00", "CkJjYzogeEB5", "=?x?q?a?=", "=?", "?", "="),
    *("Bcc:", " e@x", "\\", '"', "<", ">", "(", ")", ",", ";", ":", "@", "[", "]", "_", "%", " ", "\u00a0"),
    *("a", "abc", "é", "日本", "עברית", "ไทย", "👩\u200d👧", "\u200f", "\u202e", "x" * 80, "é" * 60),
]
HOSTILE: Final = "=?utf-8?q?a=0ABcc=3A_e=40x?="
NAMES: Final = st.one_of(
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=20).map("".join),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=500),
    st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Zl", "Zp")), min_size=1, max_size=500),
).filter(lambda name: unturned(name).strip())
MAILBOXES: Final = {"From": "notices@vinculum.example", "Reply-To": "office@rossi.example"}
HEADERS: Final = [
    *("From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "X-Vinculum-Event", "X-Vinculum-Topic"),
    *("Reply-To", "Traceparent", "List-Unsubscribe", "List-Unsubscribe-Post", "MIME-Version", "Content-Type"),
]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_for(SecretStr("postgresql://"), SecretStr("smtp://localhost"), tmp_path, tmp_path / "jwks")


def knowing(
    *,
    tenant: str = "Studio Rossi",
    account: str = "Bianchi & C. S.p.A.",
    contact: str = "Anna",
    locale: str | None = "en",
) -> Known:
    known = Known("rossi")
    known.put(
        "tenant/rossi",
        Tenant(name=tenant, portal_url="https://portal.example.com/rossi/", reply_to="office@rossi.example"),
    )
    known.put(f"account/{ACCOUNT}", Account(name=account))
    known.put(f"contact/{CONTACT}", Contact(name=contact, locale=locale))
    known.put(
        f"record/{RECORD}",
        Record(
            type="invoice",
            number="2026/17",
            title="Consulting",
            amount=Decimal("1234.5"),
            currency="EUR",
            due=date(2026, 4, 30),
        ),
    )
    return known


def due(template: str, address: str = "anna@example.com") -> Notification:
    topic: MailTopic = "invitation" if template == "invitation" else "invoice"
    return Notification(
        tenant="rossi",
        event_id=EVENT,
        position=10,
        recorded_at=NOW,
        topic=topic,
        template=template,
        outcome="queued",
        reason="invited" if topic == "invitation" else "preference",
        account_id=ACCOUNT,
        record_id=None if topic == "invitation" else RECORD,
        invitation_id=INVITATION,
        traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        to=Addressee(CONTACT, EMAIL, address, "hash"),
    )


def written(mail: Notification, known: Known, settings: Settings) -> bytes:
    return render(mail, known, settings, unsubscribe_url=unsubscribe_url(mail, settings), now=NOW)


def parsed(mail: Notification, known: Known, settings: Settings) -> EmailMessage:
    return message_from_bytes(written(mail, known, settings), policy=default)


def texts(message: EmailMessage) -> tuple[str, str]:
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    assert text
    assert html
    one, other = (part.get_content().replace("\r\n", "\n") for part in (text, html))
    return one, other


def decoded(header: str) -> str:
    return str(make_header(decode_header(header)))


def readable(message: EmailMessage) -> str:
    """The headers, the text and the HTML, with tokens and ids shortened."""
    headers = "".join(f"{name}: {value}\n" for name, value in message.items())
    text, html = texts(message)
    return re.sub(r"[\w-]{80,}(\.[\w-]+)?", "…", f"{headers}\n{text}\n{html}")


@pytest.mark.parametrize("locale", ["en", "it"])
@pytest.mark.parametrize("template", ["invitation", "invoice_sent", "invoice_overdue"])
def test_a_mail_reads_as_it_was_recorded(template: str, locale: str, settings: Settings) -> None:
    file = GOLDEN / f"{template}.{locale}.txt"
    now = readable(parsed(due(template), knowing(locale=locale), settings))
    if os.environ.get("VINCULUM_TEST_RECORD") == "1":
        file.write_text(now, "utf-8")
    assert now == file.read_text("utf-8")


def test_the_link_of_an_invitation_holds_a_token_that_the_command_service_accepts(settings: Settings) -> None:
    """In the fragment, so that no server between sees it; valid for 48 hours."""
    text, _ = texts(parsed(due("invitation"), knowing(), settings))
    link = re.search(r"https://portal\.example\.com/rossi/accept#token=(\S+)", text)
    assert link
    invitation = Invitation.read(settings.invitation_key, link.group(1), NOW)
    assert invitation
    assert (invitation.tenant, invitation.email_id, invitation.invitation_id) == ("rossi", EMAIL, INVITATION)
    assert (invitation.expires_at - NOW).total_seconds() == 48 * 3600
    assert Invitation.read(settings.invitation_key, link.group(1), invitation.expires_at) is None


def test_only_mail_about_a_topic_can_be_unsubscribed_from(settings: Settings) -> None:
    about_topic = parsed(due("invoice_sent"), knowing(), settings)
    assert about_topic["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert about_topic["List-Unsubscribe"].startswith("<https://notices.vinculum.example/v1/unsubscribe/")
    assert "List-Unsubscribe" not in parsed(due("invitation"), knowing(), settings)


def test_the_contact_is_addressed_in_its_language_or_the_tenants(settings: Settings) -> None:
    for locale, tenant_locale, expected in (
        ("it-CH", "en", "Buongiorno Anna,"),
        ("ja", "it", "Buongiorno Anna,"),
        ("ja", "fi", "Hello Anna,"),
        ("en-GB", "it", "Hello Anna,"),
        ("it-AT", "en", "Buongiorno Anna,"),
        ("it-ZZ", "en", "Buongiorno Anna,"),
        ("en-MX", "it", "Hello Anna,"),
        ("xx-YY", "it-US", "Buongiorno Anna,"),
        (None, "it", "Buongiorno Anna,"),
    ):
        known = knowing(locale=locale)
        known.put("tenant/rossi", Tenant(name="Studio Rossi", locale=tenant_locale))
        text, html = texts(parsed(due("invoice_sent"), known, settings))
        assert f"\n{expected}\n" in text
        assert expected in html


def test_the_message_id_depends_on_event_recipient_and_topic_alone(settings: Settings) -> None:
    one = parsed(due("invoice_sent"), knowing(), settings)["Message-ID"]
    assert parsed(due("invoice_sent"), knowing(tenant="Renamed"), settings)["Message-ID"] == one
    assert parsed(due("invitation"), knowing(), settings)["Message-ID"] != one


@given(NAMES, NAMES)
@hypothesis.settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example("Rossi, Bianchi, Verdi, Neri & Figli, Società di consulenza", "2026/17")
@example("Studio Legale e Tributario Rossi, Bianchi, Verdi, Neri & Figli, Associazione Professionale", "2026/17")
@example(HOSTILE, HOSTILE)
@example("=?UTF-8?Q?=0D=0A?=Bcc: e@example.com", "17\\")
@example('"Rossi" <x@example.com>', "17")
@example("é" * 500, "é" * 500)
@example("a" * 500, "a" * 500)
@example('"' * 500, "17")
@example("Rossi:;", "17")
@example("\u202e \u05d0", "\u2066 a")
def test_whatever_a_name_is_made_of_it_is_read_back_and_adds_nothing(
    settings: Settings, name: str, number: str
) -> None:
    """By a strict parser and by the one that most programs use, from headers that keep to RFC 5322 and 2047 (S12)."""
    known = knowing(tenant=name)
    known.put(f"record/{RECORD}", Record(type="invoice", number=number))
    raw = written(due("invoice_sent"), known, settings)
    block, _, _ = raw.partition(b"\r\n\r\n")
    assert block.isascii()
    for line in block.split(b"\r\n"):
        assert len(line) <= (76 if b"=?utf-8?" in line else 998)
    assert all(len(word) <= 75 for word in re.findall(rb"=\?utf-8\?\S*", block))

    shown = " ".join(unturned(name).split())
    subject = " ".join(f"Invoice {isolated(number)} from {isolated(name)}".split())
    message = message_from_bytes(raw)
    assert message.keys() == HEADERS
    for header, expected in MAILBOXES.items():
        ((display_name, address),) = getaddresses([message[header]])
        assert (decoded(display_name), address) == (shown, expected)
    assert decoded(message["Subject"]) == subject
    assert message["To"] == "anna@example.com"

    strict = message_from_bytes(raw, policy=default)
    for header, expected in MAILBOXES.items():
        (mailbox,) = strict[header].addresses
        assert mailbox.addr_spec == expected
        # Python 3.11 adds a blank between the encoded words of a name, and of a name only, when it reads them.
        assert mailbox.display_name.replace(" ", "") == shown.replace(" ", "")
    assert strict["Subject"] == subject
    assert [each.addr_spec for each in strict["To"].addresses] == ["anna@example.com"]
    assert not any(strict[header].defects for header in ("From", "Reply-To", "To", "Subject"))


def test_a_long_name_with_commas_is_one_sender(settings: Settings) -> None:
    name = "Rossi, Bianchi, Verdi, Neri and Sons, Chartered Accountants, Tax Advisers and Notaries, Milan, Rome"
    (sender,) = parsed(due("invoice_sent"), knowing(tenant=name), settings)["From"].addresses
    assert (sender.display_name, sender.addr_spec) == (name, "notices@vinculum.example")


@pytest.mark.parametrize(
    "address",
    [
        "a@example.com, b@example.com",
        "a=?utf-8?q?=0ABcc:?=@example.com",
        "=?utf-8?q?a?=@example.com",
        "a@b@example.com",
        "",
    ],
)
def test_an_address_that_would_be_read_as_another_is_not_written_to(address: str, settings: Settings) -> None:
    with pytest.raises(UnsafeHeaderError):
        written(due("invoice_sent", address), knowing(), settings)


@given(st.text(st.sampled_from("aé用א.!#$%&'*+-/=?^_`{|}~\\\"(),:;<> "), min_size=1, max_size=8))
@example("x=?y")
@example("=?utf-8?q?a?=")
def test_every_address_that_is_accepted_can_be_written_to(local: str) -> None:
    address = f"{local}@example.com"
    try:
        TypeAdapter(NewAddress).validate_python(address)
    except ValidationError:
        return
    assert headers.addr_spec(address) == address


def test_an_address_beyond_ascii_is_written_as_it_is(settings: Settings) -> None:
    message = written(due("invoice_sent", "josé@EXÄMPLE.com"), knowing(), settings)
    assert "\r\nTo: josé@exämple.com\r\n".encode() in message


@pytest.mark.parametrize("template", ["invitation", "invoice_sent", "invoice_overdue"])
@pytest.mark.parametrize("locale", ["en", "it"])
def test_the_text_says_all_that_the_html_says(template: str, locale: str, settings: Settings) -> None:
    text, html = texts(parsed(due(template), knowing(locale=locale), settings))
    page = unescape(re.sub(r"<style>.*</style>|<title>.*</title>|<[^>]+>", "\n", html, flags=re.DOTALL))
    said = {line.strip() for line in page.splitlines() if line.strip()}
    only_html = {"If the button does not work, open this link:", "Se il pulsante non funziona, apra questo link:"}
    assert {line for line in said - only_html if line not in text} == set()


@pytest.mark.parametrize(
    ("amount", "currency", "locale", "written"),
    [
        ("1234.5", "EUR", "en", "€1,234.50"),
        ("1234.5", "EUR", "it", "1.234,50\u00a0€"),
        ("1234.5", "EUR", "it-CH", "€\u00a01\u2019234.50"),
        ("1250", "JPY", "en", "¥1,250"),
        ("1250.00", "JPY", "en", "¥1,250"),
        ("0.1234", "USD", "en", "$0.1234"),
        ("1.5", "KWD", "en", "KWD\u00a01.500"),
        ("-12", "EUR", "en", "-€12.00"),
        ("0", "EUR", "en", "€0.00"),
        ("99999999999999.9999", "EUR", "en", "€99,999,999,999,999.9999"),
        ("1234.5", None, "en", "1,234.50"),
        ("1234.5", None, "it", "1.234,50"),
    ],
)
def test_an_amount_is_written_to_its_last_digit_as_the_reader_writes_money(
    amount: str, currency: str | None, locale: str, written: str
) -> None:
    """Without a currency it is a number: which money is meant was not said."""
    assert languages.money(Decimal(amount), currency, languages.preferred(locale)) == written


def test_an_invoice_of_which_little_is_known_says_what_is_known(settings: Settings) -> None:
    known = knowing(contact="")
    known.put("tenant/rossi", Tenant(name="Studio Rossi"))
    known.put(f"record/{RECORD}", Record(type="invoice"))
    mail = parsed(due("invoice_sent"), known, settings)
    text, html = texts(mail)
    for part in (text, html):
        assert "None" not in part
        assert "Amount" not in part
        assert "Open the portal" not in part
        assert "Hello," in part
    assert mail["Reply-To"] is None
    assert mail["Subject"] == "An invoice from Studio Rossi"


def test_a_mail_says_why_it_was_sent_and_to_which_address(settings: Settings) -> None:
    wanted = parsed(due("invoice_sent"), knowing(), settings)
    chosen = parsed(replace(due("invoice_sent"), reason="chosen"), knowing(), settings)
    for mail, why in (
        (wanted, "emails about invoices for Bianchi & C. S.p.A. are turned on for this address"),
        (chosen, "Studio Rossi chose you to receive this invoice"),
    ):
        text, html = texts(mail)
        assert f"This email was sent to anna@example.com because {why}." in text
        assert f"This email was sent to anna@example.com because {why}." in unescape(html)


def test_an_invoice_number_can_be_copied_from_the_mail(settings: Settings) -> None:
    """Nothing invisible is put into it: it is typed into payments."""
    known = knowing()
    known.put(f"record/{RECORD}", Record(type="invoice", number="RE.2026.0017-A:3"))
    for part in texts(parsed(due("invoice_sent"), known, settings)):
        assert "RE.2026.0017-A:3" in part


def test_a_name_turns_nothing_around(settings: Settings) -> None:
    """What is written from right to left is isolated, and overrides are left out."""
    text, _ = texts(parsed(due("invoice_sent"), knowing(account="\u202eevil עברית\u2069"), settings))
    assert "\nAccount: \u2068evil עברית\u2069\n" in text


def test_a_name_turns_nothing_around_in_a_header(settings: Settings) -> None:
    known = knowing(tenant="Rossi \u202egro.live\u2066 \u05d0")
    known.put(f"record/{RECORD}", Record(type="invoice", number="7 \u202egnp.exe"))
    mail = parsed(due("invoice_sent"), known, settings)
    assert mail["Subject"] == "Invoice 7 gnp.exe from \u2068Rossi gro.live \u05d0\u2069"
    for header in ("From", "Reply-To"):
        assert mail[header].addresses[0].display_name == "Rossi gro.live \u05d0"


def test_names_are_text_in_every_part(settings: Settings) -> None:
    """No template language, no markup, no links come from what somebody has typed (S15, S16)."""
    hostile = "{{7*7}}{% raw %}<a href='https://evil.example'>https://evil.example</a> www.evil.example"
    text, html = texts(parsed(due("invoice_sent"), knowing(account=hostile, contact=hostile), settings))
    for part in (text, html):
        assert "{{7*7}}{% raw %}" in part
        assert "49" not in part
        assert "evil.example" not in part.replace("\u200b", "|")
    assert "<a href='" not in html


def test_no_line_of_a_body_is_longer_than_quoted_printable_allows(settings: Settings) -> None:
    mail = written(due("invitation"), knowing(tenant="Ɓ" * 200), settings)
    _, _, body = mail.partition(b"\r\n\r\n")
    assert max(map(len, body.split(b"\r\n"))) == 76


def test_lines_end_as_smtp_wants_them(settings: Settings) -> None:
    message = written(due("invoice_sent"), knowing(account="è" * 400), settings)
    assert re.search(rb"(?<!\r)\n|\r(?!\n)", message) is None
    assert max(map(len, message.split(b"\r\n"))) < 998


def test_header_names_are_read_back_as_a_server_reads_them() -> None:
    assert headers.names(b"A: 1\r\n folded\r\nB: 2\nC: 3\r\n\r\nD: 4") == ["A", "B", "C"]


def test_every_record_type_has_its_mails() -> None:
    assert set(RECORD_MAILS) == set(get_args(RecordType))
    words = {Path(each.name).stem for each in files("vinculum_notifier").joinpath("templates", "mails").iterdir()}
    mails = {name for each in RECORD_MAILS.values() for name in (each.sent, *each.reminders.values())}
    assert words == mails | {"invitation", "invoice"}


@pytest.mark.parametrize("language", sorted(languages.languages() - {"en"}))
def test_every_string_is_translated(language: str) -> None:
    package = Path(str(files("vinculum_notifier")))
    wanted = {
        message
        for file in package.joinpath("templates").rglob("*.*")
        for _, message, _, _ in extract("jinja2.ext:babel_extract", BytesIO(file.read_bytes()))
    }
    with (package / "locale" / language / "LC_MESSAGES" / "messages.po").open("rb") as source:
        translated = {message.id for message in read_po(source) if message.id and message.string}
    assert translated == wanted
