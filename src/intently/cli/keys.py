"""The command for keys of the service: make, list, rotate, revoke."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from intently.errors import InputError

if TYPE_CHECKING:
    from intently.serving.http.keys import Key

ACTIONS = {"list": 0, "make": 0, "rotate": 1, "revoke": 1}
"""What can be asked, and how many ids it needs."""
DAYS = 90.0
OVERLAP_DAYS = 7.0

_EXAMPLES = """Examples:

intently keys make --scope server --days 90

intently keys make --scope browser --days 0

intently keys rotate k7m2p9xa --overlap-days 7

intently keys revoke k7m2p9xa"""


def register(app: typer.Typer) -> None:
    """Add this group's command to the application."""
    app.command("keys", epilog=_EXAMPLES)(keys)


def keys(
    action: str = typer.Argument("list", help="list, make, rotate ID, or revoke ID."),
    ids: list[str] = typer.Argument(None, help="Of the key that is rotated or revoked."),
    scope: str = typer.Option("server", "--scope", help="browser, server (all but administration) or admin."),
    days: float = typer.Option(DAYS, "--days", help="After so many days it expires; 0: never."),
    overlap_days: float = typer.Option(OVERLAP_DAYS, help="So long the rotated key goes on."),
    home: Path | None = typer.Option(None, help="Folder of the shop (default .intently)."),
    config: Path | None = typer.Option(None, help="Settings file instead of intently.toml."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON for machines."),
) -> None:
    """Who may ask the service: keys are shown once, when made; a running service heeds changes at once."""
    from intently.config import load_settings
    from intently.serving.http.keys import KeyBook

    given = ids or []
    if action not in ACTIONS:
        raise InputError(f"unknown action {action!r}; allowed: {', '.join(ACTIONS)}", field="action")
    if len(given) != ACTIONS[action]:
        raise InputError(f"{action} needs {ACTIONS[action]} ids, got {len(given)}", hint="intently keys list")
    book, now_s = KeyBook(load_settings(config, home=home).home), time.time()
    if action == "make":
        _show(*book.make(scope, days, now_s), now_s, as_json)
    elif action == "rotate":
        _show(*book.rotate(given[0], days, overlap_days, now_s), now_s, as_json)
    elif action == "revoke":
        key = book.revoke(given[0], now_s)
        _print([_row(key, now_s)], as_json, f"revoked {key.id}; it opens nothing from now on")
    else:
        _list(list(book.read().keys), now_s, as_json)


def _show(text: str, key: Key, now_s: float, as_json: bool) -> None:
    if as_json:
        _print([_row(key, now_s) | {"key": text}], True, "")
        return
    end = "does not expire" if key.expires_s is None else f"expires {_day(key.expires_s)}"
    typer.echo(f"{key.id}: a {key.scope} key that {end}. It is shown only now:\n\n    {text}\n")
    if key.scope == "browser":
        typer.echo("Keep it on your own server, which signs session tokens with it: docs/security.md")


def _list(found: list[Key], now_s: float, as_json: bool) -> None:
    rows = [_row(key, now_s) for key in found]
    if as_json or not rows:
        _print(rows, as_json, "no keys yet: intently keys make --scope server")
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    for name in rows[0]:
        table.add_column(name.replace("_", " "), no_wrap=True)
    for row in rows:
        table.add_row(*(str(value or "–") for value in row.values()))
    Console(width=100).print(table)


def _row(key: Key, now_s: float) -> dict[str, Any]:
    return {
        "id": key.id,
        "scope": key.scope,
        "state": key.state(now_s),
        "created": _day(key.created_s),
        "expires": None if key.expires_s is None else _day(key.expires_s),
        "last_used": key.used or None,
    }


def _day(moment_s: float) -> str:
    from intently.serving.http.keys import day

    return day(moment_s)


def _print(rows: list[dict[str, Any]], as_json: bool, said: str) -> None:
    import orjson

    typer.echo(orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode() if as_json else said)
