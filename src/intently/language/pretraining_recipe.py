"""What a pre-training is asked to do, checked before torch loads.

Sizes are those of the small BERTs of Turc et al. (2019): tiny 2 layers of 128, mini 4 of 256, small 4 of 512.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from intently.errors import InputError
from intently.language.vocabulary import KINDS

SIZES: Final = {"tiny": (2, 128), "mini": (4, 256), "small": (4, 512)}  # layers, width; heads of 64
PRETRAINING_METHODS: Final = ("full", "lora", "head")
HEAD_RATE: Final = 1e-3

_RATES = {"tiny": 2e-3, "mini": 1e-3, "small": 5e-4}
_CONTINUED_RATES = {"full": 2e-4, "lora": 1e-3, "head": HEAD_RATE}


@dataclass(frozen=True)
class Recipe:
    """What to train and for how long.

    start: a transformers folder to go on from; without one, kind and size say what is made. steps: 0 finds
    them from `minutes`. learning_rate: 0 takes the default of the size or the method. tokens: of a batch.
    judged: tokens of held-out text that are judged before and after. Raises InputError for what is not
    allowed.
    """

    kind: str = "bert"
    size: str = "tiny"
    start: Path | None = None
    method: str = "full"
    minutes: float = 10.0
    steps: int = 0
    learning_rate: float = 0.0
    vocabulary: int = 8000
    max_tokens: int = 128
    tokens: int = 2048
    judged: int = 40_000
    seed: int = 0

    def __post_init__(self) -> None:
        allowed = (
            ("kind", self.kind, KINDS),
            ("size", self.size, tuple(SIZES)),
            ("method", self.method, PRETRAINING_METHODS),
        )
        for name, value, choices in allowed:
            if value not in choices:
                raise InputError(f"unknown {name} {value!r}; allowed: {', '.join(choices)}", field=name)
        if self.start is None and self.method != "full":
            hint = "give a folder with --model, or leave --method out"
            raise InputError(f"method {self.method} needs a model to start from", hint=hint)
        if self.steps < 0 or (self.steps == 0 and self.minutes <= 0):
            raise InputError(f"minutes must be above 0, got {self.minutes}", field="minutes")
        if self.tokens < self.max_tokens or self.max_tokens < 8:
            raise InputError(f"max_tokens must lie between 8 and tokens {self.tokens}, got {self.max_tokens}")

    @property
    def rate(self) -> float:
        """The highest learning rate."""
        return self.learning_rate or (_CONTINUED_RATES[self.method] if self.start else _RATES[self.size])
