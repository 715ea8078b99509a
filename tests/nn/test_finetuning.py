"""The training loop of language models keeps its best, and goes on after a kill as if nothing happened."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from intently.errors import ArtifactError, InputError, IntentlyError
from intently.nn.checkpoint import FILE, read_checkpoint, write_checkpoint
from intently.nn.finetuning import Course, Schedule, finetune

SCHEDULE = Schedule(epochs=3, learning_rate=0.01, every=4, seed=3)


class Net(nn.Module):
    """Two layers with dropout between, so that every step draws random numbers."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.3), nn.Tanh(), nn.Linear(8, 1))

    def forward(self, rows: Tensor) -> Tensor:
        return self.layers(rows)


def batches(epoch: int) -> list[Tensor]:
    """Ten batches of eight rows; another order each epoch."""
    rows = torch.randn(10, 8, 4, generator=torch.Generator().manual_seed(epoch))
    return list(rows)


def run(
    net: nn.Module, folder: Path | None = None, schedule: Schedule = SCHEDULE, kill_at: int = 0
) -> Course:
    """Learn the sum of a row; SIGKILL oneself inside step `kill_at`."""
    asked = 0

    def loss(rows: Tensor) -> Tensor:
        nonlocal asked
        asked += 1
        if asked == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return nn.functional.mse_loss(net(rows)[:, 0], rows.sum(1))

    def judge() -> dict[str, float]:
        with torch.no_grad():
            rows = batches(99)[0]
            return {"gain": -float(nn.functional.mse_loss(net(rows)[:, 0], rows.sum(1)))}

    return finetune(net, batches, loss, schedule, evaluate=judge, metric="gain", checkpoint=folder)


def weights(net: nn.Module) -> list[list[float]]:
    return [p.detach().flatten().tolist() for p in net.parameters()]


def test_a_killed_training_goes_on_to_the_same_curve_bit_for_bit(tmp_path: Path) -> None:
    """SIGKILL at two moments, then to the end: marks and weights as if it had never been killed."""
    torch.set_num_threads(1)
    straight = Net()
    course = run(straight)
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import torch; torch.set_num_threads(1)\n"
        "from pathlib import Path; from test_finetuning import Net, run\n"
        "run(Net(), Path(sys.argv[2]), kill_at=int(sys.argv[3]))"
    )
    for kill_at in (11, 7):
        words = [sys.executable, "-c", script, str(Path(__file__).parent), str(tmp_path), str(kill_at)]
        assert subprocess.run(words, capture_output=True, check=False).returncode == -signal.SIGKILL
    resumed = Net()
    again = run(resumed, tmp_path)
    assert again.marks == course.marks
    assert weights(resumed) == weights(straight)
    assert again.steps == 30
    assert again.stopped == "finished"


def test_a_finished_training_is_not_trained_again(tmp_path: Path) -> None:
    net = Net()
    course = run(net, tmp_path)
    other = Net()
    again = run(other, tmp_path, kill_at=1)  # would die at its first step
    assert again.marks == course.marks
    assert weights(other) == weights(net)


def test_ctrl_c_writes_where_it_stands_and_is_raised_again(tmp_path: Path) -> None:
    net, straight = Net(), Net()
    course = run(straight)

    def stop(step: int) -> None:
        if step == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune(
            net, batches, lambda rows: nn.functional.mse_loss(net(rows)[:, 0], rows.sum(1)), SCHEDULE,
            evaluate=lambda: {"gain": 0.0}, metric="gain", after_step=stop, checkpoint=tmp_path,
        )  # fmt: skip
    found = read_checkpoint(tmp_path)
    assert found is not None
    assert found[1]["state"]["step"] == 4  # inside an update the last mark stands
    assert len(run(Net(), tmp_path).marks) == len(course.marks)


def test_the_best_weights_are_left_in_place_and_patience_ends_it() -> None:
    net = Net()
    figures = iter([0.1, 0.9, 0.3, 0.2, 0.1])
    kept: list[list[list[float]]] = []

    def judge() -> dict[str, float]:
        kept.append(weights(net))
        return {"f1": next(figures)}

    course = finetune(
        net, batches, lambda rows: net(rows).square().mean(),
        Schedule(epochs=5, every=5, patience=2), evaluate=judge, metric="f1",
    )  # fmt: skip
    assert course.stopped == "patience"
    assert course.steps == 20
    assert course.best is not None
    assert course.best.metrics == {"f1": 0.9}
    assert [mark.step for mark in course.marks] == [5, 10, 15, 20]
    assert weights(net) == kept[1]
    assert not net.training


def test_minutes_end_a_training_with_an_evaluation() -> None:
    net = Net()
    course = run(net, schedule=Schedule(epochs=10_000, minutes=0.005))
    assert course.stopped == "minutes"
    assert course.marks[-1].step == course.steps


def test_only_what_requires_a_gradient_is_trained_and_kept(tmp_path: Path) -> None:
    net = Net()
    for parameter in net.layers[0].parameters():
        parameter.requires_grad = False
    before = net.layers[0].weight.detach().clone()
    run(net, tmp_path)
    assert torch.equal(net.layers[0].weight, before)
    found = read_checkpoint(tmp_path)
    assert found is not None
    assert {name.rsplit("/", 1)[1] for name in found[0]} == {"layers.3.weight", "layers.3.bias"}


def test_a_loss_that_is_no_number_is_named() -> None:
    net = Net()
    with pytest.raises(IntentlyError, match="loss became nan at step 1"):
        finetune(net, batches, lambda rows: net(rows).sum() * math.nan, SCHEDULE)


def test_what_cannot_be_trained_is_refused(tmp_path: Path) -> None:
    net = Net()
    with pytest.raises(InputError, match="no batches"):
        finetune(net, lambda _epoch: [], lambda rows: net(rows).sum(), SCHEDULE)
    with pytest.raises(InputError, match="gave no 'f1', only loss"):
        finetune(
            net, batches, lambda rows: net(rows).mean(), SCHEDULE, evaluate=lambda: {"loss": 1.0}, metric="f1"
        )
    run(net, tmp_path)
    with pytest.raises(InputError, match="other settings"):
        run(net, tmp_path, Schedule(epochs=4))
    net.requires_grad_(False)
    with pytest.raises(InputError, match="nothing to train"):
        run(net)


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    import resource

    write_checkpoint(tmp_path, {"a": torch.ones(2)}, {"step": 1})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(IntentlyError, match="cannot be written"):
            write_checkpoint(tmp_path, {"a": torch.ones(2000)}, {"step": 2})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    found = read_checkpoint(tmp_path)
    assert found is not None
    assert found[1] == {"step": 1}
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(json.dumps({"no": "tensors"}).encode())
    with pytest.raises(ArtifactError, match="is damaged"):
        run(Net(), tmp_path)
