"""`vinculum import`: a file's accounts, contacts and links, sent through the command service's batch endpoint.

It reads what the tenant has from its log, sends what is missing, and tells of each row that was refused. Sent again,
the same file changes nothing; after a failure, it goes on where it stopped.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Final

import httpx2
import orjson
import typer
from rich.console import Console
from rich.progress import Progress as Bar

from vinculum_devstack.folder import data_folder, read_json
from vinculum_devstack.matching import EVENTS, Known, Planned, Thing
from vinculum_devstack.problems import StackError
from vinculum_devstack.tables import Row, Table
from vinculum_devstack.tokens import mint
from vinculum_shared.contracts.envelope import decode

BATCH_ROWS: Final = 1_000
BATCH_BYTES: Final = 4 * 1024 * 1024  # the service takes 16 MiB; the last row may be a long one
LOG_PAGE: Final = 1_000
TIMEOUT_SECONDS: Final = 60.0
TOKEN_SECONDS: Final = 24 * 3_600
SCOPES: Final = ("commands", "log", "personal")
REFUSED: Final = 400  # and above
UNABLE: Final = frozenset({429, *range(500, 600)})  # not refused, but not done
UNCHANGED: Final[dict[str, Any]] = {"status": 200, "events": []}  # what a row answers that needs no command


@dataclass(frozen=True, slots=True)
class Refusal:
    line: int
    reason: str


@dataclass(slots=True)
class Batch:
    """What came of some rows; the events by their types."""

    rows: int = 0
    events: Counter[str] = field(default_factory=Counter)
    unchanged: int = 0
    merged: int = 0
    refused: list[Refusal] = field(default_factory=list)

    def add(self, other: "Batch") -> None:
        self.rows += other.rows
        self.events += other.events
        self.unchanged += other.unchanged
        self.merged += other.merged
        self.refused += other.refused

    def __str__(self) -> str:
        return (
            f"{self.rows:,} rows: {self.events['AccountCreated']:,} accounts and {self.events['ContactCreated']:,} "
            f"contacts created, {self.events['ContactLinked']:,} links made; "
            f"{self.unchanged:,} rows changed nothing, {len(self.refused):,} were refused"
            f"{f'; {self.merged:,} had the address of a contact with another name' if self.merged else ''}"
        )


def import_file(
    file: Annotated[Path, typer.Argument(help="A CSV file with a header.")],
    *,
    tenant: Annotated[str, typer.Option(help="The tenant that gets it.")],
    mapping: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="COLUMN=FIELD", help="What a column is, where its header doesn't tell."),
    ] = None,
    delimiter: Annotated[str, typer.Option(help="What parts the cells; where it is |, nothing is quoted.")] = ",",
    header: Annotated[Path | None, typer.Option(help="The file with the header, if FILE has none.")] = None,
    encoding: Annotated[str, typer.Option(help="How the file is encoded.")] = "utf-8-sig",
) -> None:
    """Bring accounts, contacts and links into a tenant from a CSV file. What is there already stays as it is.

    Blanks around a cell don't count, and a cell with NULL is empty. A row without an address or an external id that
    several contacts or accounts match by name is refused as ambiguous.

    A row that is refused is told with its reason, and is no failure: the others are carried out, the exit code is 0.
    """
    if len(delimiter) != 1:
        raise StackError("--delimiter takes one character.")
    columns = dict(_column(each) for each in mapping or ())
    table = Table(file, mapping=columns, delimiter=delimiter, header=header, encoding=encoding)
    data = data_folder()
    running = read_json(data / "stack.json")
    if running is None:
        raise StackError(f"There is no stack in {data} yet. Run `vinculum up`, or set VINCULUM_DATA to where it is.")
    asyncio.run(_show(table, running["command"], data, tenant))


def _column(mapping: str) -> tuple[str, str]:
    column, equals, name = mapping.rpartition("=")
    if not equals:
        raise StackError(f"--map takes COLUMN=FIELD, not {mapping!r}.")
    return column, name


async def _show(table: Table, command_url: str, data: Path, tenant: str) -> None:
    console = Console(highlight=False, soft_wrap=True, markup=False)
    total = Batch()
    with Bar(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(table.path.name, total=1.0)
        async for batch in carry_out(table, command_url, data, tenant):
            for refusal in batch.refused:
                console.print(f"line {refusal.line} is refused: {refusal.reason}")
            total.add(batch)
            bar.update(task, completed=table.share_read)
            if not console.is_terminal:
                console.print(f"{total.rows:,} rows")
    console.print(str(total))


async def carry_out(table: Table, command_url: str, data: Path, tenant: str) -> AsyncIterator[Batch]:
    """Import a table, and tell of each batch what came of it."""
    token = mint(data, tenant=tenant, kind="service", sub="import", scopes=SCOPES, expires_seconds=TOKEN_SECONDS)
    headers = {"authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(base_url=command_url, headers=headers, timeout=TIMEOUT_SECONDS) as http:
        try:
            async for batch in into(http, tenant, table):
                yield batch
        except httpx2.TransportError as error:
            raise StackError(
                f"The command service at {command_url} does not answer ({type(error).__name__}). "
                "See `vinculum status`, and import the file again: it goes on where it stopped."
            ) from error


async def into(http: httpx2.AsyncClient, tenant: str, table: Table) -> AsyncIterator[Batch]:
    known = await _what_is_there(http, tenant)
    rows: Iterator[Row] = table.rows()
    while planned := _plan_batch(known, rows):
        lines = [each.line for each in planned if each.line]
        answers = await _send(http, lines) if lines else []
        batch, again = _settle(known, planned, answers)
        yield batch
        rows = chain(again, rows) if again else rows


async def _what_is_there(http: httpx2.AsyncClient, tenant: str) -> Known:
    known, looked_at, reached = Known(tenant), -1, 0
    types = ",".join(event.__name__ for event in EVENTS)
    while reached > looked_at:
        looked_at = reached
        answer = await http.get("/v1/log", params={"after": looked_at, "limit": LOG_PAGE, "types": types})
        *events, checkpoint = _lines(answer)
        for event in events:
            known.read(decode(event))
        reached = orjson.loads(checkpoint)["checkpoint"]
    if reached == 0:
        raise StackError(f"There is no tenant {tenant}.")
    return known


def _plan_batch(known: Known, rows: Iterator[Row]) -> list[Planned]:
    planned: list[Planned] = []
    size = 0
    for row in rows:
        planned.append(known.plan(row))
        size += len(planned[-1].line or b"")
        if len(planned) == BATCH_ROWS or size >= BATCH_BYTES:
            break
    return planned


async def _send(http: httpx2.AsyncClient, lines: list[bytes]) -> list[dict[str, Any]]:
    answer = await http.post("/v1/commands/batch", content=b"\n".join(lines))
    answers = [orjson.loads(line) for line in _lines(answer)]
    if len(answers) != len(lines):
        raise StackError("The command service broke off. Import the file again: it goes on where it stopped.")
    return answers


def _lines(answer: httpx2.Response) -> list[bytes]:
    if not answer.is_success:
        raise StackError(f"The command service answers {answer.status_code} to the import: {answer.text}")
    return answer.content.splitlines()


def _settle(known: Known, planned: Iterable[Planned], answers: Iterable[dict[str, Any]]) -> tuple[Batch, list[Row]]:
    """Tell what came of each row. Those that built upon one that was refused are to be planned again."""
    batch, again, answer_of = Batch(), [], iter(answers)
    lost: set[Thing] = set()
    for each in planned:
        answer = next(answer_of) if each.line else UNCHANGED
        if answer["status"] in UNABLE:
            raise StackError(f"Line {each.row.line}: {_reason(answer)}. Import the file again: it goes on from there.")
        refused = each.fault or answer["status"] >= REFUSED
        if refused:
            known.forget(each)
            lost |= each.makes
        if each.relies_on & lost:
            again.append(each.row)
            continue
        batch.rows += 1
        if refused:
            batch.refused.append(Refusal(each.row.line, each.fault or _reason(answer)))
            continue
        batch.merged += each.merged
        if answer["events"] and "replayed" not in answer:
            batch.events.update(event["type"] for event in answer["events"])
        else:
            batch.unchanged += 1
    return batch, again


def _reason(problem: dict[str, Any]) -> str:
    """Return the problem's code and what it says, of wrong fields those that are wrong."""
    errors = [f"{error['pointer']}: {error['detail']}" for error in problem.get("errors", ())]
    return f"{problem['code']}: {'; '.join(errors) or problem['detail']}"
