"""How names are compared: case and accents do not count, nor what cannot be seen, nor which hyphen it is."""

import re
import unicodedata
from itertools import islice
from typing import Final

from vinculum_shared.contracts.values import INVISIBLE

FOLDED_LENGTH_MAX: Final = 200  # characters; an index entry of Postgres takes 2,700 bytes
WORDS_MAX: Final = 16  # words of a name that can be found
START_LENGTH_MAX: Final = 60  # characters from the start of a word that can be searched for
WORD: Final = re.compile(r"[^\W_]+|(?<!\S)\S")  # a hyphen or an apostrophe ends a word; a sign alone is one
LAST: Final = "\U0010ffff"


# What Unicode does not decompose, as CLDR's Latin-ASCII transform has it.
LETTERS: Final = str.maketrans(
    dict(zip("\u0131łøđðħŧŋ", "iloddhtn", strict=True)) | {"þ": "th", "æ": "ae", "œ": "oe"},
)
SIGNS: Final = str.maketrans(dict.fromkeys("\u2018\u2019\u201b\u2032\u02bb\u02bc\u02b9\u00b4`", "'")) | str.maketrans(
    dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u2043", "-")
)
UNSEEN: Final = re.compile(f"[{INVISIBLE}]+")


def folded(name: str | None) -> str:
    """Return a name as it is sorted and searched for. One of which nothing is left over is empty, and sorts first."""
    name = name or ""
    if not name.isascii():
        name = unicodedata.normalize("NFKD", UNSEEN.sub("", name).translate(SIGNS))
        name = unicodedata.normalize("NFKD", name.casefold().translate(LETTERS))
        name = "".join(character for character in name if not unicodedata.combining(character))
    return " ".join(name.translate(SIGNS).casefold().split())[:FOLDED_LENGTH_MAX]


def letter(name: str | None) -> str:
    """Give the base letter that a name is listed under; `#` if it starts with none."""
    first = folded(name)[:1]
    return first.upper() if first.isalpha() else "#"


def under(wanted: str | None) -> str | None:
    """Give the letter that a list is asked to show, in whatever case or accent it was given."""
    return None if wanted is None else letter(wanted)


def word_starts(folded_name: str) -> set[str]:
    """Give what is left of a name from each of its words on: the start of any of these finds it."""
    words = islice(WORD.finditer(folded_name), WORDS_MAX)
    return {folded_name[start:][:START_LENGTH_MAX] for start in (0, *(word.start() for word in words)) if folded_name}


def search_range(query: str | None) -> tuple[str | None, str | None]:
    """Give two ends, between which lie the starts that begin with the query.

    LIKE would do, but under row level security Postgres uses an index only for operators that it knows to be
    leakproof.
    """
    start = folded(query)[:START_LENGTH_MAX]
    return (start, start + LAST) if start else (None, None)
