"""The command that tunes a language model and prints its receipt: tune."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from intently.errors import InputError

if TYPE_CHECKING:
    from intently.config import Settings
    from intently.language.classification import Guard
    from intently.language.methods import Method
    from intently.language.objective import Objective
    from intently.language.receipt import Receipt
    from intently.nn.finetuning import Schedule
    from intently.runs import Run

OBJECTIVES = ("next", "together", "click", "label")

HOME = typer.Option(None, "--home", help="Folder of the shop (default .intently).")
CONFIG = typer.Option(None, "--config", help="Settings file instead of intently.toml.")
AS_JSON = typer.Option(False, "--json", help="Print JSON for machines.")

_EXAMPLES = """Examples:

intently tune --minutes 10

intently tune --compare --minutes 30 --objective next

intently tune --objective click --method full --class-weights

intently tune --objective label --file mails.csv --text body --label topic --out models/topics"""


def register(app: typer.Typer) -> None:
    """Add this group's command to the application."""
    app.command("tune", epilog=_EXAMPLES)(tune)


@dataclass(frozen=True)
class _Data:
    """Where the examples come from."""

    objective: str
    file: Path | None
    text: str
    label: str
    model: Path | None
    seed: int


def tune(
    method: str = typer.Option("lora", "--method", help="full, lora, adalora or adapter."),
    objective: str = typer.Option("next", "--objective", help="next, together, click or label."),
    compare: bool = typer.Option(False, "--compare", help="All four methods, sharing --minutes."),
    minutes: float = typer.Option(10.0, "--minutes", help="How long it may train; 0: --epochs alone."),
    epochs: int = typer.Option(0, "--epochs", help="At most so many passes; 0: 3, or what fits --minutes."),
    model: Path | None = typer.Option(None, "--model", help="Begin with: english, multilingual or a folder."),
    file: Path | None = typer.Option(None, "--file", help="label: .csv, .jsonl or .parquet, also .gz."),
    text: str = typer.Option("text", "--text", help="label: column of the text."),
    label: str = typer.Option("label", "--label", help="label: column of the class."),
    out: Path | None = typer.Option(None, "--out", help="Write here, and let the shop's encoder alone."),
    learning_rate: float = typer.Option(0.0, "--learning-rate", help="0: what suits the method."),
    weight_decay: float = typer.Option(0.01, "--weight-decay", help="Pull of the weights to nothing."),
    dropout: float = typer.Option(-1.0, "--dropout", help="Of every layer; -1: as the model says."),
    smoothing: float = typer.Option(0.0, "--label-smoothing", help="click, label: truth shared by all."),
    class_weights: bool = typer.Option(
        False, "--class-weights", help="click, label: rare classes count more."
    ),
    augment: float = typer.Option(0.0, "--augment", help="Share of tokens hidden, and of events left out."),
    patience: int = typer.Option(3, "--patience", help="Evaluations without a gain until it stops; 0: off."),
    rank: int = typer.Option(8, "--rank", help="lora, adalora: rank of the change."),
    bottleneck: int = typer.Option(32, "--bottleneck", help="adapter: width."),
    placement: str = typer.Option("pfeiffer", "--placement", help="adapter: pfeiffer or houlsby."),
    seed: int = typer.Option(0, "--seed", help="Seed of everything random."),
    wandb: bool = typer.Option(False, "--wandb", help="Also log to W&B (offline without a key)."),
    home: Path | None = HOME,
    config: Path | None = CONFIG,
    as_json: bool = AS_JSON,
) -> None:
    """Tune a language model to the shop, and print what it cost and what it brought."""
    from intently.config import load_settings

    _check(objective, minutes, epochs, file)
    settings = load_settings(config, home=home)
    from intently.language.methods import METHODS, Method
    from intently.nn.finetuning import Schedule

    names = METHODS if compare else (method,)
    chosen = [
        Method(name, rank=rank, alpha=2 * rank, bottleneck=bottleneck, placement=placement) for name in names
    ]
    schedule = Schedule(
        epochs=epochs or (1000 if minutes > 0 else 3),
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        minutes=minutes,
        patience=patience,
        seed=seed,
    )
    data = _Data(objective, file, text, label, model, seed)
    task, folder, facts = _objective(data, settings, _guard(dropout, smoothing, class_weights, augment))
    room = _room(settings, data, chosen, schedule)
    receipts, told, place = _recorded(folder, task, chosen, schedule, room, settings, facts, out, wandb)
    _say(receipts, told, place, as_json)


def _check(objective: str, minutes: float, epochs: int, file: Path | None) -> None:
    if objective not in OBJECTIVES:
        raise InputError(
            f"unknown objective {objective!r}; allowed: {', '.join(OBJECTIVES)}", field="objective"
        )
    if not minutes >= 0.0:
        raise InputError(f"minutes must be 0 or more, got {minutes}", field="minutes")
    if epochs < 0:
        raise InputError(f"epochs must be 0 or more, got {epochs}", field="epochs")
    if (objective == "label") != (file is not None):
        raise InputError(
            "--file goes with --objective label, and only with it",
            hint="intently tune --objective label --file mails.csv --text body --label topic",
        )


def _guard(dropout: float, smoothing: float, class_weights: bool, augment: float) -> Guard:
    from intently.language.classification import Guard

    return Guard(
        dropout=dropout,
        smoothing=smoothing,
        class_weights=class_weights,
        token_mask=augment,
        event_dropout=augment,
        event_crop=augment,
    )


def _objective(data: _Data, settings: Settings, guard: Guard) -> tuple[Objective[Any], Path, dict[str, Any]]:
    """The objective, the folder that is tuned, and which data is learned from."""
    from intently.language import click, label, next_text, together
    from intently.language.catalogue import catalogue_text
    from intently.language.contrast import Contrasting
    from intently.pipeline import load_shop
    from intently.runs.record import data_facts

    if data.file is not None:
        texts = label.read_table(data.file).get_column(data.text, default=None)
        folder = _begin(data.model, [] if texts is None else texts.drop_nulls().to_list())
        task: Objective[Any] = label.from_file(
            data.file, data.text, data.label, folder, guard=guard, seed=data.seed
        )
        return task, folder, {"file": data.file.name, "bytes": data.file.stat().st_size}
    shop = load_shop(settings)
    titles = catalogue_text(shop)
    if not any(titles):
        raise InputError("no item of this shop has a text", hint="import items with a title")
    folder = _begin(data.model or settings.encoder, titles)
    facts = data_facts(shop)
    if data.objective == "click":
        from intently.language.click import ClickSettings

        asked = ClickSettings(event=settings.target, horizon_days=settings.horizon_days, seed=data.seed)
        return click.from_shop(shop, asked, folder, guard=guard, seed=data.seed), folder, facts
    make = next_text.from_shop if data.objective == "next" else together.from_shop
    contrasting = Contrasting(mask_share=guard.token_mask)
    return make(shop, folder, contrasting, dropout=guard.dropout, seed=data.seed), folder, facts


def _begin(asked: Path | str | None, texts: Sequence[str]) -> Path:
    """The folder that is tuned: what is asked for, else what suits the texts."""
    from intently.language import choice

    return choice.named_encoder(asked) if asked else choice.encoder_for(texts)


def _room(settings: Settings, data: _Data, chosen: Sequence[Method], schedule: Schedule) -> Path:
    """Where this very tuning works: an interrupted one is gone on with when it is asked for again."""
    said = json.dumps([str(data), [str(method) for method in chosen], str(schedule)])
    name = hashlib.sha256(said.encode()).hexdigest()[:12]
    return settings.home / "tuning" / f"{data.objective}-{name}"


def _recorded(
    folder: Path,
    task: Objective[Any],
    chosen: Sequence[Method],
    schedule: Schedule,
    room: Path,
    settings: Settings,
    facts: dict[str, Any],
    out: Path | None,
    wandb: bool,
) -> tuple[list[Receipt], str, Path | None]:
    """Tune, place what wins, and record it under the home; the receipts, what is told, and the place."""
    from intently.runs import record

    asked = {
        "objective": task.name,
        "base": folder.name,
        "schedule": asdict(schedule),
        **{one.name: asdict(one) for one in chosen},
    }
    headline = f"all {task.judged} after"
    wandb = wandb or settings.wandb
    one = chosen[0].name if len(chosen) == 1 else "compare"
    with record(
        settings.home, "tune", one, settings=asked, headline=headline, wandb=wandb and one != "compare"
    ) as run:
        run.say(data=facts)
        receipts = _train(folder, task, chosen, schedule, room, run, wandb)
        told, place = _place(receipts, room, settings, out)
        for receipt in receipts:
            run.measured(receipt.method, _figures(receipt))
        run.say(verdict=told)
    return receipts, told, place


def _figures(receipt: Receipt) -> dict[str, Any]:
    """What a run keeps of one method."""
    told = {
        f"{name} {receipt.metric} {side}": interval
        for name, group in receipt.groups.items()
        for side, interval in (("before", group.before), ("after", group.after), ("gain", group.gain))
    }
    return told | {"validation": receipt.validation, "cpu_s": receipt.cpu_s, "peak_mb": receipt.peak_mb}


def _train(
    folder: Path,
    task: Objective[Any],
    chosen: Sequence[Method],
    schedule: Schedule,
    room: Path,
    run: Run,
    wandb: bool,
) -> list[Receipt]:
    from intently.language.tune import compare, tune

    if len(chosen) > 1:
        receipts = compare(folder, task, chosen, schedule, room, tracks=run.folder, wandb=wandb)
        run.gather([method.name for method in chosen])
        return receipts
    name = chosen[0].name
    checkpoint = room / f"{name}.checkpoint"
    return [tune(folder, task, chosen[0], schedule, room / name, checkpoint=checkpoint, tracker=run.tracker)]


def _place(
    receipts: Sequence[Receipt], room: Path, settings: Settings, out: Path | None
) -> tuple[str, Path | None]:
    """Publish under the shop's home, or move the best to `out`; then tidy up."""
    from intently.language import receipt
    from intently.language.publish import publish
    from intently.language.tune import replace_folder

    made = {one.method: room / one.method for one in receipts}
    if out is None:
        place, told = publish(settings.home, made, receipts)
    else:
        best = max(receipts, key=lambda one: one.gain.value)
        told = receipt.verdict(receipts)[1]
        out.parent.mkdir(parents=True, exist_ok=True)
        draft = out.with_name(f".{out.name}.draft")
        shutil.rmtree(draft, ignore_errors=True)
        shutil.move(made[best.method], draft)
        replace_folder(draft, out)
        place = out
    for folder in made.values():
        shutil.rmtree(folder, ignore_errors=True)
    return told, place


def _say(receipts: Sequence[Receipt], told: str, place: Path | None, as_json: bool) -> None:
    from intently.language import receipt

    if as_json:
        import orjson

        said = {
            "verdict": told,
            "folder": str(place) if place else None,
            "receipts": [receipt.plain(one) for one in receipts],
        }
        typer.echo(orjson.dumps(said, option=orjson.OPT_INDENT_2).decode())
        return
    from rich.console import Console
    from rich.table import Table

    console = Console(width=100)
    costs = Table(title=f"{receipts[0].objective}: what it cost", box=None)
    gains = Table(title=f"{receipts[0].metric} on held-back behaviour, untuned > tuned", box=None)
    table = receipt.rows(receipts)
    cost_names = [name for name in table[0] if name in receipt.COSTS]
    gain_names = ["method", *(name for name in table[0] if name not in receipt.COSTS)]
    for shown, names in ((costs, cost_names), (gains, gain_names)):
        for name in names:
            shown.add_column(name, justify="left" if name == "method" else "right")
        for row in table:
            shown.add_row(*(row[name] for name in names))
        console.print(shown)
    typer.echo(told)
    if place is not None:
        typer.echo(f"{place} holds it, with its receipt")
