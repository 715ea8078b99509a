"""Role x route, made from /openapi.json: every route answers those it declares, and nobody else."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from served import Running, grocery, keep, publish, repeat, running
from starlette.responses import Response

from intently.serving.http.access import Access
from intently.serving.http.keys import DAY_S, KeyBook
from intently.serving.http.openapi import X_SCOPE, describe, scoped
from intently.serving.http.tokens import mint
from intently.serving.shapes.caller import RANK

NAMES = {"user_id": "u003", "item_id": "i003"}
ADDRESSES = itertools.count(1)
Operation = tuple[str, str, str, dict[str, Any]]
"""Method, path with its names filled in, scope, description."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place, shop = tmp_path_factory.mktemp("roles"), grocery()
    keep(place, shop)
    publish(place, shop, repeat(shop))
    return place


@pytest.fixture(scope="module")
def shown(home: Path) -> dict[str, str]:
    """What each role shows; those under 'nobody' must open nothing."""
    now_s, book = time.time(), KeyBook(home)
    browser = book.make("browser", 1, now_s)[0]
    expired = book.make("admin", 1, now_s - 2 * DAY_S)[0]
    revoked, key = book.make("admin", 1, now_s)
    book.revoke(key.id, now_s)
    return {
        "browser": mint(browser, "s1", "u003", expires_s=now_s + 600),
        "server": book.make("server", 1, now_s)[0],
        "admin": book.make("admin", 1, now_s)[0],
        "nobody: no key": "",
        "nobody: wrong key": "intently_admin_abcdefgh_" + "x" * 32,
        "nobody: expired key": expired,
        "nobody: revoked key": revoked,
        "nobody: a browser's key itself": browser,
        "nobody: a token that is over": mint(browser, "s1", "u003", expires_s=now_s - 1),
    }


@pytest.fixture(scope="module")
def service(home: Path, shown: dict[str, str]) -> Iterator[Running]:
    """Behind a proxy, so that each request may come from an address of its own: none is blocked here."""
    settings = home / "behind.toml"
    settings.write_text('[limits]\nproxy = "127.0.0.1"\n')
    with running(home, "--host", "0.0.0.0", "--config", str(settings), env={"INTENTLY_KEY": ""}) as found:
        local = f"http://127.0.0.1:{found.port}"
        with httpx.Client(base_url=local, timeout=60, trust_env=False) as client:
            yield Running(found.process, local, client)


@pytest.fixture(scope="module")
def operations(service: Running, shown: dict[str, str]) -> list[Operation]:
    schema = service.client.get("/openapi.json", headers=bearer(shown["admin"])).json()
    found = []
    for path, methods in schema["paths"].items():
        filled = path.replace(":path}", "}")
        for name in [part.partition("}")[0] for part in filled.split("{")[1:]]:
            filled = filled.replace("{" + name + "}", NAMES.get(name, "x"))
        found += [(method.upper(), filled, told.get(X_SCOPE, ""), told) for method, told in methods.items()]
    return found


def bearer(key: str) -> dict[str, str]:
    return anywhere() | ({"authorization": f"Bearer {key}"} if key else {})


def anywhere() -> dict[str, str]:
    """An address that nobody had before."""
    number = next(ADDRESSES)
    return {"x-forwarded-for": f"10.0.0.1, 10.{number >> 16}.{number >> 8 & 255}.{number & 255}"}


def ask(service: Running, method: str, path: str, key: str, body: Any = None) -> httpx.Response:
    given = {} if body is None else {"json": body}
    return service.client.request(method, path, headers=bearer(key), **given)


def test_every_route_says_who_may_ask_it(operations: list[Operation]) -> None:
    assert len(operations) >= 10
    assert {scope for _, _, scope, _ in operations} <= set(RANK)
    assert {scope for _, _, scope, _ in operations} >= {"open", "browser", "server"}
    for method, path, scope, told in operations:
        assert told["security"] == ([] if scope == "open" else [{"key": []}]), (method, path)


def test_each_role_is_answered_by_its_routes_and_refused_by_all_others(
    service: Running, operations: list[Operation], shown: dict[str, str]
) -> None:
    wrong = []
    for method, path, scope, _ in operations:
        for role, key in shown.items():
            body = None if method == "GET" else {}
            answer = ask(service, method, path, key, body)
            stranger = role.startswith("nobody")
            may = scope == "open" or (not stranger and RANK[role] >= RANK[scope])
            refused = answer.status_code == (401 if stranger else 403)
            if may == refused or (may and answer.status_code in (401, 403)):
                wrong.append((method, path, scope, role, answer.status_code))
    assert not wrong


def test_no_browser_route_answers_for_another_session(
    service: Running, operations: list[Operation], shown: dict[str, str]
) -> None:
    routes = [(method, path) for method, path, scope, _ in operations if scope == "browser"]
    assert len(routes) >= 2
    for method, path in routes:
        for body in others_of(path):
            answer = ask(service, method, path, shown["browser"], body)
            if path.startswith(
                "/v1/compat/"
            ):  # ids in these come from the device: its own are put in their place
                assert answer.status_code == 200, (path, body, answer.text)
            else:
                assert answer.status_code == 403, (path, body, answer.text)
    told = ask(service, "GET", "/v1/users/another/history", shown["server"]).json()
    assert (told["known"], told["total"]) == (False, 0)


def others_of(path: str) -> list[Any]:
    """Bodies that name another's user or session."""
    found: list[Any] = []
    for field in ("user_id", "session_id"):
        event = {field: "another", "item_id": "i003", "event": "click"}
        if path == "/v1/events":
            found += [event, {"events": [event]}, {"events": [{"item_id": "i003", "event": "click"}, event]}]
        elif path == "/v1/compat/ga4":
            seen = {"name": "view_item", "params": {"items": [{"item_id": "i003"}], "session_id": "another"}}
            found.append({"client_id": "another", "user_id": "another", "events": [seen]})
        elif path == "/v1/compat/segment":
            viewed = {"type": "track", "event": "Product Viewed", "properties": {"product_id": "i003"}}
            found.append(viewed | {"userId": "another", "anonymousId": "another", "messageId": field})
        else:
            found.append({field: "another"})
    return found


def test_what_is_not_served_needs_a_key_and_then_is_not_found(
    service: Running, shown: dict[str, str]
) -> None:
    for path in ("/v1/nothing", "/docs", "/redoc", "/v1/events/", "//v1/shop", "/metrics/", "/.git/config"):
        assert ask(service, "GET", path, "").status_code == 401
        for role in ("browser", "server", "admin"):
            assert ask(service, "GET", path, shown[role]).status_code == 404, path
    answer = ask(service, "PATCH", "/v1/events", shown["server"])
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_a_route_that_says_nothing_is_for_administration() -> None:
    router = APIRouter()

    @router.get("/said", **scoped("browser"))
    async def said() -> Response:
        return Response()

    @router.get("/silent/{name:path}")
    async def silent() -> Response:
        return Response()

    access = Access(router.routes, {})
    for path, scope in (("/said", "browser"), ("/silent/a/b", "admin")):
        entry = access.find("GET", path)
        assert entry is not None
        assert entry.scope == scope
    assert access.find("POST", "/said") is access.find("GET", "/said/") is None
    api = FastAPI()
    api.include_router(router)
    describe(api, [])
    assert api.openapi()["paths"]["/silent/{name}"]["get"][X_SCOPE] == "admin"
    with pytest.raises(ValueError, match="scope 'root'; allowed: open, browser, server, admin"):
        Access([*router.routes, *routes_of("root")], {})


def routes_of(scope: str) -> list[Any]:
    router = APIRouter()
    router.add_api_route("/odd", lambda: None, openapi_extra={X_SCOPE: scope})
    return list(router.routes)


def test_there_are_no_default_credentials(service: Running, home: Path) -> None:
    guesses = [
        "admin",
        "intently",
        "password",
        "default",
        "changeme",
        "secret",
        "INTENTLY_KEY",
        "null",
        "None",
    ]
    for key in [*guesses, "0" * 16, "intently_admin_", "intently_admin__", KeyBook(home).read().salt.hex()]:
        for header in (f"Bearer {key}", f"Basic {key}", key, "Bearer", f"bearer  {key}"):
            answer = service.client.get("/v1/shop", headers=anywhere() | {"authorization": header})
            assert answer.status_code == 401, header
    held = KeyBook(home).read().keys
    for key in held:
        for inside in (key.id, key.digest, key.signs):
            answer = service.client.get("/v1/shop", headers=bearer(inside))
            assert answer.status_code == 401
    assert os.environ.get("INTENTLY_KEY") is None
