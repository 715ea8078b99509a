"""A model made of other models, which are kept in a folder of their own inside its folder."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from intently import progress
from intently.data import Dataset
from intently.errors import ArtifactError, InputError
from intently.models.base import REPEAT_SHARE, Recommender
from intently.models.start import Start

Members = Mapping[str, Mapping[str, Any]]


class Composite(Recommender):
    """Base of `blend` and `ensemble`; `models` maps a member to its settings, None: the usual ones."""

    def __init__(self, models: Members | Sequence[str] | None) -> None:
        super().__init__()
        self.models = named(models)
        self.members: dict[str, Recommender] = {}  # fitted, in the order of their names

    @property
    @abstractmethod
    def _n_members(self) -> int:
        """How many members the fitted state speaks of."""

    def save(self, folder: Path) -> None:
        """Write this model and, under members/, the models that it is made of."""
        super().save(folder)
        for name, member in self.members.items():
            member.save(folder / "members" / name)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The model that `save` wrote, with its members; raises ArtifactError when one is missing."""
        from intently.models import model_class

        model = super().load(folder)
        names = sorted(path.name for path in (folder / "members").glob("*") if path.is_dir())
        if len(names) != model._n_members:
            raise ArtifactError(f"{folder} has {len(names)} members, expected {model._n_members}")
        model.members = {name: model_class(name).load(folder / "members" / name) for name in names}
        return model


def fitted_members(given: Members, dataset: Dataset, start: Start | None = None) -> dict[str, Recommender]:
    """The members, each learned from `dataset`, in the order of their names."""
    from intently.models import model_class

    out = {}
    with progress.track("fitting members", len(given)) as advance:
        for name in sorted(given):
            with progress.part(name):
                out[name] = model_class(name)(**given[name]).fit(dataset, start)
            advance(1)
    return out


def usual_members(dataset: Dataset) -> dict[str, dict[str, Any]]:
    """What is fused where nobody says: `content` needs texts, `repeat` customers who buy again."""
    names = ["linear", "covisit"]
    if dataset.vectors is not None:
        names.append("content")
    if dataset.repeat_share > REPEAT_SHARE:
        names.append("repeat")
    return {name: {} for name in names}


def named(models: Members | Sequence[str] | None) -> dict[str, dict[str, Any]] | None:
    """Members with their settings from either form; raises InputError when there is none."""
    if models is None:
        return None
    if isinstance(models, str) or not models:
        raise InputError(f"models must name at least one member, got {models!r}", field="models")
    if isinstance(models, Mapping):
        return {name: dict(settings) for name, settings in models.items()}
    return {name: {} for name in models}
