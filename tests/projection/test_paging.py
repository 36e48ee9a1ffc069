"""Lists, page after page, and the cursors between them."""

from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest

from support.firms import Firm
from support.projection import Projection

pytestmark = pytest.mark.integration


async def cursor_of(projection: Projection, path: str, token: str, **query: object) -> str:
    answer = await projection.get(path, token, limit=1, **query)
    cursor: str = answer.json()["next_cursor"]
    assert cursor
    return cursor


async def three_accounts(projection: Projection, tenant: str = "acme") -> Firm:
    firm = Firm.registered(tenant)
    for name in ("Alpha Secret", "Beta Secret", "Gamma Secret"):
        firm.account(name)
    await projection.deliver(firm.log)
    return firm


async def test_a_cursor_goes_on_where_the_page_ended(projection: Projection) -> None:
    await three_accounts(projection)
    token = projection.service("acme")
    cursor = await cursor_of(projection, "/v1/accounts", token)

    answer = (await projection.get("/v1/accounts", token, cursor=cursor, limit=2)).json()

    assert [item["name"] for item in answer["items"]] == ["Beta Secret", "Gamma Secret"]
    assert answer["next_cursor"] is None


async def test_a_page_goes_on_after_its_last_item_though_items_come_and_go_before_it(projection: Projection) -> None:
    firm = await three_accounts(projection)
    token = projection.service("acme")
    cursor = await cursor_of(projection, "/v1/accounts", token)
    firm.account("Aardvark")
    await projection.deliver(firm.log)

    answer = (await projection.get("/v1/accounts", token, cursor=cursor)).json()

    assert [item["name"] for item in answer["items"]] == ["Beta Secret", "Gamma Secret"]


async def test_a_cursor_shows_no_name(projection: Projection) -> None:
    await three_accounts(projection)

    cursor = await cursor_of(projection, "/v1/accounts", projection.service("acme"))

    assert b"secret" not in urlsafe_b64decode(cursor + "==").lower()


async def test_a_cursor_is_good_for_its_list_its_filters_and_its_tenant_alone(projection: Projection) -> None:
    await three_accounts(projection)
    await three_accounts(projection, "other")
    token = projection.service("acme")
    cursor = await cursor_of(projection, "/v1/accounts", token, query="secret")

    assert (await projection.get("/v1/accounts", token, query="secret", cursor=cursor)).status_code == 200
    for path, whose, query in (
        ("/v1/accounts", token, {}),
        ("/v1/accounts", token, {"query": "alpha"}),
        ("/v1/contacts", token, {"query": "secret"}),
        ("/v1/accounts", projection.service("other"), {"query": "secret"}),
    ):
        answer = await projection.get(path, whose, cursor=cursor, **query)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
        assert answer.json()["errors"][0]["pointer"] == "?cursor"


async def test_a_forged_cursor_is_refused(projection: Projection) -> None:
    await three_accounts(projection)
    token = projection.service("acme")
    cursor = await cursor_of(projection, "/v1/accounts", token)
    sealed = bytearray(urlsafe_b64decode(cursor + "=="))
    sealed[-1] ^= 1
    forged = urlsafe_b64encode(sealed).decode().rstrip("=")

    for each in (forged, cursor[:-4], "", "AAAA", "%%%", "é"):
        answer = await projection.get("/v1/accounts", token, cursor=each)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid"), each


@pytest.mark.parametrize("limit", [0, -1, 201, "many"])
async def test_a_limit_is_from_1_to_200(projection: Projection, limit: object) -> None:
    await three_accounts(projection)

    answer = await projection.get("/v1/accounts", projection.service("acme"), limit=limit)

    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "?limit")
