"""What every answer of a service keeps to."""

import re
from typing import Final

import httpx2

from support import openapi

TIME: Final = re.compile(r'"\d{4}-\d\d-\d\dT\d\d:[^"]*"')


def checked(service: str, answer: httpx2.Response) -> httpx2.Response:
    """Return the answer, which is as the service's document says, and whose times end in Z."""
    openapi.check(service, answer)
    if "json" in answer.headers.get("content-type", ""):
        assert [time for time in TIME.findall(answer.text) if not time.endswith('Z"')] == [], answer.text
    return answer
