"""Settings that a shop gives to models by name, `[models.sequence]` of intently.toml: checked, laid over."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from typing import Any

from intently.errors import ConfigError, IntentlyError

Given = Mapping[str, Mapping[str, Any]]


def check(given: Given) -> None:
    """Refuse a model that there is none of, a setting it has not, and a value it cannot use.

    Raises ConfigError with the nearest name. Models are imported here, never fitted.
    """
    from intently.models import REGISTRY, model_class

    for model, settings in given.items():
        table = f"[models.{model}]"
        if model not in REGISTRY:
            raise ConfigError(f"{table}: no such model", hint=_near(model, list(REGISTRY)), field=model)
        kind = model_class(model)
        known = [name for name in inspect.signature(kind.__init__).parameters if name != "self"]
        for name in settings:
            if name not in known:
                raise ConfigError(
                    f"unknown setting {name!r} in {table}",
                    hint=_near(name, known) if known else "it has no settings",
                    field=name,
                )
        try:
            kind(**settings)
        except (IntentlyError, TypeError, ValueError, AttributeError) as error:
            told = error.message if isinstance(error, IntentlyError) else str(error)
            raise ConfigError(f"{table}: {told}", field=getattr(error, "field", "")) from error


def over(usual: Mapping[str, Any], mine: Mapping[str, Any]) -> dict[str, Any]:
    """`usual` settings with `mine` laid over them; a mapping in both is joined key by key.

    >>> over({"l2": 100.0, "weights": {"linear": 1.0}}, {"weights": {"covisit": 0.5}})
    {'l2': 100.0, 'weights': {'linear': 1.0, 'covisit': 0.5}}
    """
    out = dict(usual)
    for name, value in mine.items():
        before = out.get(name)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            out[name] = over(before, value)
        else:
            out[name] = value
    return out


def _near(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"allowed: {', '.join(known)}"
