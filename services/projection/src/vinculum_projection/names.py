"""How names are compared: case and accents do not count."""

import re
import unicodedata
from itertools import islice
from typing import Final

FOLDED_LENGTH_MAX: Final = 200  # characters; an index entry of Postgres takes 2,700 bytes
WORDS_MAX: Final = 16  # words of a name that can be found
START_LENGTH_MAX: Final = 60  # characters from the start of a word that can be searched for
WORD: Final = re.compile(r"[^\W_]+|(?<!\S)\S")  # a hyphen or an apostrophe ends a word; a sign alone is one
LAST: Final = "\U0010ffff"


def folded(name: str | None) -> str:
    """Fold: NFKD, accents off, casefold. A name of which nothing is left over is empty, and sorts first."""
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", name or "").casefold())
    plain = "".join(character for character in decomposed if not unicodedata.combining(character))
    return " ".join(plain.split())[:FOLDED_LENGTH_MAX]


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
