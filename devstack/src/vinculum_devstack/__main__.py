"""The `vinculum` command: the local stack, its state, and tokens for it."""

import asyncio
import json
import os
import shlex
import signal
import sys
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from vinculum_devstack import stack
from vinculum_devstack.folder import OWNERS_ALONE, data_folder
from vinculum_devstack.importing import import_file
from vinculum_devstack.problems import StackError
from vinculum_devstack.progress import Progress
from vinculum_devstack.tokens import EXPIRES_SECONDS, Kind, mint

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
console = Console(highlight=False, soft_wrap=True)


def main() -> None:
    os.umask(OWNERS_ALONE)
    try:
        app()
    except StackError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"[red]{escape(str(error))}[/]")
        sys.exit(1)


@app.command()
def up(
    *,
    detach: Annotated[bool, typer.Option("--detach", help="Return when it is ready, and leave it running.")] = False,
    samples: Annotated[bool, typer.Option("--samples", help="Give the demo tenants something to show.")] = False,
) -> None:
    """Start Postgres, Kafka, the mail sink and the three services. Ctrl-C stops them all.

    What ends by itself is restarted, after 1, 2, 4 and 8 seconds. A part that has ended five times in a row within a
    minute of its start is left alone: the last lines of its log are shown, and the others go on. With --detach, this is
    written to logs/watcher.log in the data folder.
    """
    with suppress(asyncio.CancelledError):
        asyncio.run(_interruptible(_up(data_folder(), detach=detach, samples=samples)))


async def _up(data: Path, *, detach: bool, samples: bool) -> None:
    with console.status("") as status:
        await stack.up(data, Progress(console, status), detach=detach, samples=samples)
    _welcome(await stack.status(data))
    if detach:
        return
    console.print("\nCtrl-C stops it all.")
    try:
        await stack.watch(data, console)
    except asyncio.CancelledError:
        with console.status("stopping"):
            await stack.down(data)
        raise


async def _interruptible(work: Coroutine[Any, Any, None]) -> None:
    """Let the first Ctrl-C end what is going on, in order; more of them change nothing."""
    task = asyncio.create_task(work)
    for received in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(received, lambda: task.cancelling() or task.cancel())
    await task


def _welcome(running: dict[str, Any]) -> None:
    command, projection, vinculum = running["command"], running["projection"], sys.argv[0]
    console.print(
        f"""
command     {command}/docs
projection  {projection}/docs
notifier    {running["notifier"]}/docs
Kafka       {running["kafka"]}, topic {running["topic"]}
mail        {running["maildir"]}

A token, and three requests to try:

  TOKEN=$({vinculum} token --tenant teamleader)
  curl -H "Authorization: Bearer $TOKEN" '{projection}/v1/accounts?limit=3'
  curl -H "Authorization: Bearer $TOKEN" -d '{{"name": "Fresh Ltd"}}' {command}/v1/accounts
  curl -H "Authorization: Bearer $TOKEN" '{command}/v1/log?limit=3'""",
        markup=False,
    )


@app.command()
def down() -> None:
    """Stop everything that `up` started. The data stays."""
    with console.status("stopping"):
        asyncio.run(stack.down(data_folder()))


@app.command(hidden=True)
def watch() -> None:
    """Restart what ends by itself: a part of every stack that was started with --detach."""
    asyncio.run(stack.watch(data_folder(), console))


@app.command()
def status(*, as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False) -> None:
    """Tell whether it runs, and where."""
    found = asyncio.run(stack.status(data_folder()))
    if as_json:
        typer.echo(json.dumps(found))
    else:
        metrics = found.pop("metrics", None) or {}
        for name, value in [*found.items(), *((f"{service} metrics", url) for service, url in metrics.items())]:
            typer.echo(f"{name:<18} {value or '-'}")
        for name, log in stack.ended(data_folder()).items():
            typer.echo(f"{name} has ended. Its log is {log}; `vinculum up` starts it again.")


@app.command()
def env() -> None:
    """Print settings for a shell, passwords and keys among them: eval "$(vinculum env)".

    `python -m vinculum_projection rebuild`, and pg_dump or psql as the admin, then run against this stack.
    """
    for name, value in stack.settings(data_folder()).items():
        typer.echo(f"export {name}={shlex.quote(value)}")
    typer.echo(f'export PATH={shlex.quote(os.pathsep.join(map(str, stack.TOOLS)))}:"$PATH"')


@app.command()
def token(
    *,
    tenant: Annotated[str | None, typer.Option(help="Its tenant; a platform token needs none.")] = None,
    kind: Annotated[Kind, typer.Option(help="What sort of principal it speaks for.")] = "staff",
    role: Annotated[list[str] | None, typer.Option(help="A role of staff; admin, unless said.")] = None,
    scope: Annotated[list[str] | None, typer.Option(help="A scope of a service.")] = None,
    sub: Annotated[str | None, typer.Option(help="Whose it is; the tenant's first admin, unless said.")] = None,
    email_id: Annotated[str | None, typer.Option(help="The address that a contact came in with.")] = None,
    expires: Annotated[int, typer.Option(help="Seconds from now; below 0, it has expired.")] = EXPIRES_SECONDS,
    claims: Annotated[str, typer.Option(help="JSON of claims that replace any other; null takes one out.")] = "{}",
) -> None:
    """Print a token for the local stack."""
    try:
        overrides = json.loads(claims)
    except json.JSONDecodeError as error:
        raise StackError(f"--claims is not JSON: {error}") from error
    typer.echo(
        mint(
            data_folder(),
            tenant=tenant,
            kind=kind,
            roles=role or (),
            scopes=scope or (),
            sub=sub,
            email_id=email_id,
            expires_seconds=expires,
            claims=overrides,
        )
    )


app.command("import")(import_file)


if __name__ == "__main__":
    main()
