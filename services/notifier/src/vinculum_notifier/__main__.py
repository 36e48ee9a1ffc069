"""`python -m vinculum_notifier [run|serve|consume|deliver|migrate|rebuild]`."""

import asyncio
from functools import partial

from vinculum_notifier import announcing, database, delivery
from vinculum_notifier.app import create_app
from vinculum_notifier.consume import consume
from vinculum_notifier.rebuild import rebuild
from vinculum_notifier.settings import Settings
from vinculum_shared import lifecycle
from vinculum_shared.supervision import set_within, supervise


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    await lifecycle.serve_http(create_app(settings), settings, stop)


async def deliver(settings: Settings, stop: asyncio.Event) -> None:
    """Send whatever leaves the service: mails, and what the command service is told."""
    async with asyncio.TaskGroup() as group:
        group.create_task(supervise("mails", partial(delivery.deliver, settings), stop))
        group.create_task(supervise(announcing.PART, partial(announcing.announce, settings), stop))
        await set_within(stop)


if __name__ == "__main__":
    parts = {"serve": serve, "consume": consume, "deliver": deliver}
    lifecycle.main(Settings, parts=parts, tasks={"migrate": database.create, "rebuild": rebuild})
