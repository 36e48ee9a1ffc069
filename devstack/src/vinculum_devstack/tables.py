"""A CSV file as rows that know their line and what their cells mean. It streams: no more than a row is held."""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Final

from vinculum_devstack.problems import StackError

FIELDS: Final = (
    "account.name",
    "account.external_id",
    "account.kind",
    "contact.name",
    "contact.first_name",
    "contact.last_name",
    "contact.email",
    "contact.phone",
    "link.role",
    "link.job_title",
    "link.primary",
)
DETAIL: Final = "account.details."
SEVERAL: Final = frozenset({"contact.email", "contact.phone"})  # fields that more than one column may fill
EMPTY: Final = frozenset({"", "NULL"})
CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")  # no name has them; tabs and line breaks do occur

PRESETS: Final[tuple[Mapping[str, str], ...]] = (
    {  # Northwind's customers
        "customerID": "account.external_id",
        "companyName": "account.name",
        "contactName": "contact.name",
        "contactTitle": "link.job_title",
        "address": "account.details.address",
        "city": "account.details.city",
        "region": "account.details.region",
        "postalCode": "account.details.postal_code",
        "country": "account.details.country",
        "phone": "contact.phone",
        "fax": "account.details.fax",
    },
    {  # the committees of the Federal Election Commission
        "CMTE_ID": "account.external_id",
        "CMTE_NM": "account.name",
        "TRES_NM": "contact.name",
        "CMTE_ST1": "account.details.address",
        "CMTE_ST2": "account.details.address_2",
        "CMTE_CITY": "account.details.city",
        "CMTE_ST": "account.details.state",
        "CMTE_ZIP": "account.details.postal_code",
        "CMTE_PTY_AFFILIATION": "account.details.party",
        "CONNECTED_ORG_NM": "account.details.connected_organization",
        "CAND_ID": "account.details.candidate_id",
    },
)
"""What the columns of a known header are. It is known by having all of them."""


@dataclass(frozen=True, slots=True)
class Row:
    """`fields` has those that aren't empty, without blanks around them. With a `fault`, the row can't be read."""

    line: int
    fields: Mapping[str, tuple[str, ...]]
    fault: str | None = None

    def get(self, field: str) -> str | None:
        values = self.fields.get(field)
        return values[0] if values else None


class Table:
    """`mapping` says which column is which field; for a known header it says what is different."""

    def __init__(
        self,
        path: Path,
        *,
        mapping: Mapping[str, str] | None = None,
        delimiter: str = ",",
        header: Path | None = None,
        encoding: str = "utf-8-sig",
    ) -> None:
        self.path = path
        self.share_read = 0.0
        self._mapping = mapping or {}
        self._delimiter = delimiter
        self._header = header
        self._encoding = encoding

    def rows(self) -> Iterator[Row]:
        try:
            with self.path.open("rb") as file, TextIOWrapper(file, self._encoding, newline="") as text:
                size = max(1, self.path.stat().st_size)
                records = self._records(text)
                header = self._separate_header(self._header) if self._header else next(records, (1, []))[1]
                fields = self._fields(header)
                for line, cells in records:
                    self.share_read = file.tell() / size
                    yield _row(line, cells, fields)
        except OSError as error:
            raise StackError(f"{error.filename} can't be read: {error.strerror}.") from error
        except (UnicodeError, LookupError) as error:
            raise StackError(f"{self.path} can't be read: {error}. Say how it is encoded: --encoding.") from error

    def _records(self, file: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
        """Return each record with the line that it begins in. Where `|` parts the cells, a quote is a character."""
        reader = csv.reader(
            file,
            delimiter=self._delimiter,
            quoting=csv.QUOTE_NONE if self._delimiter == "|" else csv.QUOTE_MINIMAL,
            strict=True,
        )
        line = 1
        try:
            for cells in reader:
                if cells:
                    yield line, cells
                line = reader.line_num + 1
        except csv.Error as error:
            raise StackError(f"{self.path}, line {line}: {error}.") from error

    def _separate_header(self, path: Path) -> list[str]:
        with path.open(encoding=self._encoding, newline="") as file:
            line = file.readline()
        return next(csv.reader([line], delimiter=self._delimiter if self._delimiter in line else ","), [])

    def _fields(self, header: list[str]) -> list[str | None]:
        """Return each column's field, None for one that is not wanted."""
        if not header:
            raise StackError(f"{self.path} is empty.")
        preset = next((preset for preset in PRESETS if preset.keys() <= set(header)), {})
        mapping = {**preset, **self._mapping}
        if not mapping:
            raise StackError(
                f"Which column of {self.path} is which field? Say it with --map COLUMN=FIELD. "
                f"The columns are {', '.join(header)}; the fields {', '.join(FIELDS)} and {DETAIL}…"
            )
        for column, field in mapping.items():
            if header.count(column) != 1:
                raise StackError(f"{self.path} has {header.count(column) or 'no'} columns {column!r}.")
            if field not in FIELDS and not field.startswith(DETAIL):
                raise StackError(f"There is no field {field!r}. The fields are {', '.join(FIELDS)} and {DETAIL}…")
        twice = [field for field, count in Counter(mapping.values()).items() if count > 1 and field not in SEVERAL]
        if twice:
            raise StackError(f"More than one column is {twice[0]}.")
        return [mapping.get(column) for column in header]


def _row(line: int, cells: list[str], fields: list[str | None]) -> Row:
    if len(cells) != len(fields):
        return Row(line, {}, f"it has {len(cells)} cells, and the header {len(fields)}")
    found: dict[str, tuple[str, ...]] = {}
    for field, cell in zip(fields, cells, strict=True):
        value = (cell if field and field.startswith(DETAIL) else CONTROLS.sub(" ", cell)).strip()
        if field and value not in EMPTY:
            found[field] = (*found.get(field, ()), value)
    return Row(line, found)
