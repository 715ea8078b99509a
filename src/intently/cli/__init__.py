"""The command line: one file a group of commands, heavy imports inside the functions.

`main` turns an IntentlyError into one line on stderr and its exit code; a user never sees a traceback
for a mistake of their own. INTENTLY_DEBUG=1 shows it all the same.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

import typer

from intently import progress
from intently.errors import IntentlyError

app = typer.Typer(
    name="intently",
    help="Predicts what each shopper will do next, on the shop's own machine.",
    epilog="Start with `intently demo`, or: intently import mine.csv && intently train && intently serve",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)

GROUPS = (
    "demo",
    "data",
    "pretrain",
    "tune",
    "model",
    "judge",
    "search",
    "runs",
    "replay",
    "decisions",
    "experiment",
    "models",
    "rules",
    "keys",
    "backup",
    "service",
)
for group in GROUPS:
    import_module(f"intently.cli.{group}").register(app)


@app.callback(invoke_without_command=True)
def _options(
    version: bool = typer.Option(False, "--version", help="Print the version and stop."),
) -> None:
    if version:
        from intently import __version__

        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Entry point of the `intently` command."""
    progress.show()
    try:
        app(standalone_mode=True)
    except IntentlyError as error:
        if os.environ.get("INTENTLY_DEBUG"):
            raise
        sys.stderr.write(f"error: {error.message}\n")
        if error.hint:
            sys.stderr.write(f"hint: {error.hint}\n")
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        raise SystemExit(130) from None
