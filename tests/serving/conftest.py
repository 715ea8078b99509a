"""One grocery with a calibrated model, served once for all tests that change nothing of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from served import Running, boosted, grocery, keep, publish, repeat, running

from intently.data import Dataset
from intently.models import Recommender


@pytest.fixture(scope="session")
def shop() -> Dataset:
    return grocery()


@pytest.fixture(scope="session")
def calibrated(shop: Dataset) -> Recommender:
    return boosted(shop)


@pytest.fixture(scope="session")
def home_made(tmp_path_factory: pytest.TempPathFactory, shop: Dataset, calibrated: Recommender) -> Path:
    """A shop's folder with a live calibrated model; copied or served, never changed."""
    home = tmp_path_factory.mktemp("shop")
    keep(home, shop)
    publish(home, shop, calibrated)
    return home


@pytest.fixture(scope="session")
def served(home_made: Path) -> Iterator[Running]:
    with running(home_made) as service:
        yield service


@pytest.fixture
def simple_home(tmp_path: Path, shop: Dataset) -> Path:
    """A folder of its own, with the repeat model live."""
    keep(tmp_path, shop)
    publish(tmp_path, shop, repeat(shop), stage="quick")
    return tmp_path
