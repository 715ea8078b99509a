"""On which address the service listens, and who may speak to it."""

from __future__ import annotations

import ipaddress
import os
import secrets
import signal
import socket
import sys
from collections.abc import Callable

import uvicorn

from intently.config import Settings
from intently.errors import ConfigError
from intently.serving.app import make_app
from intently.serving.http.connection import Connection
from intently.serving.state.engine import Engine

MIN_KEY = 16
MAX_THREADS = 4


def serve(settings: Settings, on_ready: Callable[[str], None] | None = None) -> None:
    """Answer until SIGTERM or SIGINT; `on_ready` gets the address once it listens.

    An address other than loopback needs a key: INTENTLY_KEY, or one that is made and printed once.
    Raises ConfigError when the address is taken or the key too short.
    """
    listener = _listen(settings)
    key = service_key(settings.host)
    engine = Engine(settings)
    engine.start()
    threads = settings.threads or min(MAX_THREADS, os.cpu_count() or 1)
    app = make_app(engine, key=key, any_host=not is_loopback(settings.host), threads=threads)
    config = uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=10,
    )
    if on_ready is not None:
        on_ready(address(settings.host, listener.getsockname()[1]))
    endings = (signal.SIGTERM, signal.SIGINT)  # uvicorn raises them again when it has ended
    before = {ending: signal.signal(ending, lambda *_: None) for ending in endings}
    try:
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        for ending, handler in before.items():
            signal.signal(ending, handler)


def service_key(host: str) -> str:
    """The key that bearers must show, '' for none; a made one is printed to stderr, once."""
    key = os.environ.get("INTENTLY_KEY", "")
    if key:
        if len(key) < MIN_KEY or not key.isascii() or not key.isprintable() or " " in key:
            raise ConfigError(
                f"INTENTLY_KEY must be at least {MIN_KEY} printable ASCII characters without spaces",
                hint="make one: python -c 'import secrets; print(secrets.token_urlsafe(24))'",
            )
        return key
    if is_loopback(host):
        return ""
    key = secrets.token_urlsafe(24)
    sys.stderr.write(
        f"{host} can be reached from other machines, so a key is needed. It is shown only now:\n\n"
        f"    {key}\n\nSend it as 'Authorization: Bearer <key>', or set INTENTLY_KEY to your own.\n"
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
