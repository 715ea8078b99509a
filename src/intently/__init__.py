"""Intently predicts what each shopper will do next.

    from intently import Dataset, Linear, evaluate

The public names load on first use, so that `import intently` stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "Dataset": "intently.data",
    "Histories": "intently.data",
    "TextEncoder": "intently.language",
    "Popular": "intently.models.popular",
    "Repeat": "intently.models.repeat",
    "CoVisit": "intently.models.covisit",
    "Linear": "intently.models.linear",
    "Blend": "intently.models.blend",
    "Ensemble": "intently.models.ensemble",
    "Content": "intently.models.content",
    "Sequence": "intently.models.sequence",
    "TwoTower": "intently.models.two_tower",
    "Graph": "intently.models.graph",
    "Adversarial": "intently.models.adversarial",
    "Boosted": "intently.models.boosted",
    "Click": "intently.models.click",
    "evaluate": "intently.evaluate",
    "load_settings": "intently.config",
    "Settings": "intently.config",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'intently' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
