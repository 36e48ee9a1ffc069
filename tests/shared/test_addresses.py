"""What an email address is, and when two are the same one."""

import re
import unicodedata
from typing import Final

import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from vinculum_shared.contracts.addresses import PLAIN, PLAIN_LENGTH_MAX, NewAddress, address_hash, comparable, mailable
from vinculum_shared.contracts.values import INVISIBLE

pytestmark = pytest.mark.unit

ADDRESS: Final[TypeAdapter[str]] = TypeAdapter(NewAddress)

words = st.text(st.characters(categories=("L", "N")), min_size=1, max_size=12)
domains = st.sampled_from(["example.com", "münchen.example", "straße.example", "παράδειγμα.example", "例え.example"])
addresses = st.builds("{}@{}".format, words, domains)
invisible = st.from_regex(f"^[{INVISIBLE}]$", fullmatch=True).map(str.strip).filter(bool)


def reason(address: str) -> str | None:
    """Return why it is not an address; None: it is one."""
    try:
        ADDRESS.validate_python(address)
    except ValidationError as error:
        return error.errors()[0]["msg"]
    return None


@pytest.mark.parametrize(
    "address",
    [
        "bo@example.com",
        "O'Brien+invoices@mail.example.co",
        "straße@example.com",
        "bo@münchen.example",
        "bo@xn--mnchen-3ya.example",
        "用户@例え.テスト",
        "bo@intranet.local",
        "a" * 64 + "@example.com",
        "é" * 32 + "@example.com",
        "!#$%&'*+-/?=^_`{|}~@example.com",
    ],
)
def test_an_address_is_kept_as_it_was_typed(address: str) -> None:
    assert ADDRESS.validate_python(address) == address


@pytest.mark.parametrize(
    "address",
    [
        "",
        "bo",
        "bo@",
        "@example.com",
        "bo@localhost",
        "bo@@example.com",
        "a..b@example.com",
        ".a@example.com",
        "bo@-a.example",
        "bo@a_b.example",
        "bo@127.0.0.1",
        "bo@[127.0.0.1]",
        '"b o"@example.com',
        "Bo <bo@example.com>",
        "bo@example.com, al@example.com",
        " bo@example.com",
        "bo@exam\u00adple.com",
        "b\u200bo@example.com",
        "b\u202eo@example.com",
        "b\u3164o@example.com",
        "b\0o@example.com",
        "bo@xn--a.example",
        "a" * 65 + "@example.com",
        "é" * 33 + "@example.com",
        "bo@" + "例え." * 40 + "example",
        "x=?y@example.com",
        "x=?y?=@example.com",
        "!#$%&'*+-/=?^_`{|}~@example.com",
        "bo@" + "a" * 64 + ".com",
    ],
)
def test_what_is_not_an_address_is_refused_in_words(address: str) -> None:
    said = reason(address)
    assert said
    assert re.fullmatch(r"[A-Z].*\.", said)


@pytest.mark.parametrize(
    ("typed", "mailed"),
    [
        ("Bo@Example.COM", "Bo@Example.COM"),
        ("bo@xn--mnchen-3ya.example", "bo@xn--mnchen-3ya.example"),
        ("info@MÜLLER.de", "info@xn--mller-kva.de"),
        ("a@\ufb01.example", "a@fi.example"),
        ("ユーザー@例え。jp.com", "ユーザー@例え.jp.com"),
        ("é@EXÄMPLE.com", "é@exämple.com"),
        ("büro", "büro"),
    ],
)
def test_mail_goes_to_a_domain_in_the_form_of_idna(typed: str, mailed: str) -> None:
    assert mailable(typed) == mailed


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Bo@Example.COM", "bo@example.com"),
        ("É@example.com", "é@example.com"),
        ("e\u0301@example.com", "é@example.com"),
        ("bo@MÜNCHEN.example", "bo@xn--mnchen-3ya.example"),
        ("bo@XN--MNCHEN-3YA.example", "bo@münchen.example"),
        ("bo@example。com", "bo@example.com"),
        ("bo@\uff45xample.com", "bo@example.com"),
    ],
)
def test_spellings_of_one_address_are_the_same(one: str, other: str) -> None:
    assert comparable(one) == comparable(other)
    assert address_hash(b"key", one) == address_hash(b"key", other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("strasse@example.com", "straße@example.com"),
        ("bo@strasse.example", "bo@straße.example"),
        ("resume@example.com", "résumé@example.com"),
        ("bo+a@example.com", "bo@example.com"),
    ],
)
def test_different_mailboxes_stay_different(one: str, other: str) -> None:
    assert comparable(one) != comparable(other)


@settings(deadline=None)
@given(st.text(max_size=80) | addresses)
@example("İ@example.com")
@example("ᾼ@example.com")
def test_everything_has_one_form_to_compare(text: str) -> None:
    form = comparable(text)
    assert comparable(form) == form


@settings(deadline=None)
@given(addresses)
def test_unicode_and_idna_spellings_make_no_difference(address: str) -> None:
    local, domain = address.split("@")
    alabels = domain.encode("idna").decode() if "ß" not in domain else "xn--strae-oqa.example"
    for form in ("NFC", "NFD"):
        assert comparable(unicodedata.normalize(form, address)) == comparable(address)
    assert comparable(f"{local}@{alabels}") == comparable(address)


@settings(deadline=None)
@given(addresses.filter(lambda each: reason(each) is None), invisible, st.data())
def test_no_address_has_an_invisible_character(address: str, character: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(address)))
    assert reason(address[:at] + character + address[at:])


atoms = st.text("azAZ09_+-", min_size=1, max_size=12)
labels = st.text("azAZ09", min_size=1, max_size=9)
hosts = st.lists(st.lists(labels, min_size=1, max_size=2).map("-".join), min_size=1, max_size=3).map(".".join)
names = st.lists(atoms, min_size=1, max_size=3).map(".".join)
plain = st.builds("{}@{}.{}".format, names, hosts, st.text("azAZ", min_size=2, max_size=9))


@settings(deadline=None)
@given(plain)
def test_plain_addresses_are_what_the_library_makes_of_them(address: str) -> None:
    assume(PLAIN.fullmatch(address) and len(address) <= PLAIN_LENGTH_MAX)
    assert reason(address) is None
    assert comparable(address) == validate_email(address, check_deliverability=False, strict=True).normalized.lower()


@settings(deadline=None)
@given(st.text(st.sampled_from("aZ09._+-@'\u017f\u212a"), max_size=20))
def test_what_the_library_refuses_is_not_an_address(text: str) -> None:
    try:
        validate_email(text, check_deliverability=False, strict=True)
    except EmailNotValidError:
        assert reason(text)
    else:
        assert reason(text) is None
