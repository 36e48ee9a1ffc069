"""Kafka → read models."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from vinculum_projection import database
from vinculum_projection.read_models import READ_MODELS
from vinculum_projection.settings import Settings
from vinculum_shared.consuming.subscription import Subscription, subscribed
from vinculum_shared.contracts.envelope import Recorded
from vinculum_shared.contracts.events import Event
from vinculum_shared.postgres import Connection


async def consume(settings: Settings, stop: asyncio.Event) -> None:
    async with open_subscription(settings) as subscription:
        await subscription.run(stop)


@asynccontextmanager
async def open_subscription(settings: Settings) -> AsyncIterator[Subscription]:
    async with await database.consumer_pool(settings) as pool, subscribed(settings, pool, apply) as subscription:
        yield subscription


async def apply(db: Connection, events: Sequence[Recorded[Event]]) -> None:
    """Have each read model take in the events that it reads."""
    for model in READ_MODELS:
        # By identity: isinstance asks pydantic's metaclass, which takes some 20 µs an event over all types.
        read = [event for event in events if type(event.data) in model.EVENTS]
        if read:
            await model.apply(db, read)
