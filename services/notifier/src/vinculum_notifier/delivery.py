"""From the ledger to the mail server: see whether the mail is still due, write it, hand it over, record what was said.

SMTP can't say "once": a server may accept a mail and be cut off before it is heard, or the process be killed. Such a
mail is sent again, under the same Message-ID; if it is no longer due by then, the ledger has it as `sent_unconfirmed`.
"""

import asyncio
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

import structlog

from vinculum_notifier import ledger, metrics
from vinculum_notifier.database import worker_pool
from vinculum_notifier.headers import UnsafeHeaderError
from vinculum_notifier.known import look
from vinculum_notifier.ledger import RETRY_FOR, Claimed, Turns
from vinculum_notifier.outcomes import Failure
from vinculum_notifier.rendering import message_id, render
from vinculum_notifier.routing import Notification, obstacle, readdressed
from vinculum_notifier.settings import Settings
from vinculum_notifier.smtp import MailServer, Verdict, VerdictKind
from vinculum_notifier.unsubscribe import unsubscribe_url
from vinculum_shared import telemetry
from vinculum_shared.failpoints import reach
from vinculum_shared.metrics import Lag, showing
from vinculum_shared.postgres import OUTAGE, Pool
from vinculum_shared.supervision import set_within, waiting_for, working

log = structlog.get_logger()

MAILS_AT_ONCE: Final = 16
INVITATIONS_AT_ONCE: Final = 12
"""The rest is kept for other mail, however many invitations there are."""
POLL_SECONDS: Final = 0.25
GATHER_SECONDS: Final = 0.02
"""After a mail has ended, so that one claim serves several."""
RECORD_AGAIN_SECONDS: Final = 0.5
TWIN_WAITS: Final = timedelta(seconds=1)
RETRY_FIRST: Final = timedelta(seconds=5)
RETRY_LONGEST: Final = timedelta(hours=1)

FAILURES: Final[dict[VerdictKind, Failure]] = {
    "refused": "rejected",
    "no_such_address": "address_rejected",
    "unsupported_address": "unsupported_address",
}
UNFORESEEN: Final = Verdict("error", "internal error")
UNKNOWN: Final[frozenset[VerdictKind]] = frozenset({"unclear", "error"})
"""The mail server may have taken the mail."""


@dataclass(frozen=True, slots=True)
class Written:
    """A mail with the recipient's address as it is now, and the message that goes there."""

    mail: Notification
    message: bytes


async def deliver(settings: Settings, stop: asyncio.Event) -> None:
    """Send what is due, until told to stop; mails that were begun are finished."""
    async with (
        await worker_pool(settings, MAILS_AT_ONCE) as pool,
        showing(
            Lag("vinculum_delivery_lag", "mails", "Mails that are due", partial(ledger.due, pool)),
            Lag("vinculum_delivery_queue", "mails", "Mails without an outcome", partial(ledger.queued, pool)),
        ),
    ):
        await Deliverer(pool, settings).run(stop)


class Deliverer:
    """Sends due mails, several at once. Any number of deliverers may work on one ledger."""

    def __init__(self, pool: Pool, settings: Settings) -> None:
        self.pool = pool
        self.settings = settings
        self.server = MailServer(settings.smtp_url, settings.mail_from)
        self.turns = Turns()
        self.under_way: dict[asyncio.Task[None], Claimed] = {}

    async def run(self, stop: asyncio.Event) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                stopping = group.create_task(stop.wait())
                while not stop.is_set():
                    for claimed in await self.due():
                        task = group.create_task(self.attempt(claimed))
                        self.under_way[task] = claimed
                        task.add_done_callback(self.under_way.pop)
                    ended = [stopping, *self.under_way]
                    await asyncio.wait(ended, timeout=POLL_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                    await set_within(stop, GATHER_SECONDS)
        finally:
            self.server.close()

    async def due(self) -> list[Claimed]:
        """Claim as many mails as there is room for."""
        room = MAILS_AT_ONCE - len(self.under_way)
        if not room:
            return []
        invitations = sum(claimed.mail.topic == "invitation" for claimed in self.under_way.values())
        try:
            due = await ledger.claim(self.pool, room, self.turns, INVITATIONS_AT_ONCE - invitations)
        except OUTAGE as error:
            log.warning("ledger_unavailable", reason=type(error).__name__)
            waiting_for("Postgres")
            return []
        working()
        return due

    async def attempt(self, claimed: Claimed) -> None:
        """Bring one mail a step further. What can't be recorded is due again when its lease ends."""
        with telemetry.continuing(claimed.mail.traceparent):
            try:
                await self.send(claimed, datetime.now(UTC))
            except OUTAGE as error:
                log.warning("ledger_unavailable", reason=type(error).__name__)
            except Exception:
                log.exception("attempt_not_recorded", tenant=claimed.mail.tenant, notification_id=str(claimed.mail.id))

    async def send(self, claimed: Claimed, now: datetime) -> None:
        """Send one mail. An unforeseen error is recorded like a temporary refusal: tried again, but not for ever."""
        reach("deliver.claimed")
        begun = claimed.begun()
        try:
            written = await self.write(claimed, now)
        except OUTAGE:
            raise
        except Exception as error:  # noqa: BLE001  it is logged
            await self.record(begun.cleared(), unforeseen(claimed, error), now)
            return
        if written is None:
            return
        begun, message = replace(begun, mail=written.mail), written.message
        if not await ledger.begin(self.pool, begun, message_id(begun.mail, self.settings)):
            return
        try:
            verdict = await self.server.send(begun.mail.addressee.address, message)
        except Exception as error:  # noqa: BLE001  it is logged
            verdict = unforeseen(claimed, error)
        if verdict.kind in UNKNOWN:
            metrics.NOTIFICATIONS_UNCLEAR.inc()
        else:
            begun = begun.cleared()
        await self.record(begun, verdict, now)

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
                log.warning("ledger_unavailable", reason=type(error).__name__)
            await asyncio.sleep(RECORD_AGAIN_SECONDS)

    async def write_down(self, claimed: Claimed, verdict: Verdict, now: datetime) -> None:
        mail = claimed.mail
        if verdict.kind == "accepted":
            await ledger.settle(self.pool, claimed, "sent", mail.reason, verdict)
        elif reason := FAILURES.get(verdict.kind):
            if reason == "address_rejected":
                await ledger.suppress(self.pool, mail.tenant, mail.addressee.address_hash, verdict.reply)
            await ledger.settle(self.pool, claimed, "failed", reason, verdict)
        elif now - claimed.made_at > RETRY_FOR:
            exhausted: Failure = "internal_error" if verdict == UNFORESEEN else "retries_exhausted"
            await ledger.settle(self.pool, claimed, "failed", exhausted, verdict)
        else:
            delay = retry_delay(claimed.attempts) * random.uniform(0.5, 1.0)  # noqa: S311  spreads load, keeps no secret
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
    yield f"account/{mail.account_id}"
    yield f"contact/{mail.addressee.contact_id}"
    yield f"link/{mail.account_id}/{mail.addressee.contact_id}"
    if mail.record_id:
        yield f"record/{mail.record_id}"
