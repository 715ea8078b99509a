"""Keys: shown once, kept as digests, effective and ended while the service runs; tokens bind a browser."""

from __future__ import annotations

import base64
import hmac
import json
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from served import Running, grocery, keep, publish, repeat, running
from typer.testing import CliRunner

from intently.cli import app
from intently.errors import ConfigError, InputError, NotAllowedError
from intently.serving.http.keyring import KeyRing
from intently.serving.http.keys import DAY_S, KeyBook
from intently.serving.http.tokens import MAX_DAYS, mint
from intently.serving.shapes.caller import Caller

NOW_S = 1_800_000_000.0
OWN = "a-key-of-a-test-0123456789"


class Clock:
    """A hand that a test moves."""

    def __init__(self, at_s: float = NOW_S) -> None:
        self.at_s = at_s

    def __call__(self) -> float:
        return self.at_s


def keys(home: Path, *words: str) -> str:
    """What `intently keys` prints."""
    done = CliRunner().invoke(app, ["keys", *words, "--home", str(home)])
    assert done.exit_code == 0, done.output
    return done.output


def made(home: Path, scope: str) -> dict[str, Any]:
    (told,) = json.loads(keys(home, "make", "--scope", scope, "--json"))
    return dict(told)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("keys")
    shop = grocery()
    keep(place, shop)
    publish(place, shop, repeat(shop))
    return place


@pytest.fixture(scope="module")
def locked(home: Path) -> Iterator[Running]:
    with running(home, env={"INTENTLY_KEY": OWN}) as service:
        yield service


def bearer(shown: str) -> dict[str, str]:
    return {"authorization": f"Bearer {shown}"}


def soon(true: Callable[[], bool]) -> bool:
    """Whether it becomes so within the time that a change of keys may take."""
    for _ in range(20):
        if true():
            return True
        threading.Event().wait(0.1)
    return False


def test_a_key_counts_and_ends_within_two_seconds_while_the_service_runs(home: Path, locked: Running) -> None:
    def opens(shown: str) -> bool:
        return locked.client.get("/v1/shop", headers=bearer(shown)).status_code == 200

    first = made(home, "server")
    assert soon(lambda: opens(first["key"]))
    (second,) = json.loads(keys(home, "rotate", first["id"], "--overlap-days", "1", "--json"))
    assert soon(lambda: opens(second["key"]))
    assert opens(first["key"])  # both, until the old one is ended
    keys(home, "revoke", first["id"])
    assert soon(lambda: not opens(first["key"]))
    assert opens(second["key"])
    assert opens(OWN)
    listed = {row["id"]: row for row in json.loads(keys(home, "list", "--json"))}
    assert listed[first["id"]]["state"] == "revoked"
    assert listed[second["id"]]["state"] == "live"
    assert soon(lambda: '"used": "20' in (home / "keys.json").read_text())


def test_no_key_is_kept_or_listed_in_clear(home: Path) -> None:
    told = made(home, "browser")
    secret = told["key"].rpartition(told["id"])[2]
    assert len(secret) >= 32
    assert secret not in (home / "keys.json").read_text() + keys(home, "list")
    assert stat.S_IMODE((home / "keys.json").stat().st_mode) == 0o600
    held = KeyBook(home).read()
    assert held.salt.hex() not in repr(held)
    assert all(
        key.digest not in repr(held) and (not key.signs or key.signs not in repr(key)) for key in held.keys
    )


def test_a_browser_reads_and_writes_its_own_session_only(home: Path, locked: Running) -> None:
    key = made(home, "browser")["key"]
    token = mint(key, "s1", "u003", expires_s=time.time() + 600)
    ask = locked.client.post
    assert soon(lambda: ask("/v1/recommendations", json={}, headers=bearer(token)).status_code == 200)
    own = ask("/v1/recommendations", json={"n": 3}, headers=bearer(token)).json()
    assert own["user_id"] == "u003"
    assert {item["item_id"] for item in own["items"]} >= {"i003", "i011"}
    other = ask("/v1/recommendations", json={"user_id": "u004"}, headers=bearer(token))
    assert (other.status_code, other.json()["errors"][0]["field"]) == (403, "user_id")
    event = {"item_id": "i001", "event": "click"}
    for named in ({}, {"session_id": "s1"}, {"user_id": "u003", "session_id": "s1"}):
        told = ask("/v1/events", json=event | named | {"event_id": str(named)}, headers=bearer(token))
        assert told.json()["accepted"] == 1, told.text
    before = locked.client.get("/v1/shop", headers=bearer(OWN)).json()["n_events"]
    for named in ({"user_id": "u004"}, {"session_id": "s2"}, {"user_id": "s1"}):
        many = {"events": [event | {"event_id": "a"}, event | named | {"event_id": "b"}]}
        for body in (event | named, many):
            assert ask("/v1/events", json=body, headers=bearer(token)).status_code == 403
    assert locked.client.get("/v1/shop", headers=bearer(OWN)).json()["n_events"] == before


def test_a_token_that_is_over_changed_or_signed_by_another_is_refused(tmp_path: Path) -> None:
    clock, book = Clock(), KeyBook(tmp_path)
    key, other = (book.make("browser", 30, NOW_S)[0] for _ in range(2))
    ring = KeyRing(tmp_path, now=clock)
    token = mint(key, "s1", "u1", expires_s=NOW_S + 60)
    assert ring.find(token.encode()) == Caller(key.split("_")[2], "browser", "u1", "s1")
    assert ring.find(mint(key, "s1", expires_s=NOW_S + 60).encode()) == Caller(
        key.split("_")[2], "browser", None, "s1"
    )
    head, ident, payload, signature = token.split(".")
    held = json.loads(base64.urlsafe_b64decode(payload + "=="))
    forged = base64.urlsafe_b64encode(json.dumps(held | {"session": "s2"}).encode()).decode().rstrip("=")
    stranger = mint(other, "s1", "u1", expires_s=NOW_S + 60).split(".")[3]
    wrong = [
        key,  # the key itself opens nothing
        ".".join((head, ident, forged, signature)),
        ".".join((head, ident, payload, stranger)),
        ".".join((head, other.split("_")[2], payload, signature)),
        ".".join((head, ident, payload, "")),
        ".".join((head, ident, payload)),
        ".".join((head, "nobody", payload, signature)),
        mint(key, "s1", expires_s=NOW_S + MAX_DAYS * DAY_S + 3600),
        mint(key, " s1", expires_s=NOW_S + 60),
        mint(key, "s" * 300, expires_s=NOW_S + 60),
        "session1." + "." * 3000,
    ]
    assert [one for one in wrong if isinstance(ring.find(one.encode()), Caller)] == []
    clock.at_s += 61
    assert ring.find(token.encode()) == "over"
    with pytest.raises(InputError, match="only a browser key signs"):
        mint(book.make("server", 1, NOW_S)[0], "s1", expires_s=NOW_S)


def test_a_key_opens_nothing_once_it_is_over_and_a_near_miss_never_does(tmp_path: Path) -> None:
    clock, book = Clock(), KeyBook(tmp_path)
    text, key = book.make("server", 1, NOW_S)
    ring = KeyRing(tmp_path, OWN, clock)
    assert ring.find(text.encode()) == Caller(key.id, "server")
    assert ring.find(OWN.encode()) == Caller("INTENTLY_KEY", "admin")
    near = [text[:-1], text + "x", text.swapcase(), OWN[:-1], OWN + " ", "", "x" * 5000]
    assert [one for one in near if isinstance(ring.find(one.encode()), Caller)] == []
    assert soon(lambda: book.read().keys[0].used != "")  # written by a thread, which must not come later
    clock.at_s += DAY_S + 1
    assert ring.find(text.encode()) == "over"
    (tmp_path / "keys.json").unlink()
    clock.at_s += 1
    assert ring.find(OWN.encode()) == Caller("INTENTLY_KEY", "admin")
    assert ring.find(text.encode()) == "wrong"


def test_every_candidate_is_compared_whichever_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = KeyBook(tmp_path)
    texts = [book.make("server", 1, NOW_S)[0] for _ in range(4)]
    ring, compared, compare = KeyRing(tmp_path, now=Clock()), [], hmac.compare_digest

    def counted(a: bytes, b: bytes) -> bool:
        compared.append(len(b))
        return compare(a, b)

    monkeypatch.setattr("intently.serving.http.keyring.hmac.compare_digest", counted)
    for shown in (texts[0], texts[3]):
        compared.clear()
        assert isinstance(ring.find(shown.encode()), Caller)
        assert compared == [32] * 4
    assert soon(lambda: sum(key.used != "" for key in book.read().keys) == 2)  # written by a thread
    ring.look()  # so that the file is the one known when a wrong key makes the ring look again
    compared.clear()
    assert ring.find(b"wrong") == "wrong"
    assert compared == [32] * 4


def test_what_cannot_be_made_is_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("intently.serving.http.keys.MAX_LIVE", 3)
    book = KeyBook(tmp_path)
    with pytest.raises(InputError, match="allowed: browser, server, admin"):
        book.make("root", 1, NOW_S)
    with pytest.raises(InputError, match="allowed: 0 to 3650"):
        book.make("server", -1, NOW_S)
    with pytest.raises(InputError, match="no key has the id"):
        book.revoke("nothing", NOW_S)
    with pytest.raises(InputError, match="no live key has the id"):
        book.rotate("nothing", 1, 1, NOW_S)
    for _ in range(3):
        _, last = book.make("server", 1, NOW_S)
    with pytest.raises(InputError, match="live already"):
        book.make("server", 1, NOW_S)
    with pytest.raises(InputError, match="overlap is -1 days"):
        book.rotate(last.id, 1, -1, NOW_S)
    book.revoke(last.id, NOW_S)
    book.make("server", 1, NOW_S)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"layout": 2}', '{"layout": 1, "salt": "zz", "keys": []}'])
def test_a_damaged_file_of_keys_opens_nothing_at_start_and_changes_nothing_later(
    tmp_path: Path, text: str
) -> None:
    clock, book = Clock(), KeyBook(tmp_path)
    key = book.make("server", 1, NOW_S)[0]
    ring = KeyRing(tmp_path, now=clock)
    book.path.write_text(text)
    clock.at_s += 1
    assert isinstance(ring.find(key.encode()), Caller)
    with pytest.raises(ConfigError, match="is damaged"):
        KeyRing(tmp_path)


def test_a_caller_bound_to_a_session_may_name_no_other() -> None:
    browser = Caller("k", "browser", "u1", "s1")
    browser.check(None, None)
    browser.check("u1", "s1")
    for user, session in (("u2", "s1"), ("u1", "s2"), ("", None), (1, None)):
        with pytest.raises(NotAllowedError, match="is not the one"):
            browser.check(user, session)
    with pytest.raises(NotAllowedError, match="user_id is not"):
        Caller("k", "browser", None, "s1").check("u1", "s1")
    Caller("k", "server").check("anyone", "any session")


def test_the_token_that_the_page_on_security_makes_is_taken(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "security.md").read_text(encoding="utf-8")
    made: dict[str, Any] = {}
    exec(page.partition("```python\n")[2].partition("```")[0], made)
    key, kept = KeyBook(tmp_path).make("browser", 1, time.time())
    ring = KeyRing(tmp_path)
    assert ring.find(made["token"](key, "s1", "u1").encode()) == Caller(kept.id, "browser", "u1", "s1")
    assert ring.find(made["token"](key, "s1").encode()) == Caller(kept.id, "browser", None, "s1")
    assert ring.find(made["token"](key, "s1", minutes=-1).encode()) == "over"
