"""The command that makes a language model of the shop's own text: pretrain."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from intently.errors import InputError

if TYPE_CHECKING:
    from intently.language.corpus import Corpus, Source
    from intently.language.pretraining_receipt import PretrainingReceipt
    from intently.language.pretraining_recipe import Recipe
    from intently.nn.tracking import Tracker

_EXAMPLES = """Examples, each on two cores:

intently pretrain --home .intently --minutes 10 --out models/tiny

intently pretrain --corpus reviews.jsonl --corpus notes.txt --kind gpt --size mini --out models/gpt

intently pretrain --home .intently --model models/minilm --method lora --out models/tuned"""


def register(app: typer.Typer) -> None:
    """Add this group's commands to the application."""
    app.command("pretrain", epilog=_EXAMPLES)(pretrain)


def pretrain(
    corpus: list[Path] = typer.Option(
        [],
        "--corpus",
        help="Text: .txt (a line a text), .jsonl, .parquet, .csv, also .gz; repeatable.",
    ),
    column: str = typer.Option("", "--column", help="Column of the files that holds the text."),
    home: Path | None = typer.Option(
        None, "--home", help="Also read this shop: its catalogue, and behaviour written as text."
    ),
    out: Path = typer.Option(..., "--out", help="Folder of the model; run again to go on after a stop."),
    kind: str = typer.Option(
        "bert", "--kind", help="From scratch: bert, roberta (hidden words), gpt (next)."
    ),
    size: str = typer.Option("tiny", "--size", help="From scratch: tiny, mini or small."),
    model: Path | None = typer.Option(None, "--model", help="Go on from: english, multilingual or a folder."),
    method: str = typer.Option(
        "full", "--method", help="With --model: full, lora, or head (only a new head)."
    ),
    minutes: float = typer.Option(10.0, "--minutes", help="How long it may take, about."),
    steps: int = typer.Option(0, "--steps", help="Exactly so many steps in place of --minutes."),
    learning_rate: float = typer.Option(0.0, "--learning-rate", help="0: what suits the size or the method."),
    held_out: float = typer.Option(0.05, "--held-out", help="Share of the texts kept aside to judge on."),
    seed: int = typer.Option(0, "--seed", help="Seed of everything random."),
    wandb: bool = typer.Option(False, "--wandb", help="Also log to W&B (offline without a key)."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON for machines."),
) -> None:
    """Pre-train a language model on text: from scratch, or going on from any transformers folder."""
    from intently.language.choice import named_encoder
    from intently.language.corpus import Corpus, file_source
    from intently.language.pretraining_recipe import Recipe

    if not corpus and home is None:
        raise InputError("nothing to read", hint="give files with --corpus, or a shop with --home")
    recipe = Recipe(
        kind=kind,
        size=size,
        start=named_encoder(model) if model else None,
        method=method,
        minutes=minutes,
        steps=steps,
        learning_rate=learning_rate,
        seed=seed,
    )
    sources = _shop(home) if home is not None else []
    sources += [file_source(path, column) for path in corpus]
    texts = Corpus(sources, held_out=held_out)
    _ = texts.facts  # what is wrong with the corpus is said before torch loads
    from intently.progress import note

    try:
        receipt = _recorded(texts, out, recipe, home or out, wandb)
    except KeyboardInterrupt:
        note("what was learned is kept; the same command goes on from here")
        raise
    _print_json(receipt) if as_json else _print(receipt, out)


def _recorded(texts: Corpus, out: Path, recipe: Recipe, home: Path, wandb: bool) -> PretrainingReceipt:
    """Train, and record it under the shop's folder, or beside the model where there is no shop."""
    from intently.language.pretraining import pretrain as run
    from intently.runs import record

    runs = []
    with ExitStack() as stack:

        def tracking(asked: Mapping[str, Any]) -> Tracker:
            facts = record(
                home, "pretrain", recipe.kind, settings=asked, headline="perplexity after", wandb=wandb
            )
            runs.append(stack.enter_context(facts))
            return runs[0].tracker

        receipt = run(texts, out, recipe, tracking=tracking)
        for one in runs:
            one.say(data=receipt.corpus)
            one.measured(
                recipe.kind, {f"perplexity {name}": value for name, value in receipt.perplexity.items()}
            )
    return receipt


def _shop(home: Path) -> list[Source]:
    """Catalogue and behaviour; the last horizon is left out, because models are judged on it."""
    from intently.config import load_settings
    from intently.language.corpus import behaviour_source, catalogue_source
    from intently.pipeline import load_shop

    settings = load_settings(home=home)
    shop = load_shop(settings)
    past = shop.as_of(shop.end_s - settings.horizon_days * 86400.0) if shop.timed else shop
    return [catalogue_source(shop), behaviour_source(past)]


def _print_json(receipt: PretrainingReceipt) -> None:
    import orjson

    typer.echo(orjson.dumps(receipt, option=orjson.OPT_INDENT_2).decode())


def _print(receipt: PretrainingReceipt, out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(width=100)
    words = {
        "unigram": "word frequencies alone",
        "fresh": "new head, untrained",
        "before": "before",
        "after": "after",
    }
    table = Table("held-out perplexity", box=None)
    table.add_column("a token", justify="right")
    for key, name in words.items():
        if key in receipt.perplexity:
            table.add_row(name, f"{receipt.perplexity[key]:,.2f}")
    console.print(table)
    if receipt.head_steps:
        console.print(f"before: a new head trained alone for {receipt.head_steps} steps", style="dim")
    corpus = receipt.corpus
    console.print(
        f"{corpus['texts']:,} distinct texts ({corpus['duplicates']:,} were said before), "
        f"{receipt.steps:,} steps, {receipt.passes:g} passes, {receipt.cpu_s:,.0f} CPU seconds, "
        f"{receipt.trained:,} of {receipt.parameters:,} parameters trained",
        style="dim",
    )
    typer.echo(f"{out} holds the model; its README.md says how to load it")
