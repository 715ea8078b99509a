"""The curves of a training: TensorBoard files in a folder and, when asked, Weights & Biases."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from intently.errors import MissingExtraError

CURVES = "curves.json"


class Tracker:
    """Writes figures by step; without a folder and without W&B it only keeps them.

    folder: where TensorBoard's event file goes (`tensorboard --logdir FOLDER`), and `curves.json` at the end.
    wandb: also log to Weights & Biases; without WANDB_MODE and WANDB_API_KEY it stays offline, and
    `wandb sync` sends the run later. settings: what the run was started with, shown beside its curves.
    Raises MissingExtraError when a package is not installed.

    `curves` holds name -> [(step, value), ...] of what was written.
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        wandb: bool = False,
        name: str = "",
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = folder
        self.curves: dict[str, list[tuple[int, float]]] = {}
        self._writer = _Events(folder) if folder else None
        self._run = _wandb(folder, name, dict(settings or {})) if wandb else None
        if self._writer and settings:
            self._writer.text("settings", json.dumps(settings, indent=1, default=str))

    def scalar(self, name: str, value: float, step: int) -> None:
        """One figure after `step` steps; what is not a number is left out."""
        if not math.isfinite(value):
            return
        self.curves.setdefault(name, []).append((step, float(value)))
        if self._writer:
            self._writer.scalar(name, value, step)
        if self._run:
            self._run.log({name: value, "step": step})  # parts of one model each count from 1

    def close(self) -> None:
        """Write what is left."""
        if self._writer:
            self._writer.close()
        if self.folder and self.curves:
            (self.folder / CURVES).write_text(json.dumps(self.curves), encoding="utf-8")
        if self._run:
            self._run.finish()

    def __enter__(self) -> Tracker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Events:
    """TensorBoard's own event file, written without torch: naming a run must not load it."""

    def __init__(self, folder: Path) -> None:
        try:
            from tensorboard.compat.proto import event_pb2, summary_pb2
            from tensorboard.summary.writer.event_file_writer import EventFileWriter
        except ImportError as error:
            raise MissingExtraError("tensorboard", "train") from error
        self._event, self._summary = event_pb2.Event, summary_pb2
        self._writer = EventFileWriter(str(folder), flush_secs=10)

    def scalar(self, name: str, value: float, step: int) -> None:
        self._add(self._summary.Summary.Value(tag=name, simple_value=value), step)

    def text(self, name: str, said: str) -> None:
        from tensorboard.compat.proto import tensor_pb2, types_pb2

        about = self._summary.SummaryMetadata(
            plugin_data=self._summary.SummaryMetadata.PluginData(plugin_name="text")
        )
        indented = "\n".join("    " + line for line in said.splitlines())  # Markdown: a block of code
        tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, string_val=[indented.encode()])
        self._add(self._summary.Summary.Value(tag=name, metadata=about, tensor=tensor), 0)

    def close(self) -> None:
        self._writer.close()

    def _add(self, value: Any, step: int) -> None:
        summary = self._summary.Summary(value=[value])
        self._writer.add_event(self._event(wall_time=time.time(), step=step, summary=summary))


def _wandb(folder: Path | None, name: str, settings: dict[str, Any]) -> Any:
    try:
        import wandb
    except ImportError as error:
        raise MissingExtraError("wandb", "track") from error
    if not os.environ.get("WANDB_API_KEY"):
        os.environ.setdefault("WANDB_MODE", "offline")
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
    run = wandb.init(
        project=os.environ.get("WANDB_PROJECT", "intently"),
        name=name or None,
        dir=str(folder) if folder else None,
        config=settings,
    )
    run.define_metric("*", step_metric="step")
    return run
