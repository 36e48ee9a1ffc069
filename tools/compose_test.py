"""Build the images, bring the whole system up with docker compose, take a journey through it, take it down."""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import uuid4

import httpx2

from vinculum_devstack import ports

ROOT: Final = Path(__file__).parents[1]
PROJECT: Final = "vinculum-test"
DEADLINE_SECONDS: Final = 30.0
LOOK_SECONDS: Final = 0.1

T = TypeVar("T")


def main() -> None:
    numbers = {name: ports.free() for name in ("command", "projection", "notifier", "kafka")}
    os.environ |= {ports.variable(name): str(number) for name, number in numbers.items()}
    try:
        timed("built", lambda: compose("build", "--quiet"))
        timed("up", lambda: compose("up", "--wait", "--quiet-pull"))
        timed("journey", lambda: journey(numbers["command"], numbers["projection"]))
        timed("secrets", secrets)
    except (AssertionError, httpx2.HTTPError, subprocess.CalledProcessError):
        compose("ps", "--all")
        compose("logs", "--tail", "30")
        raise
    finally:
        timed("down", lambda: compose("down", "--volumes", "--timeout", "20"))


def journey(command_port: int, projection_port: int) -> None:
    """Link a contact, invite it, see the mail, unlink it: the access is gone, and nothing of it is late."""
    tenant, admin_id = f"smoke-{uuid4().hex[:8]}", str(uuid4())
    admin = {"id": admin_id, "name": "Ada", "email": "ada@example.com"}
    registration = {"tenant": tenant, "name": "Smoke", "profile": "teamleader", "admin": admin} | {
        "portal_url": "https://portal.example.com/smoke",
        "overrides": {"access_unit": "contact"},
    }
    request(command_port, "POST", "/v1/tenants", token("--kind", "platform"), registration)

    staff = token("--tenant", tenant, "--sub", admin_id)
    account = request(command_port, "POST", "/v1/accounts", staff, {"name": "Fresh Ltd"})["id"]
    emails = [{"address": f"{tenant}@example.com", "primary": True}]
    contact = request(command_port, "POST", "/v1/contacts", staff, {"first_name": "Ana", "emails": emails})["id"]
    link = f"/v1/accounts/{account}/contacts/{contact}"
    request(command_port, "PUT", link, staff, {"role": "owner"})
    invited = request(command_port, "PUT", f"{link}/portal-access", staff, {"login": True})

    listing = f"/v1/accounts/{account}/contacts?min_position={invited['position']}"
    [listed] = request(projection_port, "GET", listing, staff)["items"]
    assert listed["contact_id"] == contact
    assert [email["access"] for email in listed["emails"]] == ["invited"]
    wait_for(lambda: mail_to(f"{tenant}@example.com"))

    unlinked = request(command_port, "DELETE", link, staff)
    access = f"/v1/access?account_id={account}&contact_id={contact}"
    assert request(command_port, "GET", access, staff)["allowed"] is False
    after = f"/v1/accounts/{account}/contacts?min_position={unlinked['position']}"
    assert request(projection_port, "GET", after, staff)["items"] == []


def secrets() -> None:
    """See that no service has the key that signs tokens, nor another one's secrets."""
    for service in ("command", "projection", "notifier", "mail-sink", "kafka", "postgres"):
        found = compose("exec", "-T", service, "sh", "-c", "cat /keys/* /secrets/* 2>&1", quiet=True, check=False)
        assert "signing_key" not in found, service
        others = {"COMMAND", "PROJECTION", "NOTIFIER"} - {service.upper()}
        assert not any(f"VINCULUM_{other}_DATABASE_URL" in found for other in others), service


def request(port: int, method: str, path: str, bearer: str, body: Any = None) -> Any:
    url = f"http://{ports.HOST}:{port}{path}"
    answer = httpx2.request(method, url, json=body, headers={"authorization": f"Bearer {bearer}"}, timeout=10.0)
    assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
    return answer.json()


def token(*options: str) -> str:
    return compose("run", "--rm", "--no-deps", "-T", "token", *options, quiet=True).strip()


def mail_to(address: str) -> bool:
    find = ["grep", "-rl", f"Delivered-To: {address}", "/mail/new"]
    return bool(compose("exec", "-T", "mail-sink", *find, quiet=True, check=False))


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(LOOK_SECONDS)


def timed(what: str, step: Callable[[], T]) -> T:
    started = time.monotonic()
    result = step()
    print(f"{what} {time.monotonic() - started:.1f} s", flush=True)
    return result


def compose(*arguments: str, quiet: bool = False, check: bool = True) -> str:
    command = ["docker", "compose", "--project-name", PROJECT, *arguments]
    output = subprocess.PIPE if quiet else None
    done = subprocess.run(command, cwd=ROOT, stdout=output, text=True, check=check)  # noqa: S603  our own
    return done.stdout or ""


if __name__ == "__main__":
    main()
