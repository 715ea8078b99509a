"""On which address the service listens, and who may speak to it."""

from __future__ import annotations

import gc
import ipaddress
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors.multiprocess import Multiprocess

from intently.config import Settings
from intently.errors import ConfigError, IntentlyError, StoreError
from intently.serving.app import make_app
from intently.serving.http.answer_door import AnswerDoor
from intently.serving.http.event_door import EventDoor
from intently.serving.http.express import express
from intently.serving.http.gate import Doors
from intently.serving.http.keyring import KeyRing
from intently.serving.http.keys import KeyBook
from intently.serving.state.bus import open_bus
from intently.serving.state.engine import Engine

MIN_KEY = 16
MAX_THREADS = 4
SWITCH_S = 0.0005
"""How long a thread that calls a model keeps the interpreter from the event loop, which needs it for every
read and write: with Python's 5 ms, hundreds of connections make health wait for seconds."""
YOUNG_OBJECTS = 20_000
LOADING_S = 300
"""A worker may take so long to open the shop."""
PARENT_S = 0.5


class ServiceConfig(uvicorn.Config):
    """uvicorn's configuration of a process that answers; loading it opens the shop.

    It is made where the command runs and loaded in each worker, so it holds the settings alone until then.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(
            app="",
            ws="none",
            workers=settings.workers,
            log_level="error",  # below it, uvicorn writes a line for whatever a stranger sends
            access_log=False,
            proxy_headers=False,  # whose word is taken is a setting of ours
            server_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=10,
            timeout_worker_healthcheck=LOADING_S,
        )
        self.settings = settings

    def load(self) -> None:
        """The engine, started, and what answers from it. Raises whatever opening the shop does."""
        settings = self.settings
        doors = doors_of(settings)
        engine = Engine(settings)
        engine.start()
        settle()
        cores = max((os.cpu_count() or 1) // settings.workers, 1)
        app = make_app(engine, doors, threads=settings.threads or min(MAX_THREADS, cores))
        self.app = app
        self.http = express((EventDoor(engine, app), AnswerDoor(engine, app)), settings.limits.connections)
        sys.setswitchinterval(SWITCH_S)
        super().load()


def serve(settings: Settings, on_ready: Callable[[str], None] | None = None) -> None:
    """Answer until SIGTERM or SIGINT; `on_ready` gets the address once it listens.

    An address other than loopback needs a key: see `doors_of`.
    Raises ConfigError when the address is taken or the key too short.
    """
    listener = _listen(settings)
    told = address(settings.host, listener.getsockname()[1])

    def ready() -> None:
        if on_ready is not None:
            on_ready(told)

    if settings.workers > 1:
        serve_together(settings, listener, ready)
        return
    config = ServiceConfig(settings)
    config.load()
    ready()
    endings = (signal.SIGTERM, signal.SIGINT)  # uvicorn raises them again when it has ended
    before = {ending: signal.signal(ending, lambda *_: None) for ending in endings}
    try:
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        for ending, handler in before.items():
            signal.signal(ending, handler)


def serve_together(settings: Settings, listener: socket.socket, ready: Callable[[], None]) -> None:
    """Several workers on one address, each a process; one that ends is replaced."""
    doors_of(settings)  # a key that is made is shown once
    open_bus(settings).stop()  # what is wrong with the settings is said once too
    Workers(WorkerConfig(settings), [listener], ready).run()


class WorkerConfig(ServiceConfig):
    """As loaded in a worker, which ends when the process that began it is gone."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.parent = os.getpid()

    def load(self) -> None:
        """See ServiceConfig.load; a worker that cannot begin says why in one line, and all end."""
        threading.Thread(target=self._watch, name="intently-parent", daemon=True).start()
        try:
            super().load()
        except IntentlyError as error:
            sys.stderr.write(f"error: {error}\n")
            sys.exit(STARTUP_FAILURE)

    def _watch(self) -> None:
        while os.getppid() == self.parent:
            time.sleep(PARENT_S)
        os.kill(os.getpid(), signal.SIGTERM)


class Workers(Multiprocess):
    """uvicorn's supervisor; `ready` is called once every worker answers.

    Raises StoreError from `run` when a worker could not begin.
    """

    def __init__(self, config: WorkerConfig, sockets: list[socket.socket], ready: Callable[[], None]) -> None:
        super().__init__(config, sockets)
        self._ready = ready

    def init_processes(self) -> None:
        """Begin them all."""
        super().init_processes()
        if all(process.wait_until_ready(LOADING_S, self.should_exit) for process in self.processes):
            self._ready()

    def run(self) -> None:
        """Until a signal ends all, or a worker cannot begin."""
        super().run()
        if any(process.exitcode == STARTUP_FAILURE for process in self.processes):
            raise StoreError("a worker could not begin", hint="the line above says why")


def settle() -> None:
    """Take what a start leaves in memory out of the garbage collector's sight, and let it look less often.

    Tens of thousands of events a second would make it walk through the whole log again and again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 20, 20)


def doors_of(settings: Settings) -> Doors:
    """Who may come in at this address.

    Where a key is needed and no admin key exists, one is made and printed to stderr, once. Raises
    ConfigError for a key in INTENTLY_KEY that is too short, and for a damaged file of keys.
    """
    own = own_key()
    outside = not is_loopback(settings.host)
    needed = outside or settings.require_key or bool(own)
    ring = KeyRing(settings.home, own)
    if needed and not ring.has_admin():
        text, key = KeyBook(settings.home).make("admin", 0, time.time())
        ring.look()
        sys.stderr.write(
            f"{settings.host} needs a key, and there is none. This one may do everything and is shown only "
            f"now:\n\n    {text}\n\nSend it as 'Authorization: Bearer <key>'. "
            f"`intently keys` makes, lists and ends keys; this one is {key.id}.\n"
        )
    origins = frozenset(one.encode() for one in settings.origins)
    return Doors(ring, needed, outside, origins, settings.limits)


def own_key() -> str:
    """The admin key that INTENTLY_KEY gives, '' for none."""
    key = os.environ.get("INTENTLY_KEY", "")
    if key and (len(key) < MIN_KEY or not key.isascii() or not key.isprintable() or " " in key):
        raise ConfigError(
            f"INTENTLY_KEY must be at least {MIN_KEY} printable ASCII characters without spaces",
            hint="make one: python -c 'import secrets; print(secrets.token_urlsafe(24))'",
        )
    return key


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def address(host: str, port: int) -> str:
    """What to type into a browser."""
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}"


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"cannot listen on {settings.host} port {settings.port}: {error.strerror or error}",
            hint="another service may run there; choose another with --port",
            field="port",
        ) from error
    listener.setblocking(False)
    return listener
