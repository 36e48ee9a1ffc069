"""From the ledger to the mail server: see whether the mail is still due, write it, hand it over, record what was said.

Whether it is due is decided on what holds now: a claimed mail waits until its tenant's log has been read to the end.

SMTP can't say "once": a server may accept a mail and be cut off before it is heard, or the process be killed. Such a
mail is sent again, under the same Message-ID; if it is no longer due by then, the ledger has it as `sent_unconfirmed`.
"""

import asyncio
import random
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from math import inf
from time import monotonic
from typing import Final

import httpx2
import structlog

from vinculum_notifier import ledger, metrics
from vinculum_notifier.database import worker_pool
from vinculum_notifier.headers import UnsafeHeaderError, addr_spec
from vinculum_notifier.known import around, look
from vinculum_notifier.ledger import RETRY_FOR, Claimed, Turns
from vinculum_notifier.outcomes import Failure
from vinculum_notifier.rendering import message_id, render
from vinculum_notifier.routing import Notification, obstacle, readdressed
from vinculum_notifier.settings import Settings
from vinculum_notifier.smtp import MailServer, Verdict, VerdictKind
from vinculum_notifier.suppression import suppress
from vinculum_notifier.unsubscribe import unsubscribe_url
from vinculum_shared import telemetry
from vinculum_shared.consuming.event_log import LOG, EventLog, open_log
from vinculum_shared.contracts.events import RecordEvent
from vinculum_shared.failpoints import reach
from vinculum_shared.metrics import Lag, showing
from vinculum_shared.postgres import OUTAGE, Pool
from vinculum_shared.supervision import set_within, waiting_for, working
from vinculum_shared.token_file import TokenFile, lacking

log = structlog.get_logger()

MAILS_AT_ONCE: Final = 16
INVITATIONS_AT_ONCE: Final = 12
"""The rest is kept for other mail, however many invitations there are."""
POLL_SECONDS: Final = 0.25
GATHER_SECONDS: Final = 0.02
"""After a mail has ended, so that one claim serves several."""
ASK_SECONDS: Final = 5.0
CATCH_UP_SECONDS: Final = 2.0
"""How long a claimed mail waits for the reader, once it is known how far the log goes."""
CATCH_UP_POLL_SECONDS: Final = 0.05
RECORD_AGAIN_SECONDS: Final = 0.5
READER_WAITS: Final = timedelta(seconds=2)
TWIN_WAITS: Final = timedelta(seconds=1)
RETRY_FIRST: Final = timedelta(seconds=5)
RETRY_LONGEST: Final = timedelta(hours=1)

FAILURES: Final[dict[VerdictKind, Failure]] = {
    "refused": "rejected",
    "no_such_address": "address_rejected",
    "unsupported_address": "unsupported_address",
}
UNFORESEEN: Final = Verdict("error", "internal error")


@dataclass(frozen=True, slots=True)
class Written:
    """A mail with the recipient's address as it is now, and the message that goes there."""

    mail: Notification
    message: bytes


async def deliver(settings: Settings, stop: asyncio.Event) -> None:
    """Send what is due, until told to stop; mails that were begun are finished."""
    async with (
        await worker_pool(settings, MAILS_AT_ONCE) as pool,
        open_log(settings.command_url, TokenFile(settings.service_token_file)) as event_log,
        showing(
            Lag("vinculum_delivery_lag", "mails", "Mails that are due", partial(ledger.due, pool)),
            Lag("vinculum_delivery_queue", "mails", "Mails without an outcome", partial(ledger.queued, pool)),
        ),
    ):
        await Deliverer(pool, event_log, settings).run(stop)


class Deliverer:
    """Sends due mails, several at once. Any number of deliverers may work on one ledger."""

    def __init__(self, pool: Pool, event_log: EventLog, settings: Settings) -> None:
        self.pool = pool
        self.event_log = event_log
        self.settings = settings
        self.server = MailServer(settings.smtp_url, settings.mail_from)
        self.turns = Turns()
        self.under_way: dict[asyncio.Task[None], Claimed] = {}

    async def run(self, stop: asyncio.Event) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                stopping = group.create_task(stop.wait())
                while not stop.is_set():
                    for claimed, end in await self.due():
                        task = group.create_task(self.attempt(claimed, end))
                        self.under_way[task] = claimed
                        task.add_done_callback(self.under_way.pop)
                    ended = [stopping, *self.under_way]
                    await asyncio.wait(ended, timeout=POLL_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                    await set_within(stop, GATHER_SECONDS)
        finally:
            self.server.close()

    async def due(self) -> list[tuple[Claimed, float]]:
        """Claim as many mails as there is room for; each with how far the log has to be read before it may go out."""
        room = MAILS_AT_ONCE - len(self.under_way)
        if not room:
            return []
        invitations = sum(claimed.mail.topic == "invitation" for claimed in self.under_way.values())
        try:
            due = await ledger.claim(self.pool, room, self.turns, INVITATIONS_AT_ONCE - invitations)
            unread = await self.unread({claimed.mail.tenant for claimed in due})
        except OUTAGE as error:
            log.info("ledger_unavailable", reason=type(error).__name__)
            waiting_for("Postgres")
            return []
        return [(claimed, unread.get(claimed.mail.tenant, 0)) for claimed in due]

    async def unread(self, tenants: Collection[str]) -> dict[str, float]:
        """Return where the logs end that have not been read to their ends. An end that isn't known is never reached."""
        try:
            async with asyncio.timeout(ASK_SECONDS):
                found = await self.event_log.look_up(dict.fromkeys(tenants, 0))
        except (httpx2.HTTPError, TimeoutError) as error:
            log.info("log_unavailable", reason=type(error).__name__)
            waiting_for(lacking(error, LOG))
            return dict.fromkeys(tenants, inf)
        working()
        read = await ledger.positions(self.pool, tenants) if tenants else {}
        return {tenant: each.end for tenant, each in found.items() if each.end > read.get(tenant, 0)}

    async def attempt(self, claimed: Claimed, end: float) -> None:
        """Bring one mail a step further. What can't be recorded is due again when its lease ends."""
        with telemetry.continuing(claimed.mail.traceparent):
            reach("deliver.claimed")
            try:
                if await self.is_read(claimed.mail.tenant, end):
                    await self.send(claimed, datetime.now(UTC))
                else:
                    await ledger.postpone(self.pool, claimed, READER_WAITS, "reader")
            except OUTAGE as error:
                log.info("ledger_unavailable", reason=type(error).__name__)
            except Exception:
                log.exception("attempt_not_recorded", tenant=claimed.mail.tenant, notification_id=str(claimed.mail.id))

    async def is_read(self, tenant: str, end: float) -> bool:
        """Wait for the reader, but not for long: other mails need the place."""
        deadline = monotonic() + CATCH_UP_SECONDS
        while end and (await ledger.positions(self.pool, [tenant])).get(tenant, 0) < end:
            if monotonic() > deadline:
                return False
            await asyncio.sleep(CATCH_UP_POLL_SECONDS)
        return True

    async def send(self, claimed: Claimed, now: datetime) -> None:
        """Send one mail. An unforeseen error is recorded like a temporary refusal: tried again, but not for ever."""
        attempt = claimed.begun().cleared()
        try:
            written = await self.write(claimed, now)
            if written is None:
                return
            begun = replace(claimed.begun(), mail=written.mail)
            if not await ledger.begin(self.pool, begun, message_id(begun.mail, self.settings)):
                return
            attempt = begun
            verdict = await self.server.send(addr_spec(begun.mail.addressee.address), written.message)
            if verdict.kind != "unclear":
                attempt = begun.cleared()
        except OUTAGE:
            raise
        except Exception as error:  # noqa: BLE001  it is logged
            verdict = unforeseen(claimed, error)
        if attempt.unclear > claimed.unclear:
            metrics.NOTIFICATIONS_UNCLEAR.inc()
        await self.record(attempt, verdict, now)

    async def write(self, claimed: Claimed, now: datetime) -> Written | None:
        """Return the mail, ready to be sent. None: it is not to be sent, or not now, and the ledger says why."""
        known = await look(self.pool, claimed.mail.tenant, *streams(claimed.mail))
        mail = readdressed(claimed.mail, known)
        standing = await ledger.standing(self.pool, mail)
        reason = obstacle(
            mail,
            known,
            suppressed=standing.suppressed,
            unsubscribed=standing.unsubscribed,
            sent_there=standing.twin == "sent",
            now=now,
        )
        if reason:
            await ledger.settle(self.pool, claimed, "skipped", reason)
            return None
        if standing.twin:
            await ledger.postpone(self.pool, claimed, TWIN_WAITS, "same_address")
            return None
        try:
            message = render(mail, known, self.settings, unsubscribe_url=unsubscribe_url(mail, self.settings), now=now)
        except UnsafeHeaderError:
            await ledger.settle(self.pool, claimed, "failed", "unsafe_header")
            return None
        return Written(mail, message)

    async def record(self, claimed: Claimed, verdict: Verdict, now: datetime) -> None:
        """Tell the ledger, through an outage too, for as long as the lease lasts: what it isn't told goes out again."""
        while True:
            try:
                return await self.write_down(claimed, verdict, now)
            except OUTAGE as error:
                if datetime.now(UTC) > now + ledger.LEASE:
                    raise
                log.info("ledger_unavailable", reason=type(error).__name__)
            await asyncio.sleep(RECORD_AGAIN_SECONDS)

    async def write_down(self, claimed: Claimed, verdict: Verdict, now: datetime) -> None:
        mail = claimed.mail
        if verdict.kind == "accepted":
            await ledger.settle(self.pool, claimed, "sent", mail.reason, verdict)
        elif reason := FAILURES.get(verdict.kind):
            if reason == "address_rejected":
                await suppress(self.pool, mail.tenant, mail.addressee, verdict.reply)
            await ledger.settle(self.pool, claimed, "failed", reason, verdict)
        elif now - claimed.made_at > RETRY_FOR:
            exhausted: Failure = "internal_error" if verdict == UNFORESEEN else "retries_exhausted"
            await ledger.settle(self.pool, claimed, "failed", exhausted, verdict)
        else:
            delay = retry_delay(claimed.attempts) * random.uniform(0.5, 1.0)  # noqa: S311  spreads load, keeps no secret
            log.warning("mail_put_off", tenant=mail.tenant, notification_id=str(mail.id), code=verdict.reply)
            await ledger.postpone(self.pool, claimed, delay, "mail_server", verdict)


def unforeseen(claimed: Claimed, error: Exception) -> Verdict:
    """Log and count an error that nobody foresaw."""
    mail = claimed.mail
    log.error("attempt_failed", tenant=mail.tenant, notification_id=str(mail.id), exc_info=error)
    metrics.NOTIFICATION_ERRORS.inc()
    return UNFORESEEN


def retry_delay(attempts: int) -> timedelta:
    """Say how long to wait, at most, after so many attempts."""
    return min(RETRY_FIRST * (1 << min(attempts - 1, 16)), RETRY_LONGEST)


def streams(mail: Notification) -> Iterator[str]:
    """Name what has to be known to send the mail."""
    yield from around(mail.account_id, mail.addressee.contact_id)
    if mail.record_id:
        yield RecordEvent.stream_of(record_id=mail.record_id)
