"""Arrival numbers of a PostgreSQL store: those who follow them count every event once."""

from __future__ import annotations

from typing import Any

from intently.store import PostgresStore


def row(user: str, event_id: str) -> tuple[Any, ...]:
    return (user, "i1", 0, 1.7e9, None, None, None, None, event_id, None)


def test_the_number_of_an_erased_event_is_never_given_again(database: str) -> None:
    with PostgresStore(database) as store:
        store.append([row("stays", "a"), row("goes", "b")])
        assert store.erase_user("goes") == 1
        assert store.last_row() == 2
        assert store.append([row("stays", "c")]).first_row == 3
        assert store.erase_user("stays") == 2
    with PostgresStore(database) as again:
        assert again.append([row("new", "d")]).first_row == 4
        assert again.events_since(3)["user_id"].to_list() == ["new"]


def test_a_reader_goes_on_after_the_server_ended_its_connections(database: str) -> None:
    with PostgresStore(database) as store, PostgresStore(database) as other:
        store.append([row("a", "a")])
        assert store.last_row() == 1
        with other._write() as db:
            db.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'intently' AND pid <> pg_backend_pid()"
            )
        assert store.last_row() == 1
