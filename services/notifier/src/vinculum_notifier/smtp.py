"""The mail server, and what it says to a mail.

One message to one recipient at a time over each connection. An attempt ends within CONNECT, ENVELOPE and DATA seconds
together, whatever the server does.
"""

import asyncio
import re
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import unquote, urlsplit

import aiosmtplib
from aiosmtplib import SMTPException, SMTPResponseException
from pydantic import SecretStr

from vinculum_shared.failpoints import reach

CONNECT_SECONDS: Final = 15.0
ENVELOPE_SECONDS: Final = 10.0
DATA_SECONDS: Final = 30.0
CLOSING: Final = 421
PERMANENT: Final = 500
OURS_TO_MEND: Final = (530, 534, 535, 538)  # RFC 4954: the server wants another login, whoever the recipient is

# RFC 3463, 5.1.x: the address is at fault. 5.1.7 and 5.1.8 mean the sender's.
NO_SUCH_ADDRESS: Final = re.compile(r"5\.1\.(?!7\b|8\b)\d+")
ENHANCED_STATUS: Final = re.compile(r"[245]\.\d{1,3}\.\d{1,3}\b")


VerdictKind = Literal["accepted", "refused", "no_such_address", "unsupported_address", "deferred", "unclear", "error"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a mail. `reply` holds codes alone: servers put addresses into their texts."""

    kind: VerdictKind
    reply: str


class MailServer:
    def __init__(self, url: SecretStr, sender: str) -> None:
        self._url = urlsplit(url.get_secret_value())
        self._sender = sender
        self._idle: list[aiosmtplib.SMTP] = []

    async def send(self, to: str, message: bytes) -> Verdict:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                connection = await self._connected()
        except (SMTPException, OSError) as error:
            return Verdict("deferred", told(error))
        reusable = False
        try:
            verdict = await hand_over(connection, self._sender, to, message)
            reusable = verdict.kind == "accepted"
        finally:
            if reusable:
                self._idle.append(connection)
            else:
                connection.close()
        return verdict

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    async def _connected(self) -> aiosmtplib.SMTP:
        """Return a connection that works: servers close those that were idle for long."""
        while self._idle:
            connection = self._idle.pop()
            try:
                await connection.noop()
            except (SMTPException, OSError):
                connection.close()
            except asyncio.CancelledError:  # its time is up
                connection.close()
                raise
            else:
                return connection
        connection = aiosmtplib.SMTP(
            hostname=self._url.hostname,
            port=self._url.port,
            username=unquote(self._url.username) if self._url.username else None,
            password=unquote(self._url.password) if self._url.password else None,
            use_tls=self._url.scheme == "smtps",
            timeout=CONNECT_SECONDS,
        )
        await connection.connect()
        return connection


async def hand_over(connection: aiosmtplib.SMTP, sender: str, to: str, message: bytes) -> Verdict:
    utf8 = () if to.isascii() else ("SMTPUTF8",)
    if utf8 and not connection.supports_extension("SMTPUTF8"):
        return Verdict("unsupported_address", "SMTPUTF8")
    sender_taken = False
    try:
        async with asyncio.timeout(ENVELOPE_SECONDS):
            await connection.mail(sender, options=utf8, encoding="utf-8")
            sender_taken = True
            await connection.rcpt(to, encoding="utf-8")
    except SMTPResponseException as error:
        return answered(error) if sender_taken else Verdict("deferred", told(error))
    except (SMTPException, OSError) as error:
        return Verdict("deferred", told(error))
    try:
        async with asyncio.timeout(DATA_SECONDS):
            answer = await connection.data(message)
    except SMTPResponseException as error:
        return Verdict("unclear", told(error)) if error.code == CLOSING else answered(error)
    except (SMTPException, OSError) as error:
        return Verdict("unclear", told(error))
    reach("deliver.accepted")
    return Verdict("accepted", codes(answer.code, answer.message))


def answered(error: SMTPResponseException) -> Verdict:
    reply = told(error)
    if error.code < PERMANENT or error.code in OURS_TO_MEND:
        return Verdict("deferred", reply)
    return Verdict("no_such_address" if NO_SUCH_ADDRESS.search(reply) else "refused", reply)


def told(error: Exception) -> str:
    return codes(error.code, error.message) if isinstance(error, SMTPResponseException) else "no answer"


def codes(code: int, text: str) -> str:
    enhanced = ENHANCED_STATUS.match(text)
    return f"{code} {enhanced.group()}" if enhanced else str(code)
