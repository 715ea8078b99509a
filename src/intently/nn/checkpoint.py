"""Where a training stands, in one file that is whole or not there: tensors, and JSON in its header.

The file is written aside, synced and renamed, so a kill, Ctrl-C or a full disk at any moment leaves the
checkpoint before. Nothing in it is code: safetensors holds the weights, the moments of AdamW and the best
weights, its header holds one JSON object with step, epoch and curve.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from intently.errors import ArtifactError, IntentlyError

FILE = "checkpoint.safetensors"


def write_checkpoint(folder: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Replace the checkpoint in `folder`.

    Raises IntentlyError when it cannot be written (disk full, no permission); the one before is kept.
    """
    target, aside = folder / FILE, folder / (FILE + ".new")
    own = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(own, aside, metadata={"state": json.dumps(state)})
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(aside, target)
    except (OSError, SafetensorError) as error:
        aside.unlink(missing_ok=True)
        raise IntentlyError(
            f"the checkpoint {target} cannot be written: {error}",
            hint="free disk space and run the same again: it goes on from the last good checkpoint",
        ) from error


def read_checkpoint(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """(tensors, state), or None when there is none; raises ArtifactError for a damaged one."""
    path = folder / FILE
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            state = json.loads(file.metadata()["state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        hint = "remove it to start this training again"
        raise ArtifactError(f"the checkpoint {path} is damaged: {error}", hint=hint) from error
    return tensors, state
