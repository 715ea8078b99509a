"""The bus over a Redis (or Valkey): a stream that every service writes to and reads to its end.

Each message carries its sender's name and count, so that a gap in anyone's counts says that something was
lost, whatever lost it: a full queue, a link that broke, a server that was emptied. Who sees a gap, or could
not read for a while, reads the store again. How far each service has read stands beside the stream, so that
a sender can wait until all have. Messages are kept for KEEP_S, so that a service that is starting finds what
was said since it read the store; the server need not write anything to a disk.
"""

from __future__ import annotations

import hashlib
import logging
import os
import queue
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import orjson

from intently.errors import ConfigError, MissingExtraError, NotReadyError, StoreError
from intently.serving.state.bus import Hear

if TYPE_CHECKING:
    import redis

PASSWORD: Final = "INTENTLY_REDIS_PASSWORD"
KEEP_S: Final = 600.0
MOST_KEPT: Final = 100_000
MOST_WAITING: Final = 10_000
AT_ONCE: Final = 256
TICK_S: Final = 1.0
ALIVE_S: Final = 15.0
"""A service that has not said for so long how far it has read is taken for gone."""
CONFIRM_S: Final = 5.0
LOOK_S: Final = 0.001
GATHER_S: Final = 0.02
LOCK_S: Final = 30.0
BEHIND: Final = "what other services said was missed, and the store cannot be read to make up for it"

log = logging.getLogger("intently.serving")

Place = tuple[int, int]
Step = Callable[["redis.client.Pipeline"], object]


class RedisBus:
    """See Bus. One for each service; `store` tells the shops apart that share a server.

    Raises ConfigError for an address with a password, StoreError when the server does not answer,
    MissingExtraError without redis.
    """

    alone = False

    def __init__(self, url: str, store: str) -> None:
        try:
            import redis
        except ModuleNotFoundError as error:
            raise MissingExtraError("redis", "redis") from error
        if urlsplit(url).password:
            hint = f"give it in the environment, as {PASSWORD}"
            raise ConfigError("the setting `redis` may hold no password", hint=hint, field="redis")
        self._redis = redis
        self._server: Any = redis.Redis.from_url(
            url, password=os.environ.get(PASSWORD) or None, socket_timeout=5.0, socket_connect_timeout=5.0
        )
        self.name = secrets.token_hex(4)
        self._prefix = f"intently:{hashlib.blake2b(store.encode(), digest_size=6).hexdigest()}:"
        self._stream = self._key("news")
        self._counts: dict[str, int] = {}
        self._count = count()
        self._queue: queue.SimpleQueue[Step | None] = queue.SimpleQueue()
        self._sending, self._flushing, self._changing = (threading.Lock() for _ in range(3))
        self._stopped = threading.Event()
        self._gathered: deque[tuple[str, Any]] = deque(maxlen=MOST_WAITING)
        self._kept: deque[Step] = deque(maxlen=MOST_WAITING)
        self._flushed_s = self._said_s = 0.0
        self._asked = False
        self._untold = False  # something was lost on the way out
        self._trouble = ""
        self._threads: list[threading.Thread] = []
        try:
            self._server.set(self._key("secret"), secrets.token_bytes(32), nx=True)
            self.secret: bytes = self._found(self._key("secret"))
            self._at = self._last()  # what comes after is heard, what came before is in the store
        except redis.RedisError as error:
            hint = "see that it runs and the setting `redis` names it"
            told = type(error).__name__
            raise StoreError(f"the Redis server cannot be used: {told}", hint=hint) from error

    @property
    def trouble(self) -> str:
        """What is wrong, '' when all is well."""
        return self._trouble

    def start(self, hear: Hear, missed: Callable[[], None], tick: Callable[[], None]) -> None:
        """See Bus.start."""
        work: tuple[Callable[[], None], ...] = (self._send, lambda: self._listen(hear, missed, tick))
        self._say_where()
        for each in work:
            self._threads.append(threading.Thread(target=each, name="intently-bus", daemon=True))
            self._threads[-1].start()

    def stop(self) -> None:
        """See Bus.stop."""
        self._stopped.set()
        self._queue.put(None)
        for thread in self._threads:
            thread.join(timeout=10)
        with suppress(self._redis.RedisError):  # else it will be taken for gone
            self._server.delete(self._key("at", self.name))
            self._server.srem(self._key("services"), self.name)
        self._server.close()

    # -- telling ------------------------------------------------------------------------------

    def tell(self, kind: str, said: Any) -> None:
        """See Bus.tell."""
        if self._queue.qsize() >= MOST_WAITING:
            next(self._count)  # the gap tells the others
            self._untold = True
            return
        self._queue.put(lambda pipe: self._add(pipe, kind, said))

    def gather(self, kind: str, said: Any) -> None:
        """See Bus.gather; where too many wait the oldest are lost, and not missed."""
        self._gathered.append((kind, said))

    def keep(self, name: str, make: Callable[[], bytes], hold_s: float) -> None:
        """See Bus.keep."""
        self._kept.append(lambda pipe: pipe.set(self._key(name), make(), px=int(hold_s * 1e3)))

    def tell_now(self, kind: str, said: Any) -> bool:
        """See Bus.tell_now."""
        try:
            with self._sending:
                place = self._add(self._server, kind, said, asks=True)
            return self._all_at(_place(place))
        except self._redis.RedisError as error:
            self._failed(error)
            return False

    def _add(self, to: Any, kind: str, said: Any, asks: bool = False) -> Any:
        """One more message; `to` is the server or a pipeline. The count is spent also where this fails.

        asks: whoever reads it says at once how far they have read.
        """
        body = orjson.dumps(said, option=orjson.OPT_SERIALIZE_NUMPY)
        fields = {
            b"from": self.name,
            b"n": next(self._count),
            b"kind": kind,
            b"said": body,
            b"asks": int(asks),
        }
        return to.xadd(self._stream, fields, maxlen=MOST_KEPT)

    def _send(self) -> None:
        """What was handed over, as it comes; many in one way there and back."""
        going = True
        while going:
            steps: list[Step] = []
            with suppress(queue.Empty):
                going = self._waiting(steps)
            if self._untold:
                steps.append(lambda pipe: self._add(pipe, "gap", None))
            if steps:
                self._untold = not self._sent(steps)
            if time.monotonic() - self._flushed_s >= GATHER_S or not going:
                self.flush()

    def flush(self) -> None:
        """See Bus.flush."""
        with self._flushing:
            self._flushed_s = time.monotonic()
            steps = self._later()
            if steps and not self._sent(steps):
                self._untold = True

    def _later(self) -> list[Step]:
        """What may wait a moment: all that was kept, and one message for each kind that was gathered."""
        steps = [self._kept.popleft() for _ in range(len(self._kept))]
        by_kind: dict[str, list[Any]] = {}
        for _ in range(len(self._gathered)):
            kind, said = self._gathered.popleft()
            by_kind.setdefault(kind, []).append(said)
        return steps + [partial(self._add, kind=kind, said=said) for kind, said in by_kind.items()]

    def _waiting(self, steps: list[Step]) -> bool:
        """All that waits, up to AT_ONCE; False when it is time to end. Raises queue.Empty after them."""
        step = self._queue.get(timeout=GATHER_S)
        while step is not None:
            steps.append(step)
            if len(steps) == AT_ONCE:
                return True
            step = self._queue.get_nowait()
        return False

    def _sent(self, steps: list[Step]) -> bool:
        try:
            with self._sending, self._server.pipeline(transaction=False) as pipe:
                for step in steps:
                    step(pipe)
                pipe.execute()
        except self._redis.RedisError as error:
            self._failed(error)
            return False
        except Exception:  # the thread must outlive whatever it is given
            log.exception("a message to other services could not be sent")
            return False
        return True

    def _failed(self, error: Exception) -> None:
        if not self._trouble:
            log.error("the Redis server cannot be used: %s", type(error).__name__)
        self._trouble = "Redis cannot be reached: what other services do comes in late"
        self._untold = True

    # -- hearing ------------------------------------------------------------------------------

    def _listen(self, hear: Hear, missed: Callable[[], None], tick: Callable[[], None]) -> None:
        """Every message of the others in the order of the stream."""
        behind, ticked_s = False, 0.0
        while not self._stopped.is_set():
            try:
                found = self._server.xread(
                    {self._stream: _told(self._at)}, count=AT_ONCE, block=int(TICK_S * 1e3)
                )
                lost = []
                for place, fields in found[0][1] if found else ():
                    lost.append(self._heard(fields, hear))
                    self._at = _place(place)  # once it is taken in: others wait for that
                if behind or any(lost):
                    behind = not _safely(missed)  # as long as the store cannot be read either
                self._trouble = BEHIND if behind else ""
                if self._asked or time.monotonic() - self._said_s >= TICK_S:
                    self._say_where()
                if time.monotonic() - ticked_s >= TICK_S:
                    ticked_s = time.monotonic()
                    self._trim()
                    _safely(tick)
            except self._redis.RedisError as error:
                if not self._stopped.is_set():
                    self._failed(error)
                    behind = True
                    self._stopped.wait(0.2)

    def _heard(self, fields: dict[bytes, bytes], hear: Hear) -> bool:
        """Take one message in; whether something that was said is not here."""
        try:
            sender, n, kind = fields[b"from"].decode(), int(fields[b"n"]), fields[b"kind"].decode()
            said, asks = orjson.loads(fields[b"said"]), fields[b"asks"] == b"1"
        except (KeyError, ValueError):
            log.error("a message of another service cannot be read")
            return True
        lost = self._counts.get(sender, n - 1) != n - 1
        self._counts[sender] = n
        if sender == self.name:
            return False
        self._asked = self._asked or asks
        return not _safely(lambda: hear(kind, said)) or lost

    def _say_where(self) -> None:
        self._asked, self._said_s = False, time.monotonic()
        with self._server.pipeline(transaction=False) as pipe:
            pipe.set(self._key("at", self.name), _told(self._at), px=int(ALIVE_S * 1e3))
            pipe.sadd(self._key("services"), self.name)
            pipe.execute()

    def _trim(self) -> None:
        until_ms = int((time.time() - KEEP_S) * 1e3)
        self._server.xtrim(self._stream, minid=until_ms, approximate=False)

    # -- together -----------------------------------------------------------------------------

    @contextmanager
    def changing(self) -> Iterator[None]:
        """See Bus.changing; where the server cannot be reached, one change at a time here."""
        with self._changing:
            lock = self._server.lock(self._key("changing"), timeout=LOCK_S, sleep=0.003)
            try:
                held = lock.acquire(blocking_timeout=LOCK_S)
                if not held:
                    raise NotReadyError("another service changes items or users", hint="ask again soon")
                self._catch_up(self._last())
            except self._redis.RedisError as error:
                self._failed(error)
                held = False
            try:
                yield
            finally:
                if held:
                    try:
                        lock.release()
                    except self._redis.RedisError as error:
                        self._failed(error)

    def _catch_up(self, place: Place) -> None:
        ends_s = time.monotonic() + CONFIRM_S
        while self._at < place and time.monotonic() < ends_s:
            time.sleep(LOOK_S)

    def _last(self) -> Place:
        newest = self._server.xrevrange(self._stream, count=1)
        return _place(newest[0][0]) if newest else (0, 0)

    def _others(self) -> list[str]:
        return sorted({name.decode() for name in self._server.smembers(self._key("services"))} - {self.name})

    def _all_at(self, place: Place) -> bool:
        """Whether every other service that is alive has read so far, waiting for it."""
        names, ends_s = self._others(), time.monotonic() + CONFIRM_S
        while names:
            found = self._server.mget([self._key("at", name) for name in names])
            gone = [name for name, at in zip(names, found, strict=True) if at is None]
            if gone:
                self._server.srem(self._key("services"), *gone)
            names = [n for n, at in zip(names, found, strict=True) if at is not None and _place(at) < place]
            if names and time.monotonic() > ends_s:
                return False
            if names:
                time.sleep(LOOK_S)
        return True

    def find(self, name: str) -> bytes | None:
        """See Bus.find; what was kept a moment ago may be on its way."""
        try:
            for _ in range(20):
                found: bytes | None = self._server.get(self._key(name))
                if found is not None:
                    return found
                time.sleep(0.005)
        except self._redis.RedisError as error:
            self._failed(error)
        return None

    def _found(self, key: str) -> Any:
        return self._server.get(key)

    def of_others(self, name: str) -> dict[str, bytes]:
        """See Bus.of_others."""
        try:
            names = self._others()
            found = self._server.mget([self._key(name, other) for other in names]) if names else []
        except self._redis.RedisError as error:
            self._failed(error)
            return {}
        return {other: text for other, text in zip(names, found, strict=True) if text is not None}

    def forget(self, people: list[str], names: list[str], but: str) -> None:
        """See Bus.forget."""
        try:
            for place, fields in self._server.xrange(self._stream):
                of_them = not set(people).isdisjoint(_strings(orjson.loads(fields[b"said"])))
                if of_them and fields[b"kind"] != but.encode():
                    self._server.xdel(self._stream, place)
            for name in names:
                for key in self._server.scan_iter(match=self._key(name) + "*", count=1000):
                    self._server.delete(key)
        except self._redis.RedisError as error:
            self._failed(error)

    def claim(self, name: str, hold_s: float) -> bool:
        """See Bus.claim; where the server cannot be reached, everyone may."""
        try:
            return bool(self._server.set(self._key(name), self.name, nx=True, px=int(hold_s * 1e3)))
        except self._redis.RedisError as error:
            self._failed(error)
            return True

    def release(self, name: str) -> None:
        """See Bus.release."""
        try:
            self._server.delete(self._key(name))
        except self._redis.RedisError as error:
            self._failed(error)

    def _key(self, *names: str) -> str:
        return self._prefix + ":".join(names)


def _place(text: bytes) -> Place:
    """
    >>> _place(b"1700000000000-2")
    (1700000000000, 2)
    """
    moment, _, n = text.partition(b"-")
    return int(moment), int(n)


def _told(place: Place) -> str:
    """
    >>> _told((1700000000000, 2))
    '1700000000000-2'
    """
    return f"{place[0]}-{place[1]}"


def _strings(said: Any) -> Iterator[str]:
    """Every text in a message."""
    if isinstance(said, str):
        yield said
    elif isinstance(said, list):
        for each in said:
            yield from _strings(each)
    elif isinstance(said, dict):
        yield from said


def _safely(work: Callable[[], None]) -> bool:
    """Whether it was done; the listening thread must outlive whatever it hears."""
    try:
        work()
    except Exception:
        log.exception("what another service said could not be taken in")
        return False
    return True
