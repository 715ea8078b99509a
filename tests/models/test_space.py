"""Where settings are searched, and settings that a shop gives to models by name."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest

from intently.config import Settings, load_settings
from intently.errors import ConfigError, InputError
from intently.models import REGISTRY, model_class
from intently.models.given import check, over
from intently.models.space import Choice, Float, Int
from intently.recipe import choose
from tiny_shops import checkerboard, weekly_basket


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_what_is_searched_is_a_setting_of_the_model(name: str) -> None:
    kind = model_class(name)
    known = inspect.signature(kind.__init__).parameters
    assert {setting.partition(".")[0] for setting in kind.SPACE} <= set(known)


@pytest.mark.parametrize("name", ["basket", "linear", "covisit", "content", "sequence", "boosted", "click"])
def test_the_default_lies_inside_the_space(name: str) -> None:
    kind = model_class(name)
    usual = kind().settings()
    assert kind.SPACE
    assert [at for at, where in kind.SPACE.items() if not where.holds(usual[at])] == []


def test_a_range_holds_its_ends_and_a_choice_its_own_types() -> None:
    assert Float(0.1, 1.0).holds(1)
    assert not Float(0.1, 1.0).holds(1.01)
    assert Int(1, 4).holds(4)
    assert not Int(1, 4).holds(2.0)
    assert not Int(0, 4).holds(True)
    assert Choice((True, False)).holds(False)
    assert not Choice((True, False)).holds(0)


def test_a_range_that_does_not_rise_is_refused() -> None:
    with pytest.raises(InputError, match="must rise"):
        Float(1.0, 1.0)
    with pytest.raises(InputError, match="above 0 where it is logarithmic"):
        Float(0.0, 1.0, log=True)
    with pytest.raises(InputError, match="two options"):
        Choice(("next",))


@pytest.mark.parametrize(
    ("tables", "message", "hint"),
    [
        ({"sequense": {}}, r"\[models.sequense\]: no such model", "did you mean 'sequence'"),
        ({"linear": {"decai": 1.0}}, r"unknown setting 'decai' in \[models.linear\]", "did you mean 'decay'"),
        ({"linear": {"l2": -1.0}}, r"\[models.linear\]: l2 must be above 0", ""),
        ({"sequence": {"d": "wide"}}, r"\[models.sequence\]: ", ""),
        ({"popular": {"half_life": 3}}, "unknown setting 'half_life'", ""),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_with_the_nearest_name(
    tables: dict[str, dict[str, object]], message: str, hint: str
) -> None:
    with pytest.raises(ConfigError, match=message) as refused:
        check(tables)
    assert hint in refused.value.hint
    with pytest.raises(ConfigError, match=message):
        choose(checkerboard(), Settings(models=tables))


def test_the_tables_of_both_files_are_read_and_the_other_file_wins(tmp_path: Path) -> None:
    (tmp_path / "intently.toml").write_text(
        "seed = 3\n[models.linear]\nl2 = 5.0\n[models.covisit]\ngap = 0.5\n"
    )
    (tmp_path / "found.toml").write_text("[models.linear]\ndecay = 0.9\n")
    settings = load_settings(tmp_path / "intently.toml", model_settings=tmp_path / "found.toml")
    assert settings.models == {"linear": {"decay": 0.9}, "covisit": {"gap": 0.5}}
    assert settings.seed == 3
    (tmp_path / "found.toml").write_text("sead = 1\n")
    with pytest.raises(ConfigError, match="unknown setting 'sead'"):
        load_settings(model_settings=tmp_path / "found.toml")
    with pytest.raises(ConfigError, match="no file of model settings"):
        load_settings(model_settings=tmp_path / "none.toml")


def test_tables_reach_the_model_those_inside_it_and_the_baselines() -> None:
    shop = weekly_basket(n_users=60, weeks=30)
    mine = {
        "boosted": {"rounds": 70, "inner": {"covisit": {"gap": 0.9}}},
        "covisit": {"gap": 0.5, "decay": 0.4},
        "linear": {"l2": 9.0},
        "content": {"l2": 50.0},
    }
    usual = choose(shop, Settings(horizon_days=14.0))
    recipe = choose(shop, Settings(horizon_days=14.0, models=mine))
    assert recipe.name == usual.name == "boosted"
    assert recipe.settings["rounds"] == 70
    assert recipe.settings["inner"]["covisit"] == {"gap": 0.9, "decay": 0.4}
    assert recipe.settings["inner"]["linear"] == {**usual.settings["inner"]["linear"], "l2": 9.0}
    assert recipe.settings["inner"]["sequence"] == usual.settings["inner"]["sequence"]
    assert recipe.baselines["linear"]["l2"] == 9.0
    assert recipe.unused == ("content",)


def test_laying_over_joins_mappings_and_replaces_the_rest() -> None:
    assert over({"weights": "rule", "a": 1}, {"weights": {"linear": 1.0}}) == {
        "weights": {"linear": 1.0},
        "a": 1,
    }
    usual = {"inner": {"linear": {"l2": 1.0}}}
    assert over(usual, {"inner": {"linear": {"decay": 0.5}}})["inner"] == {
        "linear": {"l2": 1.0, "decay": 0.5}
    }
    assert usual == {"inner": {"linear": {"l2": 1.0}}}


def test_a_given_setting_changes_what_is_learned() -> None:
    shop = checkerboard()
    usual, stiff = (
        choose(shop, Settings(models=models)).model().fit(shop).scores(shop.histories([0]))
        for models in ({}, {"linear": {"l2": 1e6}})
    )
    assert not np.allclose(usual, stiff)
