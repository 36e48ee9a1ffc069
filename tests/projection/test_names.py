"""How names are compared, listed and found."""

import unicodedata
from collections.abc import Callable
from typing import Literal

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from vinculum_projection.names import folded, letter, search_range, word_starts

pytestmark = pytest.mark.unit

Form = Literal["NFC", "NFD"]
letters = st.characters(categories=("L", "M", "N", "P", "Zs"), max_codepoint=0x24F) | st.sampled_from(
    "かがハバパｶﾞカ\u3099\u309aأحمدـ\u0652한글हिन्दीЖй&+«»"
)
names = st.text(letters, max_size=30)


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("Müller", "muller"),
        ("STRASSE", "strasse"),
        ("Straße", "strasse"),
        ("Émile  \t Zola ", "emile zola"),
        ("ﬁne", "fine"),
        ("İstanbul", "istanbul"),
        ("Ångström", "angstrom"),
        ("", ""),
        (None, ""),
        ("\u0301", ""),
        ("I\u015f\u0131k", "isik"),
        ("Łukasz Żółć", "lukasz zolc"),
        ("Ørsted", "orsted"),
        ("Þór Æsir", "thor aesir"),
        ("O\u2019Brien", "o'brien"),
        ("Jean\u2011Luc", "jean-luc"),
        ("Jean\u2013Luc", "jean-luc"),
        ("Ann\u200ba\u00ad \ufeffLind", "anna lind"),
        ("Anna\u2800", "anna"),
        ("أحمـــد", "احمد"),
        ("\ufe71", ""),
        ("がっこう", "がっこう"),
        ("か\u200b\u3099", "が"),
        ("ﾊﾟﾝ", "パン"),
    ],
)
def test_case_accents_and_width_do_not_count(name: str | None, plain: str) -> None:
    assert folded(name) == plain


@settings(deadline=None)
@given(names)
@example("\u00b4a")
@example("\u1e9e")
def test_a_folded_name_stays_as_it_is(name: str) -> None:
    assert folded(folded(name)) == folded(name)


@settings(deadline=None)
@given(names, st.sampled_from(("NFC", "NFD")), st.sampled_from((str, str.lower, str.upper, str.casefold)))
def test_a_name_is_found_however_it_is_typed(
    name: str, form: Literal["NFC", "NFD"], case: Callable[[str], str]
) -> None:
    assume(folded(name) and "\u0345" not in unicodedata.normalize("NFD", name))
    typed = unicodedata.normalize(form, case(name))
    assert finds("\u200b".join(typed), name)


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["quoted", "co", "ромашка", "7", "東京", "हिन्दी"]), min_size=1, max_size=5),
    st.lists(st.sampled_from([*' "«»,.()-/&+', ", ", "” ", " & "]), min_size=5, max_size=5),
)
def test_punctuation_between_words_does_not_count(parts: list[str], signs: list[str]) -> None:
    name = "".join(sign + part for sign, part in zip(signs, parts, strict=False))
    for start in range(len(parts)):
        assert finds(" ".join(parts[start:]), name)
        assert finds(name, " ".join(parts))


def finds(query: str, name: str) -> bool:
    first, last = search_range(query)
    assert first is not None
    assert last is not None
    return any(first <= start < last for start in word_starts(folded(name)))


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("quoted co", '"Quoted" Co'),
        ("дом ромашка", "Дом «Ромашка»"),
        ("smith jones", "Smith, Jones"),
        ("Smith, J", "Smith Jones"),
        ("muller sohne", "Müller & Söhne"),
        ("& Söhne", "Müller & Söhne"),
        ("!!!", "!!!"),
        ("ハ", "ハム"),
    ],
)
def test_a_name_is_found_by_its_words(query: str, name: str) -> None:
    assert finds(query, name)


@pytest.mark.parametrize(("query", "name"), [("か", "がっこう"), ("が", "かっこう"), ("ハ", "ﾊﾟﾝ"), ("!", "Oh!")])
def test_a_name_is_not_found_by_other_letters(query: str, name: str) -> None:
    assert not finds(query, name)


def test_a_name_that_grows_when_folded_still_fits_into_an_index() -> None:
    assert len(folded("\ufdfa" * 500)) == 200


@pytest.mark.parametrize(("name", "base"), [("örtli", "O"), ("7 Up", "#"), (None, "#"), ("Жук", "Ж"), ("ßt", "S")])
def test_a_name_is_listed_under_its_base_letter(name: str | None, base: str) -> None:
    assert letter(name) == base


def test_a_name_is_found_from_each_of_its_words_on() -> None:
    assert word_starts("cafe muller & sohne") == {"cafe muller sohne", "muller sohne", "sohne"}
    assert word_starts("jean-luc o'brien") == {"jean luc o brien", "luc o brien", "o brien", "brien"}
    assert word_starts("(brackets) foo/bar") == {"brackets foo bar", "foo bar", "bar"}
    assert word_starts("& !") == {"& !", "!"}
    assert word_starts("") == set()


@pytest.mark.parametrize("query", [None, "", "  "])
def test_a_blank_search_is_no_search(query: str | None) -> None:
    assert search_range(query) == (None, None)


@pytest.mark.parametrize("query", ["\u200b", "\u2800 \ufeff", "\u0301", "ـ"])
def test_a_search_for_what_cannot_be_seen_finds_nothing(query: str) -> None:
    first, last = search_range(query)
    assert first is not None
    assert first == last
