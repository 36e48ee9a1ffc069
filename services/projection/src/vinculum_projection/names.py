"""How names are compared: case and accents do not count, nor what cannot be seen, nor which hyphen it is."""

import re
import unicodedata
from typing import Final

from vinculum_shared.contracts.values import INVISIBLE

FOLDED_LENGTH_MAX: Final = 200  # characters; an index entry of Postgres takes 2,700 bytes
WORDS_MAX: Final = 16  # words of a name that can be found
START_LENGTH_MAX: Final = 60  # characters from the start of a word that can be searched for
LAST: Final = "\U0010ffff"


# What Unicode does not decompose, as CLDR's Latin-ASCII transform has it.
LETTERS: Final = str.maketrans(
    dict(zip("\u0131łøđðħŧŋ", "iloddhtn", strict=True)) | {"þ": "th", "æ": "ae", "œ": "oe"},
)
SIGNS: Final = str.maketrans(dict.fromkeys("\u2018\u2019\u201b\u2032\u02bb\u02bc\u02b9\u00b4`", "'")) | str.maketrans(
    dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u2043", "-")
)
UNSEEN: Final = re.compile(rf"[{INVISIBLE}\u2800\u0640]+")  # Braille's blank and Arabic's tatweel, too
VOICING_MARKS: Final = "\u3099\u309a"  # of kana: unlike an accent, they make another letter
VOICED: Final = re.compile(f"[\u3041-\u30ff][{VOICING_MARKS}]")


def folded(name: str | None) -> str:
    """Return a name as it is sorted. One of which nothing is left over is empty, and sorts first."""
    name = name or ""
    if not name.isascii():
        name = unicodedata.normalize("NFKD", name.translate(SIGNS))
        name = UNSEEN.sub("", unicodedata.normalize("NFKD", name.casefold().translate(LETTERS)))
        name = VOICED.sub(_composed, name)
        name = "".join(each for each in name if each in VOICING_MARKS or not unicodedata.combining(each))
    return " ".join(name.translate(SIGNS).casefold().split())[:FOLDED_LENGTH_MAX]


def _composed(kana: re.Match[str]) -> str:
    return unicodedata.normalize("NFC", kana.group())


def letter(name: str | None) -> str:
    """Return the base letter that a name is listed under; `#` if it starts with none."""
    first = folded(name)[:1]
    return first.upper() if first.isalpha() else "#"


def under(wanted: str | None) -> str | None:
    """Return the letter that a list is asked to show, in whatever case or accent it was given."""
    return None if wanted is None else letter(wanted)


def words(folded_name: str) -> list[str]:
    """Return the words of a name, without the signs between them. Signs are words only of a name that has no others."""
    parted = "".join(each if each.isalnum() or unicodedata.category(each)[0] == "M" else " " for each in folded_name)
    return parted.split() or folded_name.split()


def word_starts(folded_name: str) -> set[str]:
    """Return what is left of a name from each of its words on: the start of any of these finds it."""
    found = words(folded_name)
    return {" ".join(found[start:])[:START_LENGTH_MAX] for start in range(min(len(found), WORDS_MAX))}


def search_range(query: str | None) -> tuple[str | None, str | None]:
    """Return two ends, between which lie the starts that begin with the query: none if nothing of it is left over.

    LIKE would do, but under row level security Postgres uses an index only for operators that it knows to be
    leakproof.
    """
    if query is None or not query.strip():
        return None, None
    start = " ".join(words(folded(query)))[:START_LENGTH_MAX]
    return start, start and start + LAST
