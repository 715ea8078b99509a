"""The recipe end to end: what is judged is shipped, and only what is better goes live."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from intently import artifact
from intently.config import Settings
from intently.data import Dataset
from intently.data.histories import DAY_S
from intently.errors import InputError
from intently.models.base import Recommender
from intently.models.boosted import Boosted
from intently.models.start import Start
from intently.pipeline import Outcome, load_shop, train
from intently.plan import forecast
from intently.recipe import LEAST_EVENTS, MOST_EPOCHS, choose, moment_s, sequence_epochs
from intently.schema import EVENT_CODES
from intently.training import Steps
from tiny_shops import chain, checkerboard, weekly_basket


@lru_cache(maxsize=1)
def shop() -> Dataset:
    return weekly_basket(n_users=60, weeks=30)


@lru_cache(maxsize=1)
def trained(home: Path) -> tuple[Settings, Outcome, Outcome]:
    settings = Settings(home=home, horizon_days=14.0)
    first = train(shop(), settings, stage="quick", facts={"shop": "tiny"})
    return settings, first, train(shop(), settings)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Outcome, Outcome]:
    return trained(tmp_path_factory.mktemp("home"))


def test_the_first_model_that_beats_popularity_goes_live(runs: tuple[Settings, Outcome, Outcome]) -> None:
    _, first, _ = runs
    assert first.promoted
    assert "better than popularity" in first.verdict


def test_the_full_model_is_boosted_and_published_with_its_figures(
    runs: tuple[Settings, Outcome, Outcome],
) -> None:
    settings, _, full = runs
    loaded = artifact.load(settings.artifacts / full.version)
    assert loaded.model.name == "boosted"
    assert loaded.manifest["stage"] == "full"
    assert loaded.manifest["target"] == "purchase"
    assert loaded.manifest["horizon_days"] == 14.0
    assert 0 < loaded.manifest["threshold"] < 1
    assert loaded.manifest["metrics"]["ndcg@10"] > 0.5
    assert (settings.home / "reports" / f"{full.version}.html").exists()
    assert not (settings.home / "training.json").exists()


def test_the_published_model_knows_todays_counters(runs: tuple[Settings, Outcome, Outcome]) -> None:
    settings, _, full = runs
    model = artifact.load(settings.artifacts / full.version).model
    best = model.top_k(shop().histories([3]), 2).lists()[0]
    assert {shop().items[i] for i in best} == {"i003", "i011"}


def test_what_is_not_better_than_the_live_model_is_kept_back(
    runs: tuple[Settings, Outcome, Outcome],
) -> None:
    settings, _, _ = runs
    before = artifact.live(settings.artifacts)
    again = train(shop(), settings, stage="quick")
    assert not again.promoted
    assert "kept back: not better than the live" in again.verdict
    assert artifact.live(settings.artifacts) == before
    assert again.version in artifact.versions(settings.artifacts)


def test_a_model_without_anything_to_say_is_kept_back(tmp_path: Path) -> None:
    outcome = train(noise(), Settings(home=tmp_path, horizon_days=7.0), stage="quick")
    assert not outcome.promoted
    assert "not better than popularity" in outcome.verdict
    assert artifact.live(tmp_path / "artifacts") is None


def noise(n: int = 600) -> Dataset:
    """Everyone meets anything at any time."""
    rng = np.random.default_rng(0)
    events = pl.DataFrame(
        {
            "user_id": [f"u{i}" for i in rng.integers(0, 200, n)],
            "item_id": [f"i{i}" for i in rng.integers(0, 40, n)],
            "timestamp": rng.integers(0, int(60 * DAY_S), n) + 1_500_000_000,
        }
    )
    return Dataset.from_frames(events)


def test_the_recipe_follows_from_the_shop_alone() -> None:
    fortnight, month = Settings(horizon_days=14.0), Settings()
    assert shop().n_events >= LEAST_EVENTS
    assert choose(shop(), fortnight).name == "boosted"
    assert choose(shop(), month, stage="quick").name == "repeat"
    assert choose(checkerboard(), month, stage="quick").name == "covisit"
    assert choose(checkerboard(), month).name == "blend"
    assert choose(chain(), month).name == "blend"


def test_no_clock_decides_what_is_learned() -> None:
    recipe = choose(shop(), Settings(horizon_days=14.0))
    assert recipe.settings["inner"]["sequence"] == {"epochs": MOST_EPOCHS, "seed": 0}
    again = replace(shop(), events=pl.concat([shop().events] * 3))
    assert sequence_epochs(again) == MOST_EPOCHS  # the same moments, however many lines each


def test_a_budget_in_minutes_bounds_the_epochs_by_sizes_alone() -> None:
    moments = shop().events.select("user", "time_s").n_unique()
    one_epoch_minutes = moments * moment_s(shop()) / 60
    assert sequence_epochs(shop(), 2 * 5.5 * one_epoch_minutes) == 5
    assert sequence_epochs(shop(), 2 * 5.5 * one_epoch_minutes, fits=2) == 2
    assert sequence_epochs(shop(), 60.0) == MOST_EPOCHS
    short = choose(shop(), Settings(horizon_days=14.0, minutes=one_epoch_minutes))
    assert list(short.settings["inner"]) == ["covisit", "linear"]
    assert "sequence" in choose(shop(), Settings(horizon_days=14.0, minutes=60.0)).settings["inner"]


def test_the_target_of_the_settings_is_what_is_learned_and_judged(tmp_path: Path) -> None:
    purchases = shop().events
    carts = purchases.filter(pl.col("item") < 8).with_columns(
        event=pl.lit(EVENT_CODES["cart_add"], pl.UInt8), time_s=pl.col("time_s") - 60.0
    )
    both = replace(shop(), events=pl.concat([purchases, carts]).sort("time_s", maintain_order=True))
    settings = Settings(home=tmp_path, horizon_days=14.0, target="cart_add")
    outcome = train(both, settings)
    loaded = artifact.load(settings.artifacts / outcome.version)
    assert loaded.manifest["target"] == outcome.report.facts["target"] == "cart_add"
    model = loaded.model
    assert isinstance(model, Boosted)
    in_cart, only_bought = model.probability(both.histories([3]), [[3, 11]])[0]
    assert in_cart > 0.5 > only_bought  # item 11 is bought every week and never put into a cart


def test_a_slice_without_the_target_is_not_labelled_with_another_event() -> None:
    end_s = shop().end_s
    views = shop().events.with_columns(
        event=pl.lit(EVENT_CODES["view"], pl.UInt8), time_s=pl.col("time_s") - 60.0
    )
    bought = shop().events.filter(pl.col("time_s") < end_s - 15 * DAY_S)
    silent = replace(shop(), events=pl.concat([bought, views]).sort("time_s", maintain_order=True))
    model = Boosted(inner={"popular": {}}, horizon_days=14.0, cuts=1, rounds=10)
    with pytest.raises(InputError, match="nothing to learn from"):
        model.fit(silent)  # in the last fortnight there are views, and no purchase


def test_a_damaged_pointer_does_not_lose_a_training_run(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, horizon_days=14.0)
    settings.artifacts.mkdir()
    (settings.artifacts / "live.json").write_text("{")
    outcome = train(shop(), settings, stage="quick")
    assert "cannot be read" in outcome.verdict
    assert artifact.live(settings.artifacts) == settings.artifacts / outcome.version
    assert outcome.version in artifact.versions(settings.artifacts)


def test_a_shop_without_times_is_trained_on_its_order(tmp_path: Path) -> None:
    outcome = train(chain(), Settings(home=tmp_path))
    assert outcome.report.facts["protocol"] == "leave-one-out"
    assert "blend" in outcome.report.results


def test_publishing_goes_on_from_what_was_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    def noted(model: Recommender) -> Start:
        told.append(model.name if model.fitted else "")
        return Start(model, np.arange(model.n_items, dtype=np.int32))

    monkeypatch.setattr(Start, "same_items", staticmethod(noted))
    train(chain(n_users=80), Settings(home=tmp_path), stage="quick")
    assert told == ["covisit"]


def test_a_training_may_go_on_from_a_model_that_saw_nothing_of_the_judging_days(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, horizon_days=14.0)
    before = shop().as_of(shop().end_s - 14 * DAY_S)
    train(before, settings)
    epochs = {}
    for name, start in (("afresh", ""), ("warm", "live")):
        outcome = train(shop(), settings, warm_start=start)
        inner = artifact.load(settings.artifacts / outcome.version).model.models["sequence"]  # type: ignore[attr-defined]
        epochs[name] = len(inner.curve)
    assert epochs["warm"] < epochs["afresh"]


def test_a_model_that_saw_the_judging_days_is_no_start(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, horizon_days=14.0)
    train(shop(), settings, stage="quick")
    with pytest.raises(InputError, match=r"learned from events that this training is judged on"):
        train(shop(), settings, warm_start="live")
    with pytest.raises(InputError, match=r"no published model at 'nowhere'"):
        train(shop(), settings, warm_start="nowhere")


def test_an_empty_home_is_refused_with_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no shop in .*intently import"):
        load_shop(Settings(home=tmp_path))


def test_a_failed_run_leaves_no_sign_of_training(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no user has two events"):
        train(replace(shop(), events=shop().events.head(1)), Settings(home=tmp_path))
    assert not (tmp_path / "training.json").exists()


def test_steps_are_written_for_the_page(tmp_path: Path) -> None:
    path = tmp_path / "training.json"
    steps = Steps(path, of=2)
    with steps.step("one"):
        pass
    with steps.step("two"):
        assert json.loads(path.read_text()) == {"done": 1, "of": 2, "step": "two", "pid": os.getpid()}
    steps.close()
    assert not path.exists()
    assert set(steps.seconds) == {"one", "two"}


def test_a_forecast_grows_with_the_shop() -> None:
    settings = Settings(horizon_days=14.0)
    small, large = forecast(weekly_basket(), settings), forecast(shop(), settings)
    assert large.total_s > small.total_s > 0
    assert forecast(shop(), settings, slower=2.0).total_s == pytest.approx(2 * large.total_s)
    assert large.memory_mb > 0
    assert large.disk_mb > 0
