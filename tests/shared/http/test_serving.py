"""What all services have in common over HTTP."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import repeat
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import APIRouter, Depends, FastAPI, Header, Request
from prometheus_client import generate_latest
from pydantic import BaseModel, ConfigDict
from starlette.responses import HTMLResponse, StreamingResponse

from support.http_server import served
from vinculum_shared import telemetry
from vinculum_shared.http import requests, serving
from vinculum_shared.http.openapi import OpenApi
from vinculum_shared.http.principals import Principal, bearer
from vinculum_shared.problems import Conflict, Forbidden, TooMany

pytestmark = pytest.mark.unit

router = APIRouter(prefix="/v1")


class LastContact(Conflict):
    """The account would be left without a contact."""


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")

    count: int


@router.get("/things/{thing_id}")
async def thing(thing_id: int, limit: int = 1) -> dict[str, int]:
    """One thing."""
    return {"id": thing_id, "limit": limit}


@router.delete("/things/{thing_id}")
async def remove(thing_id: int) -> None:
    """Nothing is removed."""


@router.get("/page", response_class=HTMLResponse)
async def page() -> str:
    return "<p>A page"


@router.get("/endless")
async def endless() -> StreamingResponse:
    async def lines() -> AsyncIterator[bytes]:
        for line in repeat(b"more\n"):
            yield line

    return StreamingResponse(lines())


async def nobody() -> None:
    raise Forbidden


@router.get("/forbidden", dependencies=[Depends(nobody)])
async def forbidden() -> None:
    """For nobody."""


@router.get("/versions")
async def version(if_version: Annotated[int, Header()]) -> int:
    return if_version


@router.post("/things")
async def make(body: Body) -> Body:
    return body


@router.post("/raw")
async def raw(request: Request) -> dict[str, Any]:
    return Body.model_validate(await requests.json_object(request)).model_dump()


@router.post("/large")
async def large(request: Request) -> int:
    return len(await request.body())


@router.get("/refused")
async def refused() -> None:
    raise LastContact(account_id="a1")


@router.get("/busy")
async def busy() -> None:
    raise TooMany(retry_after=3)


@router.get("/broken")
async def broken() -> None:
    raise ValueError("Mario Rossi")


@router.get("/cut")
async def cut() -> StreamingResponse:
    async def lines() -> AsyncIterator[bytes]:
        yield b"one\n"
        raise ValueError("Mario Rossi")

    return StreamingResponse(lines())


@router.get("/trace")
async def trace() -> str | None:
    return telemetry.traceparent.get()


@router.get("/me")
async def me(principal: Annotated[Principal, Depends(bearer)]) -> Principal:
    return principal


async def postgres_is_there(request: Request) -> None:
    if request.state.broken:
        raise ConnectionError


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
    yield {"broken": True}


@pytest.fixture(scope="module")
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    app = serving.create_app(
        title="Things",
        version="1",
        lifespan=lifespan,
        routers=[router],
        checks={"postgres": postgres_is_there},
        openapi=OpenApi("Things, for tests."),
        larger_bodies={"/v1/large": 2 * serving.BODY_BYTES_MAX},
    )
    async with served(app, lifespan="on") as url, httpx2.AsyncClient(base_url=url) as http:
        yield http


def code(answer: httpx2.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == answer.status_code
    assert {"type", "title", "detail"} < body.keys()
    return answer.status_code, body["code"]


async def test_a_rejection_is_answered_with_its_facts(http: httpx2.AsyncClient) -> None:
    answer = await http.get("/v1/refused")
    assert code(answer) == (409, "last_contact")
    assert answer.json()["account_id"] == "a1"


async def test_what_can_be_tried_again_says_when(http: httpx2.AsyncClient) -> None:
    answer = await http.get("/v1/busy")
    assert code(answer) == (429, "too_many")
    assert answer.headers["retry-after"] == "3"


async def test_a_failure_says_nothing_of_its_reason(http: httpx2.AsyncClient) -> None:
    answer = await http.get("/v1/broken")
    assert code(answer) == (500, "internal")
    assert "Mario" not in answer.text


async def test_an_answer_that_has_begun_is_cut_off_by_a_failure(http: httpx2.AsyncClient) -> None:
    with pytest.raises(httpx2.RemoteProtocolError):
        await http.get("/v1/cut")
    assert (await http.get("/health/live")).status_code == 200


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1/things/x", "/v1/things/1/"])
async def test_where_nothing_is_the_answer_is_404(http: httpx2.AsyncClient, path: str) -> None:
    assert code(await http.get(path)) == (404, "not_found")


async def test_a_method_that_no_address_has_is_not_a_label(http: httpx2.AsyncClient) -> None:
    assert (await http.request("PROPFIND", "/v1/things/1")).status_code == 405
    metrics = generate_latest().decode()
    assert 'method="other"' in metrics
    assert "PROPFIND" not in metrics


async def test_an_address_that_does_not_know_the_method_says_which_it_knows(http: httpx2.AsyncClient) -> None:
    answer = await http.post("/v1/things/1")
    assert code(answer) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "DELETE, GET, HEAD"
    assert (await http.head("/v1/things")).headers["allow"] == "POST"


@pytest.mark.parametrize("path", ["/v1/things/1", "/v1/refused", "/v1/nothing", "/health/live", "/docs"])
async def test_head_answers_as_get_does_without_the_body(http: httpx2.AsyncClient, path: str) -> None:
    get, head = await http.get(path), await http.head(path)
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert head.headers["content-length"] == get.headers["content-length"]
    assert head.headers["content-type"] == get.headers["content-type"]


async def test_head_of_a_stream_without_end_ends(http: httpx2.AsyncClient) -> None:
    answer = await http.head("/v1/endless")
    assert (answer.status_code, answer.content) == (200, b"")
    assert (await http.get("/health/live")).status_code == 200


@pytest.mark.parametrize("path", ["/v1/things", "/v1/raw"])
async def test_a_body_is_checked_the_same_way_with_and_without_a_model(http: httpx2.AsyncClient, path: str) -> None:
    assert (await http.post(path, json={"count": 1})).json() == {"count": 1}

    unknown = await http.post(path, json={"count": "x", "size": 2})
    assert code(unknown) == (422, "unknown_field")
    assert [(e["source"], e["pointer"], e["code"]) for e in unknown.json()["errors"]] == [
        ("body", "/count", "int_parsing"),
        ("body", "/size", "unknown_field"),
    ]
    invalid = await http.post(path, json={})
    assert code(invalid) == (422, "invalid")
    assert [(e["pointer"], e["code"]) for e in invalid.json()["errors"]] == [("/count", "missing")]

    headers = {"content-type": "application/json"}
    assert code(await http.post(path, content=b"{", headers=headers)) == (400, "malformed")
    assert code(await http.post(path, content=b"\xff", headers=headers)) == (400, "malformed")


async def test_a_query_parameter_is_pointed_to_by_its_name(http: httpx2.AsyncClient) -> None:
    answer = await http.get("/v1/things/1", params={"limit": "x"})
    assert code(answer) == (422, "invalid")
    assert [(e["source"], e["pointer"]) for e in answer.json()["errors"]] == [("query", "?limit")]


async def test_an_unknown_query_parameter_is_pointed_to(http: httpx2.AsyncClient) -> None:
    answer = await http.get("/v1/things/1", params={"limit": 1, "lmit": 2})
    assert code(answer) == (422, "unknown_parameter")
    assert [(e["source"], e["pointer"], e["code"]) for e in answer.json()["errors"]] == [
        ("query", "?lmit", "unknown_parameter")
    ]
    assert "limit" in answer.json()["errors"][0]["detail"]
    assert code(await http.post("/v1/things", json={"count": 1}, params={"x": 1})) == (422, "unknown_parameter")


async def test_a_query_parameter_that_is_given_twice_is_pointed_to(http: httpx2.AsyncClient) -> None:
    answer = await http.get("/v1/things/1?limit=1&limit=2")
    assert code(answer) == (422, "invalid")
    assert [(e["pointer"], e["code"]) for e in answer.json()["errors"]] == [("?limit", "duplicate")]


async def test_rights_are_looked_at_before_parameters(http: httpx2.AsyncClient) -> None:
    assert code(await http.get("/v1/me", params={"x": 1})) == (401, "unauthorized")
    assert code(await http.get("/v1/forbidden", params={"x": 1})) == (403, "forbidden")


@pytest.mark.parametrize("name", ["Authorization", "Content-Type", "Idempotency-Key", "If-Match", "Last-Event-ID"])
async def test_a_header_that_is_given_twice_is_malformed(http: httpx2.AsyncClient, name: str) -> None:
    for path in ("/v1/things/1", "/v1/page", "/health/live"):
        answer = await http.get(path, headers=[(name, "application/json"), (name.lower(), "application/json")])
        assert code(answer) == (400, "malformed")
        assert name.lower() in answer.json()["detail"].lower()
    assert (await http.get("/v1/things/1", headers=[("Accept", "*/*"), ("Accept", "text/html")])).status_code == 200


async def test_a_page_takes_the_parameters_that_mail_programs_add(http: httpx2.AsyncClient) -> None:
    assert (await http.get("/v1/page", params={"utm_source": "mail"})).status_code == 200


async def test_a_fault_in_a_header_is_pointed_to_by_its_name(http: httpx2.AsyncClient) -> None:
    answer = await http.get("/v1/versions", headers={"if-version": "x"})
    assert code(answer) == (422, "invalid")
    assert [(e["source"], e["pointer"]) for e in answer.json()["errors"]] == [("header", "if-version")]


@pytest.mark.parametrize("path", ["/v1/things", "/v1/raw"])
@pytest.mark.parametrize("media_type", ["text/xml", "text/plain", "application/xml", "application/jsonp"])
async def test_a_body_of_another_media_type_is_refused(http: httpx2.AsyncClient, path: str, media_type: str) -> None:
    answer = await http.post(path, content=b'{"count": 1}', headers={"content-type": media_type})
    assert code(answer) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "application/json; charset=utf-8"},
        {"content-type": "Application/Merge-Patch+JSON"},
        {"content-type": "application/x-www-form-urlencoded"},
    ],
)
async def test_json_is_read_with_the_type_of_json_that_of_curl_or_none(
    http: httpx2.AsyncClient, headers: dict[str, str]
) -> None:
    answer = await http.post("/v1/raw", content=b'{"count": 1}', headers=headers)
    assert answer.json() == {"count": 1}


async def test_a_body_over_the_limit_is_refused_whether_it_says_its_length_or_not(http: httpx2.AsyncClient) -> None:
    async def chunks(count: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield b" " * 1024

    for path, kibibytes in (("/v1/raw", 1024), ("/v1/things", 1024), ("/v1/large", 2048)):
        headers = {"content-type": "application/json"}
        declared = await http.post(path, content=b" " * 1024 * (kibibytes + 1), headers=headers)
        chunked = await http.post(path, content=chunks(kibibytes + 1), headers=headers)
        assert code(declared) == code(chunked) == (413, "too_large")
    assert (await http.post("/v1/large", content=chunks(2048))).json() == 2048 * 1024


async def test_a_trace_goes_on_and_an_invalid_one_begins_anew(http: httpx2.AsyncClient) -> None:
    theirs = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    ours = (await http.get("/v1/trace", headers={"traceparent": theirs})).json()
    assert ours.split("-")[:2] == theirs.split("-")[:2]
    assert ours != theirs
    for wrong in ("", "x", theirs.upper(), "00-" + "0" * 32 + "-00f067aa0ba902b7-01"):
        begun = (await http.get("/v1/trace", headers={"traceparent": wrong})).json()
        assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-01", begun)
        assert "4bf92f3577b34da6a3ce929d0e0e4736" not in begun


async def test_without_a_token_nobody_is_known(http: httpx2.AsyncClient) -> None:
    for headers in ({}, {"authorization": "Basic x"}, {"authorization": "Bearer"}):
        answer = await http.get("/v1/me", headers=headers)
        assert code(answer) == (401, "unauthorized")
        assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_every_answer_has_the_security_headers(http: httpx2.AsyncClient) -> None:
    for path in ("/health/live", "/v1/refused", "/v1/broken", "/v1/nothing"):
        headers = (await http.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"


async def test_ready_names_what_is_not_there(http: httpx2.AsyncClient) -> None:
    assert (await http.get("/health/live")).json() == {"status": "ok"}
    answer = await http.get("/health/ready")
    assert code(answer) == (503, "not_ready")
    assert answer.json()["checks"] == {"postgres": "Postgres does not answer."}


async def test_the_documentation_is_swagger_ui_with_nothing_from_elsewhere(http: httpx2.AsyncClient) -> None:
    page = await http.get("/docs")
    assert re.findall(r"https?://", page.text) == []
    assert "script-src 'self';" in page.headers["content-security-policy"]
    assets = re.findall('(?:src|href)="([^"]+)"', page.text)
    assert len(assets) == 4
    for asset in assets:
        assert (await http.get(f"/{asset}")).status_code == 200
    assert code(await http.get("/docs/nothing.js")) == (404, "not_found")


async def test_the_codes_of_an_operations_problems_are_in_the_openapi_document(http: httpx2.AsyncClient) -> None:
    document = (await http.get("/openapi.json")).json()
    operation = document["paths"]["/v1/things"]["post"]
    name = f"{operation['operationId']}Problem"
    assert operation["responses"]["4XX"] == {"$ref": f"#/components/responses/{name}"}
    assert "422" not in operation["responses"]
    _, narrowed = document["components"]["schemas"][name]["allOf"]
    assert {"malformed", "unsupported_media_type", "invalid"} <= set(narrowed["properties"]["code"]["enum"])
