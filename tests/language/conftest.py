"""Models for the tests of the language room."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_folder import make_folder


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """The folder of a tiny model."""
    return make_folder(tmp_path / "tiny")
