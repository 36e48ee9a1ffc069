"""`python -m vinculum_notifier [run|serve|consume|deliver|migrate]`."""

import asyncio

from vinculum_notifier import database, delivery, unsubscribe
from vinculum_notifier.app import create_app
from vinculum_notifier.consume import consume
from vinculum_notifier.settings import Settings
from vinculum_shared import lifecycle


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    await lifecycle.serve_http(create_app(settings), settings, stop)


async def deliver(settings: Settings, stop: asyncio.Event) -> None:
    """Send whatever leaves the service: mails, and the wishes of those who have had enough of them."""
    async with asyncio.TaskGroup() as group:
        group.create_task(delivery.deliver(settings, stop))
        group.create_task(unsubscribe.announce(settings, stop))


if __name__ == "__main__":
    parts = {"serve": serve, "consume": consume, "deliver": deliver}
    lifecycle.main(Settings, parts=parts, tasks={"migrate": database.create})
