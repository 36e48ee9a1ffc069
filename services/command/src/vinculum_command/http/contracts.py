"""The contracts of the events, served beside the log: AsyncAPI and JSON Schema. They are public, as OpenAPI is."""

from functools import cache

import orjson
from fastapi import APIRouter
from fastapi.responses import Response

from vinculum_command import asyncapi
from vinculum_shared.contracts import schemas
from vinculum_shared.http.openapi import PUBLIC, raises
from vinculum_shared.problems import NotFound

router = APIRouter(tags=["contracts"])


class SchemaNotFound(NotFound):
    """There is no such schema.

    Name a type of event and its version, for example contact_linked.v1.
    """


@router.get("/asyncapi.json", openapi_extra=PUBLIC)
async def get_asyncapi() -> Response:
    """Describe the topic in AsyncAPI 3: its servers, messages and their schemas."""
    return Response(asyncapi_document(), media_type="application/json")


@router.get("/schemas/{name}", openapi_extra=PUBLIC | raises(SchemaNotFound))
async def get_schema(name: str) -> Response:
    """Return the JSON Schema of a type (`contact_linked.v1`), of what all share (`envelope.v1`), or of `any_event`."""
    found = all_schemas().get(name.removesuffix(".json"))
    if found is None:
        raise SchemaNotFound(f"The schemas are {', '.join(all_schemas())}.", name=name)
    return Response(found, media_type="application/schema+json")


@cache
def asyncapi_document() -> bytes:
    return orjson.dumps(asyncapi.document())


@cache
def all_schemas() -> dict[str, bytes]:
    return {name: orjson.dumps(schema) for name, schema in schemas.schemas().items()}
