"""The AsyncAPI document of the topic: what is on it, under which key, in which form."""

from importlib.metadata import version
from typing import Any, Final

from reference.schemas import file_name
from vinculum_command.settings import Settings
from vinculum_shared.contracts.catalogue import EVENT_TYPES
from vinculum_shared.contracts.envelope import CONTENT_TYPE, long_type
from vinculum_shared.contracts.events import Event
from vinculum_shared.contracts.values import TENANT_ID
from vinculum_shared.kafka import MESSAGE_BYTES_MAX, RETENTION_MS
from vinculum_shared.settings import TOPIC

PARTITIONS: Final = Settings.model_fields["topic_partitions"].default
SCHEMA_FORMAT: Final = "application/schema+json;version=draft-2020-12"
BINDING_VERSION: Final = "0.5.0"

DESCRIPTION: Final = """Everything that happens in Vinculum, as it was committed.

Each record is a CloudEvents 1.0 event in structured mode. Its key is the tenant, so a tenant's events are in order, in
one partition. `position` numbers them without holes: a reader that keeps the last one per tenant drops what it has seen
and knows when something is missing, which `GET /v1/log` of the command service then gives. The events of one command
are adjacent (`commitindex`, `commitsize`) and belong together. A type that is unknown to a reader is passed over; its
position counts."""


def document() -> dict[str, Any]:
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Vinculum: events",
            "version": version("vinculum-shared"),
            "description": DESCRIPTION,
        },
        "defaultContentType": CONTENT_TYPE,
        "channels": {"events": channel()},
        "operations": {
            "relay": {
                "action": "send",
                "channel": {"$ref": "#/channels/events"},
                "summary": "The command service's relay puts every committed event on the topic, at least once.",
            }
        },
        "components": {
            "messages": {name: message(event_type) for name, event_type in EVENT_TYPES.items()},
            "messageTraits": {"event": trait()},
        },
    }


def channel() -> dict[str, Any]:
    return {
        "address": TOPIC,
        "title": "The events of all tenants",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in EVENT_TYPES},
        "bindings": {
            "kafka": {
                "topic": TOPIC,
                "partitions": PARTITIONS,
                "topicConfiguration": {
                    "cleanup.policy": ["delete"],
                    "retention.ms": RETENTION_MS,
                    "max.message.bytes": MESSAGE_BYTES_MAX,
                },
                "bindingVersion": BINDING_VERSION,
            }
        },
    }


def message(event_type: type[Event]) -> dict[str, Any]:
    return {
        "name": long_type(event_type),
        "title": event_type.__name__,
        "summary": event_type.__doc__,
        "traits": [{"$ref": "#/components/messageTraits/event"}],
        "payload": {"schemaFormat": SCHEMA_FORMAT, "schema": {"$ref": f"schemas/{file_name(event_type)}.json"}},
    }


def trait() -> dict[str, Any]:
    return {
        "contentType": CONTENT_TYPE,
        "headers": {
            "type": "object",
            "required": ["content-type"],
            "properties": {"content-type": {"type": "string", "const": CONTENT_TYPE}},
        },
        "correlationId": {"location": "$message.payload#/correlationid"},
        "bindings": {
            "kafka": {
                "key": {"type": "string", "pattern": f"^{TENANT_ID}$", "description": "The tenant."},
                "bindingVersion": BINDING_VERSION,
            }
        },
    }
