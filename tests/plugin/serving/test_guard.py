"""What a request passes before it is answered."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from crosslens.serving.guard import Guard
from crosslens.serving.origin import COOKIE, Door, host_of, is_loopback
from crosslens.serving.rates import Allowance, Rate


def _client(door: Door | None = None, rate: Rate | None = None) -> TestClient:
    async def there(_: Request) -> PlainTextResponse:
        return PlainTextResponse("there")

    paths = ("/", "/api/v1/search", "/healthz", "/metrics")
    app = Starlette(routes=[Route(each, there, methods=["GET", "POST"]) for each in paths])
    guarded = Guard(app, door or Door(), Allowance(rate or Rate(100, 100)))
    return TestClient(guarded, base_url="http://127.0.0.1:8000", follow_redirects=False)


def test_a_client_has_a_burst_and_then_its_rate() -> None:
    allowance = Allowance(Rate(per_second=2, burst=3))
    assert [allowance.ask("a", 1, 10.0) for _ in range(4)] == [0, 0, 0, pytest.approx(0.5)]
    assert allowance.ask("b", 1, 10.0) == 0
    assert allowance.ask("a", 1, 10.5) == 0
    assert allowance.ask("a", 1, 10.5) == pytest.approx(0.5)
    # Refused requests take nothing, and rest doesn't add up beyond the burst.
    assert [allowance.ask("a", 1, 1e6) for _ in range(4)] == [0, 0, 0, pytest.approx(0.5)]
    assert allowance.ask("c", 4, 0.0) == float("inf")


def test_memory_of_clients_is_bounded() -> None:
    allowance = Allowance(Rate(1, 1), most=2)
    for client in "abc":
        assert allowance.ask(client, 1, 0.0) == 0
    assert allowance.ask("c", 1, 0.0) == pytest.approx(1)
    assert allowance.ask("a", 1, 0.0) == 0


@pytest.mark.parametrize(
    ("header", "host", "loopback"),
    [
        ("127.0.0.1:8000", "127.0.0.1", True),
        ("127.9.9.9", "127.9.9.9", True),
        ("[::1]:80", "::1", True),
        ("LocalHost.", "localhost", True),
        ("localhost.evil.example", "localhost.evil.example", False),
        ("127.0.0.1.evil.example", "127.0.0.1.evil.example", False),
        ("[::1", "", False),
        ("", "", False),
    ],
)
def test_which_names_mean_this_machine(header: str, host: str, loopback: bool) -> None:
    assert host_of(header) == host
    assert is_loopback(host) is loopback


def test_a_foreign_name_is_refused_unless_allowed() -> None:
    assert _client().get("/", headers={"host": "evil.example"}).status_code == 421
    assert _client().get("/", headers={"host": ""}).status_code == 421
    door = Door(hosts=frozenset({"search.example"}))
    assert _client(door).get("/", headers={"host": "Search.Example:443"}).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": "http://127.0.0.1:8000"}, 200),
        ({"origin": "http://127.0.0.1:8000", "sec-fetch-site": "same-origin"}, 200),
        ({"origin": "http://127.0.0.1:9200"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://[::1"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
    ],
)
def test_only_its_own_pages_change_something(headers: dict[str, str], status: int) -> None:
    assert _client().post("/", headers=headers).status_code == status
    assert _client().get("/", headers=headers).status_code == 200


def test_a_token_is_demanded_but_for_health() -> None:
    door = Door(token="s3cret")
    client = _client(door)
    assert client.get("/healthz").status_code == 200
    for path in ("/api/v1/search", "/metrics"):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert client.get("/").headers["location"] == "/login"
    for wrong in ("Bearer s3cre", "Bearer", "Basic s3cret", "Bearer s3cret\u00e9".encode("latin-1")):
        assert client.get("/metrics", headers={"authorization": wrong}).status_code == 401  # type: ignore[dict-item]
    assert client.get("/metrics", headers={"authorization": "bearer s3cret"}).status_code == 200
    assert client.get("/", headers={"cookie": f"{COOKIE}={door.cookie}"}).status_code == 200
    assert client.get("/metrics", headers={"cookie": f"{COOKIE}=s3cret"}).status_code == 401
    assert "s3cret" not in door.cookie


def test_without_a_token_no_cookie_is_needed_and_none_opens_a_door_with_one() -> None:
    assert Door().admits("", "")
    assert not Door(token="s3cret").admits("", Door().cookie)


def test_too_many_requests_say_when_to_come_again() -> None:
    client = _client(rate=Rate(per_second=0.1, burst=1))
    assert client.get("/").status_code == 200
    answer = client.get("/")
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["retry-after"]) <= 10
    assert client.get("/healthz").status_code == 200


def test_what_takes_memory_or_asks_the_server_takes_more_of_the_rate() -> None:
    client = _client(rate=Rate(per_second=0.001, burst=10))
    statuses = [client.post("/api/v1/pictures").status_code for _ in range(3)]
    assert statuses == [404, 404, 429]
    assert [client.get("/readyz").status_code, client.get("/healthz").status_code] == [429, 200]


def test_every_answer_has_a_strict_policy_also_refusals() -> None:
    for answer in (_client().get("/"), _client().get("/", headers={"host": "evil.example"})):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
