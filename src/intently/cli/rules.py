"""The command that keeps the shop's rules: lists, adds, removes, checks them, and tries one out."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from intently.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from intently.config import Settings
    from intently.serving.rules.lint import Finding
    from intently.serving.rules.rule import Rule
    from intently.serving.shapes.rules import DryRun
    from intently.serving.state.engine import Engine

WIDTH = 100
ACTIONS = {"list": (0, 0), "add": (1, 1), "remove": (1, 1), "check": (0, 1), "dry-run": (1, 1)}
"""What can be asked, and how many files or ids it takes at least and at most."""

_EXAMPLES = """Examples, where rule.json holds one rule as docs/rules.md describes it, or a list of them:

intently rules

echo '{"name": "Sold out", "kind": "exclude", "filter": "stock == 0"}' | intently rules add -

intently rules check

intently rules dry-run sold-out --users 200"""


def register(app: typer.Typer) -> None:
    """Add this group's command to the application."""
    app.command("rules", epilog=_EXAMPLES)(rules)


def rules(
    action: str = typer.Argument("list", help="list, add FILE, remove ID, check [FILE], dry-run FILE or ID."),
    given: list[str] = typer.Argument(None, metavar="[FILE|ID]", help="A JSON file, - for standard input."),
    scenario: str = typer.Option("home", help="dry-run: in lists of which scenario."),
    users: int = typer.Option(100, min=1, max=500, help="dry-run: how many users who were here last."),
    n: int | None = typer.Option(None, min=1, max=50, help="dry-run: items of a list."),
    home: Path | None = typer.Option(None, help="Folder of the store and the artifacts."),
    config: Path | None = typer.Option(None, help="Settings file instead of intently.toml."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON for machines."),
) -> None:
    """What the shop says about its lists: exclude, include, boost, pin, cap.

    A running service follows from the next answer on. check ends with code 1 where it finds an error.
    """
    from intently.config import load_settings

    words = given or []
    least, most = ACTIONS.get(action, (0, 0))
    if action not in ACTIONS:
        raise InputError(f"unknown action {action!r}; allowed: {', '.join(ACTIONS)}", field="action")
    if not least <= len(words) <= most:
        raise InputError(f"{action} takes {least} to {most} files or ids, got {len(words)}", hint=_EXAMPLES)
    settings = load_settings(config, home=home)
    with _engine(settings) as engine:
        if action == "dry-run":
            _dry_run(engine, words[0], (scenario, users, n), as_json)
        elif action == "check":
            _check(engine, words, as_json)
        else:
            _change(engine, action, words)
            _list(engine, as_json)


@contextmanager
def _engine(settings: Settings) -> Iterator[Engine]:
    """The shop, opened for one command."""
    if not settings.store_path.exists():
        raise InputError(f"there is no shop in {settings.home}", hint="intently import mine.csv makes one")
    try:
        from intently.serving.state.engine import Engine
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "lark", "serve") from error
    engine = Engine(settings)
    try:
        engine.live.refresh()
        yield engine
    finally:
        engine.close()


def _change(engine: Engine, action: str, words: list[str]) -> None:
    from intently.serving.answer import rules as kept

    if action == "add":
        for rule in _read(words[0]):
            stored = kept.added(engine, rule)
            typer.echo(f"stored {stored.rule['id']}", err=True)
            _say(stored.findings)
    elif action == "remove":
        kept.removed(engine, words[0])
        typer.echo(f"removed {words[0]}", err=True)


def _check(engine: Engine, words: list[str], as_json: bool) -> None:
    from dataclasses import asdict

    from intently.serving.answer import rules as kept
    from intently.serving.shapes.rules import LintRequest

    found = kept.linted(engine, LintRequest(rules=_read(words[0]) if words else None))
    if as_json:
        _print_json(asdict(found))
    else:
        typer.echo(f"{found.n_rules} rules, {len(found.findings)} findings")
        _say(found.findings, err=False)
    if any(one.level == "error" for one in found.findings):
        raise typer.Exit(1)


def _dry_run(engine: Engine, word: str, how: tuple[str, int, int | None], as_json: bool) -> None:
    from dataclasses import asdict

    from intently.serving.answer.rehearsal import dry_run
    from intently.serving.shapes.rules import DryRunRequest

    stored = [rule for rule in engine.rules.file.current().rules if rule.id == word]
    read = stored or _read(word)
    if len(read) != 1:
        raise InputError(f"{word} holds {len(read)} rules; a dry run takes one", field="file")
    asked = {"rule": read[0], "scenario": how[0], "users": how[1], "n": how[2]}
    found = dry_run(engine, DryRunRequest.model_validate(asked))
    if as_json:
        _print_json(asdict(found))
    else:
        _show(found)


def _list(engine: Engine, as_json: bool) -> None:
    from dataclasses import asdict

    from intently.serving.answer.rules import listed

    found = listed(engine)
    if as_json:
        _print_json(asdict(found))
        return
    if not found.rules:
        typer.echo("no rules yet")
        return
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    for name in ("rule", "kind", "what", "lists", "holds"):
        table.add_column(name, no_wrap=name == "rule")
    for rule in found.rules:
        holds = "now" if rule["id"] in found.holding else "not now" if rule["enabled"] else "off"
        lists = ", ".join(rule.get("scenarios", [])) or "all"
        table.add_row(rule["id"], rule["kind"], escape(_what(rule)), escape(lists), holds)
    Console(width=WIDTH).print(table)
    for trouble in found.troubles:
        typer.echo(trouble, err=True)


def _what(rule: dict[str, Any]) -> str:
    """A rule in a few words."""
    asked = rule.get("filter", "")
    if rule["kind"] == "boost":
        by = f"x {rule['multiply']:g}" if "multiply" in rule else f"{rule['add']:+g}"
        return f"{by}: {asked}"
    if rule["kind"] == "pin":
        return f"{rule['item_id']} at {rule['slot']}" + (f" while {asked}" if asked else "")
    return f"{rule['most']} of a {rule['column']}" if rule["kind"] == "cap" else asked


def _show(found: DryRun) -> None:
    share, change = found.lists_changed, found.value_change
    typer.echo(f"lists of {found.users} users, {found.n} items each")
    if not found.holds:
        typer.echo("the rule does not hold in these lists now: nothing would change")
    typer.echo(f"lists changed     {share.value:.1%} [{share.low:.1%}, {share.high:.1%}]")
    typer.echo(f"items exchanged   {found.items_changed:,}")
    if found.taken_out is not None:
        typer.echo(f"catalogue         {found.taken_out:,} items are taken out")
    if change is not None and found.value_before is not None:
        typer.echo(f"predicted value   {found.value_before:.4f} -> {found.value_after:.4f} a list")
        typer.echo(f"                  {change.value:+.4f} [{change.low:+.4f}, {change.high:+.4f}]")
    typer.echo(f"coverage          {found.coverage_before:.1%} -> {found.coverage_after:.1%}")
    typer.echo(f"lists that are full {found.filled_before:.1%} -> {found.filled_after:.1%}")
    for title, moved in (("lose", found.lose), ("gain", found.gain)):
        for one in moved[:10]:
            typer.echo(f"{title}  {one.before:>5} -> {one.after:<5} {one.item_id}  {one.title[:60]}")
    _say(found.findings, err=False)


def _say(findings: list[Finding], err: bool = True) -> None:
    for one in findings:
        typer.echo(f"{one.level}: {one.rule_id}: {one.message}", err=err)


def _read(word: str) -> list[Rule]:
    """The rules of a JSON file; raises InputError naming the field that is wrong."""
    import orjson
    from pydantic import ValidationError

    from intently.serving.rules.rule import Rule
    from intently.serving.shapes.faults import field_errors

    try:
        text = sys.stdin.read() if word == "-" else Path(word).read_text(encoding="utf-8")
        said = orjson.loads(text)
    except FileNotFoundError as error:
        raise InputError(f"no file and no rule {word!r}", hint="intently rules lists them") from error
    except (OSError, UnicodeDecodeError, orjson.JSONDecodeError) as error:
        raise InputError(f"{word} is no JSON: {error}", hint="docs/rules.md shows rules") from error
    rows = said if isinstance(said, list) else [said]
    try:
        return [Rule.model_validate(row) for row in rows]
    except ValidationError as error:
        first = field_errors(error, Rule)[0]
        raise InputError(f"{word}: {first.field}: {first.reason}", field=first.field) from error


def _print_json(value: Any) -> None:
    import orjson

    typer.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())
