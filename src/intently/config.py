"""One typed, frozen `Settings` from one `intently.toml`.

Unknown keys are refused with "did you mean"; the environment is read only for secrets and paths
(`INTENTLY_HOME`). Every default is written here once.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from intently.errors import ConfigError
from intently.schema import SPEEDS, TARGETS


class Settings(BaseModel):
    """Everything a shop can set. Times carry their unit in the name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    home: Path = Field(default=Path(".intently"), description="folder of the store and artifacts")
    host: str = Field(default="127.0.0.1", description="address the service listens on")
    port: int = Field(default=8000, ge=0, le=65535, description="port the service listens on")
    target: str = Field(default="", description="event to predict; empty: the strongest present")
    horizon_days: float = Field(default=28.0, gt=0, description="P(event within this many days)")
    encoder: str = Field(default="", description="path of a transformers folder; empty: by the texts")
    speed: str = Field(default="auto", description="auto, exact, fast or fastest: how texts are encoded")
    seed: int = Field(default=0, ge=0, description="seed of everything random")
    threads: int = Field(default=0, ge=0, description="threads that answer requests; 0: the cores, at most 4")

    @field_validator("target")
    @classmethod
    def _known_event(cls, target: str) -> str:
        if target and target not in TARGETS:
            raise ValueError(f"must be one of {', '.join(TARGETS)}")
        return target

    @field_validator("speed")
    @classmethod
    def _known_speed(cls, speed: str) -> str:
        if speed not in SPEEDS:
            raise ValueError(f"must be one of {', '.join(SPEEDS)}")
        return speed

    @property
    def store_path(self) -> Path:
        """The SQLite file with events, items and users."""
        return self.home / "store.db"

    @property
    def artifacts(self) -> Path:
        """The folder under which artifacts are published; `live` names the one that answers."""
        return self.home / "artifacts"


def load_settings(path: Path | None = None, **overrides: Any) -> Settings:
    """Read `intently.toml` (if there), then INTENTLY_HOME, then explicit overrides that are not None.

    Raises ConfigError for a file that is not TOML, an unknown key or a value out of range.
    """
    source = path or Path("intently.toml")
    values: dict[str, Any] = {}
    if path is not None and not path.exists():
        raise ConfigError(f"no settings file at {path}", hint="check --config")
    if source.exists():
        try:
            values = tomllib.loads(source.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{source} is not valid TOML: {error}") from error
    if home := os.environ.get("INTENTLY_HOME"):
        values["home"] = home
    values |= {key: value for key, value in overrides.items() if value is not None}
    known = list(Settings.model_fields)
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"allowed: {', '.join(known)}"
            raise ConfigError(f"unknown setting {key!r} in {source}", hint=hint, field=key)
    try:
        return Settings(**values)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise ConfigError(
            f"setting {field!r}: {first['msg'].lower()}, got {first['input']!r}", field=field
        ) from error
