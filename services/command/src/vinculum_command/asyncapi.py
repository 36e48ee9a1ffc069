"""The AsyncAPI document of the topic: what is on it, under which key, in which form. It is self-contained."""

import json
from importlib.metadata import version
from importlib.resources import files
from typing import Any, Final

from vinculum_command.settings import Settings
from vinculum_shared.contracts.catalogue import EVENT_TYPES
from vinculum_shared.contracts.envelope import CONTENT_TYPE, long_type
from vinculum_shared.contracts.events import Event
from vinculum_shared.contracts.schemas import Schema, any_event, file_name
from vinculum_shared.contracts.values import TENANT_ID
from vinculum_shared.kafka import MESSAGE_BYTES_MAX, RETENTION_MS
from vinculum_shared.settings import TOPIC

PARTITIONS: Final = Settings.model_fields["topic_partitions"].default
BINDING_VERSION: Final = "0.5.0"

DESCRIPTION: Final = """Everything that happens in Vinculum, as it was committed.

Each record is a CloudEvents 1.0 event in structured mode. Its key is the tenant, so a tenant's events are in order, in
one partition. `position` numbers them without holes: a reader that keeps the last one per tenant drops what it has seen
and knows when something is missing, which `GET /v1/log` of the command service then gives. The events of one command
are adjacent (`commitindex`, `commitsize`) and belong together. A type that is unknown to a reader is passed over; its
position counts.

Batches are compressed with zstd, which the broker leaves as they are: a client has to be able to read that."""


def document() -> Schema:
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Vinculum: events",
            "version": version("vinculum-shared"),
            "description": DESCRIPTION,
            "license": {"name": "Apache 2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
            "tags": [{"name": "events"}],
        },
        "defaultContentType": CONTENT_TYPE,
        "servers": {
            "secured": {
                "host": "{bootstrap}",
                "protocol": "kafka-secure",
                "description": "A cluster as it is run: TLS, and a SASL/SCRAM user who may read the topic.",
                "variables": {"bootstrap": {"default": "kafka:9093", "description": "A broker, host:port."}},
                "security": [{"$ref": "#/components/securitySchemes/scram"}],
            },
            "local": {
                "host": "127.0.0.1:{port}",
                "protocol": "kafka",
                "description": "What `make run` starts; `vinculum status` prints the address.",
                "variables": {"port": {"default": "9092"}},
            },
        },
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
            "schemas": payloads(),
            "securitySchemes": {"scram": {"type": "scramSha512", "description": "The user needs no right to write."}},
        },
    }


def channel() -> Schema:
    return {
        "address": TOPIC,
        "title": "The events of all tenants",
        "servers": [{"$ref": "#/servers/secured"}, {"$ref": "#/servers/local"}],
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


def message(event_type: type[Event]) -> Schema:
    return {
        "name": long_type(event_type),
        "title": event_type.__name__,
        "summary": event_type.__doc__,
        "traits": [{"$ref": "#/components/messageTraits/event"}],
        "payload": {"$ref": f"#/components/schemas/{event_type.__name__}"},
        "examples": [{"name": event_type.__name__, "payload": sample(event_type)}],
    }


def sample(event_type: type[Event]) -> Any:
    """Return the golden sample. It was recorded when UTC was written as +00:00."""
    file = files("vinculum_shared.contracts").joinpath("samples", f"{file_name(event_type)}.json")
    return json.loads(file.read_text("utf-8").replace("+00:00", "Z"))


def payloads() -> dict[str, Schema]:
    """Return the schemas of all types, and their union, with references as this document has them."""
    union = any_event()
    schemas = union.pop("$defs") | {"AnyEvent": {key: union[key] for key in ("title", "description", "oneOf")}}
    here: dict[str, Schema] = json.loads(json.dumps(schemas).replace("#/$defs/", "#/components/schemas/"))
    return here


def trait() -> Schema:
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
