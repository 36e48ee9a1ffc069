"""How names are compared, listed and found."""

import pytest

from vinculum_projection.names import folded, letter, search_range, word_starts

pytestmark = pytest.mark.unit


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
    ],
)
def test_case_accents_and_width_do_not_count(name: str | None, plain: str) -> None:
    assert folded(name) == plain


def test_a_name_that_grows_when_folded_still_fits_into_an_index() -> None:
    assert len(folded("\ufdfa" * 500)) == 200


@pytest.mark.parametrize(("name", "base"), [("örtli", "O"), ("7 Up", "#"), (None, "#"), ("Жук", "Ж"), ("ßt", "S")])
def test_a_name_is_listed_under_its_base_letter(name: str | None, base: str) -> None:
    assert letter(name) == base


def test_a_name_is_found_from_each_of_its_words_on() -> None:
    assert word_starts("cafe muller & sohne") == {"cafe muller & sohne", "muller & sohne", "& sohne", "sohne"}
    assert word_starts("jean-luc o'brien") == {"jean-luc o'brien", "luc o'brien", "o'brien", "brien"}
    assert word_starts("(brackets) foo/bar") == {"(brackets) foo/bar", "brackets) foo/bar", "foo/bar", "bar"}
    assert word_starts("") == set()


def test_a_search_without_letters_is_no_search() -> None:
    assert search_range("  ") == (None, None)
