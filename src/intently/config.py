"""One typed, frozen `Settings` from one `intently.toml`.

Unknown keys are refused with "did you mean"; the environment is read only for secrets and paths
(`INTENTLY_HOME`). Every default is written here once.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from intently.errors import ConfigError
from intently.schema import SPEEDS, TARGETS

_ORIGIN = re.compile(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:]+\])(?::[0-9]{1,5})?")


class Limits(BaseModel):
    """[limits]: how much may be asked of the service; 0: no limit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    session_per_s: float = Field(default=20.0, ge=0, description="requests a second of one browser session")
    address_per_s: float = Field(
        default=200.0, ge=0, description="requests a second of one address, from browsers and without a key"
    )
    key_per_s: float = Field(default=0.0, ge=0, description="requests a second of one server or admin key")
    at_once: int = Field(default=200, ge=1, description="requests in work at a time; more get a 503")
    connections: int = Field(default=2000, ge=16, description="connections that may be open")
    proxy: str = Field(
        default="", description="address of the proxy whose X-Forwarded-For names the client; empty: none"
    )


class Settings(BaseModel):
    """Everything a shop can set. Times carry their unit in the name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    home: Path = Field(default=Path(".intently"), description="folder of the store and artifacts")
    store: str = Field(
        default="", description="postgresql://user@host/name of a database; empty: a file in the home"
    )
    redis: str = Field(
        default="",
        description="redis://host:6379/0, by which several services of one shop hear of each other",
    )
    workers: int = Field(
        default=1, ge=1, le=64, description="processes that answer; more than one need `store` and `redis`"
    )
    host: str = Field(default="127.0.0.1", description="address the service listens on")
    port: int = Field(default=8000, ge=0, le=65535, description="port the service listens on")
    target: str = Field(default="", description="event to predict; empty: the strongest present")
    horizon_days: float = Field(default=28.0, gt=0, description="P(event within this many days)")
    encoder: str = Field(
        default="", description="english, multilingual or a transformers folder; empty: by the texts"
    )
    speed: str = Field(default="auto", description="auto, exact, fast or fastest: how texts are encoded")
    pictures: Path | None = Field(
        default=None, description="folder of the pictures that items name; none: they are not read"
    )
    minutes: float = Field(
        default=0.0, ge=0, description="what training may take on two cores; 0: what the data is worth"
    )
    seed: int = Field(default=0, ge=0, description="seed of everything random")
    wandb: bool = Field(default=False, description="also log every run to W&B, offline without a key")
    models: Mapping[str, Mapping[str, Any]] = Field(
        default_factory=dict,
        description="[models.NAME]: settings of a model, as `intently search` writes them",
    )
    scenarios: Mapping[str, Mapping[str, Any]] = Field(
        default_factory=dict,
        description="[scenarios.NAME]: what lists of that name are made of (serving/state/scenarios.py)",
    )
    experiments: Mapping[str, Mapping[str, Any]] = Field(
        default_factory=dict,
        description="[experiments.NAME]: arms of a scenario's users (serving/state/experiments.py)",
    )
    limits: Limits = Field(default=Limits(), description="[limits]: how much may be asked")
    online: bool = Field(default=True, description="learn the ranking's last layer while serving")
    attribution_hours: float = Field(
        default=24.0, gt=0, le=24 * 90, description="what is met so long after a list counts as its outcome"
    )
    explore_share: float = Field(
        default=0.0, ge=0, le=1, description="share of lists that may show what is new; 0: none"
    )
    explore_slots: int = Field(default=1, ge=1, le=5, description="places of such a list, its last ones")
    read_ahead: int = Field(
        default=20_000,
        ge=0,
        description="users here last whose lists are made ready while nobody asks, 4 KB each; 0: none",
    )
    require_key: bool = Field(default=False, description="ask for a key on loopback too, behind a proxy")
    origins: tuple[str, ...] = Field(
        default=(), description="of pages that may ask from a browser, as https://shop.example"
    )
    threads: int = Field(default=0, ge=0, description="threads that answer requests; 0: the cores, at most 4")
    decisions_days: float = Field(
        default=30.0, ge=0, description="how long it is kept why each list was answered; 0: not at all"
    )
    decisions_mb: float = Field(
        default=1024.0, ge=1, description="what that may take on disk, oldest go first"
    )

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

    @field_validator("origins")
    @classmethod
    def _plain_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for one in origins:
            if not _ORIGIN.fullmatch(one):
                raise ValueError(
                    "must be origins as a browser sends them: https://shop.example, no path, no *"
                )
        return origins

    @field_validator("store")
    @classmethod
    def _postgres(cls, store: str) -> str:
        if store and not store.startswith(("postgresql://", "postgres://")):
            raise ValueError("must begin with postgresql:// or be left out")
        return store

    @field_validator("redis")
    @classmethod
    def _redis(cls, redis: str) -> str:
        if redis and not redis.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("must begin with redis://, rediss:// or unix://, or be left out")
        return redis

    @property
    def store_path(self) -> Path:
        """The SQLite file with events, items and users."""
        return self.home / "store.db"

    @property
    def store_place(self) -> str | Path:
        """Where events, items and users are: the address of a database, or the file."""
        return self.store or self.store_path

    @property
    def has_store(self) -> bool:
        """Whether there is a shop: a database is taken for one."""
        return bool(self.store) or self.store_path.exists()

    @property
    def decisions_path(self) -> Path:
        """The SQLite file with what stood behind every answer."""
        return self.home / "decisions.db"

    @property
    def artifacts(self) -> Path:
        """The folder under which artifacts are published; `live` names the one that answers."""
        return self.home / "artifacts"


def load_settings(
    path: Path | None = None, *, model_settings: Path | None = None, **overrides: Any
) -> Settings:
    """Read `intently.toml` (if there), then INTENTLY_HOME, then explicit overrides that are not None.

    model_settings: a file of `[models.NAME]` tables, as `intently search` writes it; its tables take the
    place of those of the same name. Raises ConfigError for a file that is not TOML, an unknown key or a
    value out of range; what a model's table says is checked when the model is chosen.
    """
    source = path or Path("intently.toml")
    if path is not None and not path.exists():
        raise ConfigError(f"no settings file at {path}", hint="check --config")
    values = _toml(source) if source.exists() else {}
    if home := os.environ.get("INTENTLY_HOME"):
        values["home"] = home
    values |= {key: value for key, value in overrides.items() if value is not None}
    _known(values, list(Settings.model_fields), source)
    if model_settings is not None:
        values["models"] = {**values.get("models", {}), **_model_tables(model_settings)}
    try:
        return Settings(**values)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise ConfigError(
            f"setting {field!r}: {first['msg'].lower()}, got {first['input']!r}", field=field
        ) from error


def _model_tables(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise ConfigError(f"no file of model settings at {path}", hint="`intently search` writes one")
    values = _toml(path)
    _known(values, ["models"], path)
    return dict(values.get("models", {}))


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error


def _known(values: Mapping[str, Any], known: list[str], source: Path) -> None:
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"allowed: {', '.join(known)}"
            raise ConfigError(f"unknown setting {key!r} in {source}", hint=hint, field=key)
