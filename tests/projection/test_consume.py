"""From the topic to an answer."""

import asyncio
from uuid import uuid4

import pytest

from support.firms import Firm
from support.projection import Projection
from support.reading import publish
from support.waiting import until
from vinculum_projection.consume import consume
from vinculum_projection.settings import Settings
from vinculum_shared.kafka import ensure_topic

pytestmark = pytest.mark.integration


async def test_what_the_topic_brings_is_in_the_answer_that_waits_for_it(
    projection: Projection, settings: Settings, kafka: str
) -> None:
    topic = f"events-{uuid4().hex}"
    await ensure_topic(kafka, topic, partitions=2, replicas=1)
    firm = Firm.registered()
    account_id, ann = firm.account("Initech"), firm.contact("Ann", "Smith", "ann@example.com")
    projection.log_server.logs["acme"] = firm.log
    token = projection.service("acme")
    stop = asyncio.Event()

    async def there() -> bool:
        return (await projection.get("/v1/freshness", token)).status_code == 200

    async with asyncio.TaskGroup() as parts:
        consuming = settings.model_copy(update={"kafka_bootstrap": kafka, "topic": topic})
        parts.create_task(consume(consuming, stop))
        await until(there)
        firm.link(account_id, ann)
        firm.access(account_id, ann, "active")
        await publish(kafka, topic, "acme", firm.log.lines)

        async def applied() -> bool:
            return bool((await projection.get("/v1/freshness", token)).json()["position"] == 7)

        await until(applied)
        answer = await projection.get(f"/v1/accounts/{account_id}/access", token, min_position=7)
        stop.set()

    assert [entry["name"] for entry in answer.json()["items"]] == ["Ann Smith"]
