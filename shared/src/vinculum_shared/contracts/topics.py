"""What a link opens (features) and what it turns mail on for (topics); PX-6 and PX-14 have the lists."""

from typing import Final, Literal, get_args

Feature = Literal["invoices", "estimates", "contracts", "proposals", "support", "projects"]
FEATURES: Final[tuple[Feature, ...]] = get_args(Feature)

Topic = Literal["invoice", "estimate", "credit_note", "contract", "task", "project", "ticket"]
TOPICS: Final[tuple[Topic, ...]] = get_args(Topic)

FEATURE_OF: Final[dict[Topic, Feature]] = {
    "invoice": "invoices",
    "credit_note": "invoices",
    "estimate": "estimates",
    "contract": "contracts",
    "task": "projects",
    "project": "projects",
    "ticket": "support",
}
"""The feature that shows what a topic's mail is about."""
