"""The curves of a training: TensorBoard files in a folder and, when asked, Weights & Biases."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from intently.errors import MissingExtraError


class Tracker:
    """Writes figures by step; without a folder and without W&B it does nothing.

    folder: where TensorBoard's event files go (`tensorboard --logdir FOLDER`). wandb: also log to
    Weights & Biases; without WANDB_MODE and WANDB_API_KEY it stays offline, and `wandb sync` sends the run
    later. settings: what the run was started with, shown beside its curves. Raises MissingExtraError when
    a package is not installed.
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        wandb: bool = False,
        name: str = "",
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self._writer = _tensorboard(folder) if folder else None
        self._run = _wandb(folder, name, dict(settings or {})) if wandb else None

    def scalar(self, name: str, value: float, step: int) -> None:
        """One figure after `step` steps."""
        if self._writer:
            self._writer.add_scalar(name, value, step)
        if self._run:
            self._run.log({name: value}, step=step)

    def close(self) -> None:
        """Write what is left."""
        if self._writer:
            self._writer.close()
        if self._run:
            self._run.finish()

    def __enter__(self) -> Tracker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _tensorboard(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtraError("tensorboard", "train") from error
    return SummaryWriter(str(folder))


def _wandb(folder: Path | None, name: str, settings: dict[str, Any]) -> Any:
    try:
        import wandb
    except ImportError as error:
        raise MissingExtraError("wandb", "track") from error
    if not os.environ.get("WANDB_API_KEY"):
        os.environ.setdefault("WANDB_MODE", "offline")
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
    return wandb.init(
        project=os.environ.get("WANDB_PROJECT", "intently"),
        name=name or None,
        dir=str(folder) if folder else None,
        config=settings,
    )
