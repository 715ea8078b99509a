"""The encoder that a shop reads its catalogue with: published whole, switched by one rename.

HOME/encoders/next-lora-20260131-120000/    a transformers folder, its receipt, its model card
HOME/encoders/live -> next-lora-...         what `train` reads with (choice.py)
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from intently.language import receipt
from intently.language.receipt import Receipt
from intently.language.tune import replace_folder

ENCODERS = ("next", "together")
"""Objectives that make an encoder; the others make a classifier, which has its own folder."""


def publish(home: Path, made: dict[str, Path], receipts: Sequence[Receipt]) -> tuple[Path | None, str]:
    """Put the winner's folder under `home` and let it answer; None when the untuned model is kept.

    made: method -> folder that `tune` wrote, which is moved. Returns the folder and what to say.
    """
    winner, told = receipt.verdict(receipts)
    if winner is None:
        return None, told
    room = home / ("encoders" if winner.objective in ENCODERS else "classifiers")
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    target = room / f"{winner.objective}-{winner.method}-{stamp}"
    source = made[winner.method]
    others = [one for one in receipts if one is not winner]
    (source / "README.md").write_text(receipt.card(winner, told, others), encoding="utf-8")
    room.mkdir(parents=True, exist_ok=True)
    draft = room / f".{target.name}.draft"
    shutil.rmtree(draft, ignore_errors=True)
    shutil.move(source, draft)
    replace_folder(draft, target)
    _switch(room / "live", target)
    return target, told


def _switch(live: Path, target: Path) -> None:
    """Let `live` lead to `target`, at no moment to nothing; a copy where there are no links."""
    draft = live.with_name(f".live-{os.getpid()}")
    draft.unlink(missing_ok=True)
    try:
        draft.symlink_to(target.name, target_is_directory=True)
    except OSError:  # Windows without the right to make links
        shutil.copytree(target, draft)
        replace_folder(draft, live)
        return
    os.replace(draft, live)
