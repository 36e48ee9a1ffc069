"""What the routes of this service answer, for OpenAPI. The handlers write these forms straight from rows."""

from pydantic import Field, JsonValue

from vinculum_shared.contracts.tenants import Policy, Profile
from vinculum_shared.http.documented import Documented


class RecordedEvent(Documented):
    id: str
    type: str
    """The short name, for example ContactLinked."""
    position: int | None
    """Null in a dry run."""


class Warning(Documented):  # noqa: A001  the word that callers know
    """Something to know about a command that was carried out. Its facts stand beside the code."""

    code: str = Field(examples=["topic_uncovered"])


class CommandAnswer(Documented):
    id: str
    """Of what the command is about."""
    version: int
    """Of the stream that the URL names; the ETag has it too."""
    position: int | None
    """Of the last event, or of the log's end if nothing changed. Null in a dry run."""
    events: list[RecordedEvent]
    """In order. Empty if there was nothing to change."""
    warnings: list[Warning]


class BatchAnswer(Documented):
    """The answer to a line: a command's answer, or a problem. `status` says which."""

    status: int
    """The HTTP status that the command by itself would have had."""
    id: str | None = None
    version: int | None = None
    position: int | None = None
    events: list[RecordedEvent] | None = None
    warnings: list[Warning] | None = None
    replayed: bool | None = None
    type: str | None = None
    title: str | None = None
    detail: str | None = None
    code: str | None = None
    """Of the problem."""


class Because(Documented):
    """An event that decides the answer."""

    event_id: str
    type: str
    position: int
    recorded_at: str


class Access(Documented):
    allowed: bool
    state: str = Field(json_schema_extra={"enum": ["off", "invited", "active", "suspended"]})
    code: str | None = None
    """Why the contact may not enter; left out if it may."""
    because: list[Because]


class PolicyAnswer(Policy):
    """The tenant's profile, and every rule as it is in force."""

    profile: Profile


class LogPositions(Documented):
    positions: dict[str, int]
    """The last position of each tenant."""


class LogEventIds(LogPositions):
    ids: dict[str, str]
    """The id of the event at the position given for each tenant, where the log has one."""


class AcceptedInvitation(CommandAnswer):
    """The answer to an invitation that is used. Its `events` are empty if it had been used before."""

    account_id: str
    contact_id: str
    email_id: str
    state: str = Field(json_schema_extra={"enum": ["active"]})


class LogEvent(Documented):
    """A CloudEvents 1.0 event, as on the topic; or, at the end of a filtered page, `{"checkpoint": position}`."""

    specversion: str | None = None
    id: str | None = None
    source: str | None = None
    type: str | None = None
    """`vinculum.contact_linked.v1`; the schema of each type is at `/schemas/{name}`."""
    subject: str | None = None
    """The event's stream."""
    time: str | None = None
    tenant: str | None = None
    position: int | None = None
    data: dict[str, JsonValue] | None = None
    checkpoint: int | None = None
    """Up to here everything was looked at."""
