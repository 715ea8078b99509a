"""Stored rules: what they need, when they hold, that they survive, and what lint says of them."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from intently.errors import InputError, StoreError, UnknownIdError
from intently.serving.rules.book import DAMAGED, RuleFile
from intently.serving.rules.filters import STRANGER, Shopper
from intently.serving.rules.force import force_of
from intently.serving.rules.lint import lint
from intently.serving.rules.places import boosted, kept, pinned
from intently.serving.rules.rule import Rule
from intently.serving.rules.rulebook import RuleBook
from intently.serving.rules.schedule import Schedule

IDS = list("abcdef")
SHOP = pl.DataFrame(
    {
        "item_id": IDS,
        "brand": ["A", "A", "A", "B", "B", None],
        "price": [1.0, 2.0, 3.0, 4.0, 5.0, None],
        "tags": [["x", "y"], ["x"], [], None, ["y"], ["x"]],
    }
)


def number(item_id: str) -> int:
    return IDS.index(item_id) if item_id in IDS else -1


def rule(kind: str, **given: Any) -> Rule:
    return Rule.model_validate({"name": given.pop("name", kind), "kind": kind, **given})


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


# -- one rule ----------------------------------------------------------------------------------------

REFUSED: dict[str, dict[str, Any]] = {
    "exclude needs filter": {"kind": "exclude"},
    "has no most": {"kind": "exclude", "filter": "price < 3", "most": 2},
    "needs item_id and slot": {"kind": "pin"},
    "a boost has multiply or add": {"kind": "boost", "filter": "price < 3"},
    "less than or equal to 10": {"kind": "boost", "filter": "price < 3", "multiply": 11.0},
    "character 8: the filter ends too early": {"kind": "include", "filter": "price <"},
    "no time zone of this name": {"kind": "cap", "column": "b", "most": 1, "schedule": {"time_zone": "../Y"}},
    "starts_at must be before": {
        "kind": "cap", "column": "b", "most": 1,
        "schedule": {"starts_at": "2026-02-01", "ends_at": "2026-01-01"},
    },
    "is no moment": {"kind": "cap", "column": "b", "most": 1, "schedule": {"ends_at": "next week"}},
    "up to 24:00": {"kind": "cap", "column": "b", "most": 1, "schedule": {"hours": "09:00-24:30"}},
    "begin when they end": {"kind": "cap", "column": "b", "most": 1, "schedule": {"hours": "09:00-09:00"}},
    "Extra inputs": {"kind": "cap", "column": "b", "most": 1, "color": "red"},
}  # fmt: skip


@pytest.mark.parametrize("said", REFUSED)
def test_a_rule_that_makes_no_sense_is_refused(said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Rule.model_validate({"name": "x", **REFUSED[said]})


def test_a_schedule_holds_by_its_own_clock() -> None:
    shanghai = Schedule(days=["sat", "sun"], hours="22:00-02:00", time_zone="Asia/Shanghai")
    holds = {
        "2026-11-27T14:30": False,  # Friday 22:30 there
        "2026-11-28T13:59": False,
        "2026-11-28T14:00": True,  # Saturday 22:00
        "2026-11-28T17:59": True,  # Sunday 01:59, of Saturday's hours
        "2026-11-28T18:00": False,
        "2026-11-29T17:00": True,  # Monday 01:00, of Sunday's
    }
    assert {text: shanghai.holds(at(text)) for text in holds} == holds
    berlin = Schedule(
        starts_at="2026-03-29", ends_at="2026-03-30", time_zone="Europe/Berlin"
    )  # 23 hours long
    assert berlin.end_s - berlin.start_s == 23 * 3600
    edges = (berlin.start_s - 1, berlin.start_s, berlin.end_s - 1, berlin.end_s)
    assert [berlin.holds(moment) for moment in edges] == [False, True, True, False]
    whole = Schedule(hours="00:00-24:00", days=["mon"])
    assert [whole.holds(at(f"2026-11-30T{hour}")) for hour in ("00:00", "23:59")] == [True, True]


# -- the file ----------------------------------------------------------------------------------------


def test_rules_survive_and_another_process_sees_them_at_once(tmp_path: Path) -> None:
    mine, theirs = (
        RuleFile(tmp_path / "rules.json", look_s=0.0),
        RuleFile(tmp_path / "rules.json", look_s=0.0),
    )
    made = mine.add(rule("exclude", name="No sale items!", filter="price < 2"), "2026-01-01T00:00:00Z")
    again = theirs.add(rule("exclude", name="No sale items", filter="price < 3"), "2026-01-02T00:00:00Z")
    assert (made.id, again.id) == ("no-sale-items", "no-sale-items-2")
    assert [one.id for one in mine.current().rules] == ["no-sale-items", "no-sale-items-2"]
    theirs.replace(made.id, rule("cap", column="brand", most=1))
    assert mine.current().get(made.id).kind == "cap"
    assert mine.current().get(made.id).created_at == "2026-01-01T00:00:00Z"
    mine.remove(made.id)
    assert [one.id for one in theirs.current().rules] == ["no-sale-items-2"]
    assert theirs.current().version == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rules.json", "rules.json.lock"]


def test_rules_that_are_not_there_or_twice_are_refused(tmp_path: Path) -> None:
    file = RuleFile(tmp_path / "rules.json", look_s=0.0)
    file.add(rule("cap", id="one", column="brand", most=1), "")
    with pytest.raises(InputError, match="there is a rule 'one' already"):
        file.add(rule("cap", id="one", column="brand", most=1), "")
    for act in (lambda: file.remove("two"), lambda: file.replace("two", rule("cap", column="b", most=1))):
        with pytest.raises(UnknownIdError, match="no rule of this id"):
            act()
    with pytest.raises(UnknownIdError, match="no rule of this id"):
        file.current().get("two")


def test_a_damaged_file_changes_nothing_and_is_not_written_over(tmp_path: Path) -> None:
    file = RuleFile(tmp_path / "rules.json", look_s=0.0)
    file.add(rule("cap", id="one", column="brand", most=1), "")
    file.path.write_text(file.path.read_text()[:-20])
    assert [one.id for one in file.current().rules] == ["one"]
    assert file.trouble == DAMAGED
    with pytest.raises(StoreError, match="cannot be changed"):
        file.remove("one")
    file.path.unlink()
    assert file.current().rules == ()
    assert not file.trouble


def test_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    def write(k: int) -> None:
        file = RuleFile(tmp_path / "rules.json", look_s=0.0)
        for n in range(5):
            file.add(rule("cap", id=f"r{k}-{n}", column="brand", most=1), "")

    threads = [threading.Thread(target=write, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    edition = RuleFile(tmp_path / "rules.json", look_s=0.0).current()
    assert len(edition.rules) == edition.version == 20


# -- what holds --------------------------------------------------------------------------------------


def test_what_holds_is_worked_out_again_only_when_it_must_be(tmp_path: Path) -> None:
    book = RuleBook(tmp_path / "rules.json")
    assert book.force("home", 0.0, lambda: SHOP, number) is None
    hours = {"hours": "00:00-00:01"}
    book.file.add(rule("exclude", id="cheap", filter="price < 2", schedule=hours), "")
    book.file.add(rule("exclude", id="dear", filter="price > 4", scenarios=["cart"]), "")
    first = book.force("home", 10.0, lambda: SHOP, number)
    assert first is not None
    assert [one.stage for one in first.fixed] == ["rule:cheap"]
    assert book.force("home", 59.9, lambda: SHOP, number) is first
    assert book.force("home", 60.0, lambda: SHOP, number) is None
    assert book.force("home", 86_400.0, lambda: SHOP, number) is not None
    both = book.force("cart", 20.0, lambda: SHOP, number)
    assert both is not None
    assert both.open is not None
    assert both.open.tolist() == [False, True, True, True, False, True]
    other = SHOP.clone()
    assert book.force("cart", 20.0, lambda: other, number) is not both


def test_a_rule_that_the_catalogue_cannot_carry_is_out_of_force_and_says_so(tmp_path: Path) -> None:
    book = RuleBook(tmp_path / "rules.json")
    book.file.add(rule("exclude", id="gone", filter="stock == 0"), "")
    book.file.add(rule("cap", id="held", column="brand", most=1), "")
    force = book.force("home", 0.0, lambda: SHOP, number)
    assert force is not None
    assert not force.fixed
    assert len(force.capping) == 1
    assert "rule gone is out of force: character 1: unknown column 'stock'" in book.troubles()[0]


def test_boosts_meet_within_bounds_and_personal_ones_are_asked_each_time() -> None:
    rules = [
        rule("boost", filter="brand == 'A'", multiply=10.0),
        rule("boost", filter="price < 3", multiply=10.0),
        rule("boost", filter="price < 2", multiply=10.0),
        rule("boost", filter="price == 5", add=0.5),
        rule("boost", filter="user.bought(item)", multiply=0.1),
    ]
    force, every = force_of(rules, SHOP, number), np.arange(6, dtype=np.int32)
    weights = force.weights(STRANGER, every)
    assert weights is not None
    assert weights[0].tolist() == [100.0, 100.0, 10.0, 1.0, 1.0, 1.0]
    assert weights[1].tolist() == [0.0, 0.0, 0.0, 0.0, 0.5, 0.0]
    buyer = Shopper(items=np.array([3], np.int32), time_s=np.zeros(1), events=np.array([4], np.uint8))
    weights = force.weights(buyer, np.array([3, 5], np.int32))
    assert weights is not None
    assert weights[0].tolist() == [0.1, 1.0]
    assert force.weights(STRANGER, np.array([5], np.int32)) is None


def test_a_pin_shows_only_while_its_item_may() -> None:
    rules = [
        rule("pin", item_id="a", slot=1, filter="not user.bought(item)"),
        rule("pin", item_id="b", slot=2, filter="price > 100"),
        rule("pin", item_id="c", slot=3),
        rule("pin", item_id="c", slot=4),
    ]
    force, allowed = force_of(rules, SHOP, number), np.ones(6, bool)
    assert [(pin.number, pin.slot) for pin in force.pins(STRANGER, allowed)] == [(0, 1), (2, 3)]
    buyer = Shopper(items=np.array([0], np.int32), time_s=np.zeros(1), events=np.array([4], np.uint8))
    allowed[2] = False
    assert force.pins(buyer, allowed) == []


# -- places ------------------------------------------------------------------------------------------


def test_a_factor_above_one_helps_whatever_the_sign_and_never_across_sources() -> None:
    scores, same = np.array([-1.0, -2.0, -3.0, -4.0]), np.zeros(4, np.uint8)
    double_last = np.array([1.0, 1.0, 1.0, 2.5])
    assert boosted(scores, same, double_last, np.zeros(4)).tolist() == [0, 3, 1, 2]
    assert boosted(scores, same, np.ones(4), np.array([0, 0, 0, 5.0])).tolist() == [3, 0, 1, 2]
    sources = np.array([1, 1, 2, 2], np.uint8)
    assert boosted(scores, sources, double_last, np.zeros(4)).tolist() == [0, 1, 3, 2]
    unscored = np.full(4, np.nan)
    assert boosted(unscored, same, np.array([1.0, 1.0, 1.0, 3.0]), np.zeros(4)).tolist() == [0, 3, 1, 2]
    assert boosted(scores, same, np.ones(4), np.zeros(4)).tolist() == [0, 1, 2, 3]
    assert boosted(np.zeros(0), np.zeros(0, np.uint8), np.zeros(0), np.zeros(0)).tolist() == []


def test_caps_keep_the_best_of_each_and_count_pinned_ones_first() -> None:
    codes = np.array([0, 0, 1, 0, -1, 1, -1, 1], np.int32)
    assert kept(codes, 1).tolist() == [True, False, True, False, True, False, True, False]
    assert kept(codes, 2, np.array([0, 0], np.int32)).tolist() == [
        False, False, True, False, True, True, True, False,
    ]  # fmt: skip
    assert kept(np.zeros(0, np.int32), 1).tolist() == []
    rng = np.random.default_rng(0)
    for n in (1, 7, 300, 5000):
        many, ahead = rng.integers(-1, 40, n).astype(np.int32), rng.integers(-1, 40, 3).astype(np.int32)
        for most in (1, 2, 9, 100):
            seen: Counter[int] = Counter(ahead.tolist())
            plain = []
            for code in many.tolist():
                plain.append(code < 0 or seen[code] < most)
                seen[code] += 1
            assert kept(many, most, ahead).tolist() == plain


@pytest.mark.parametrize("low", [0.0, -1.0])
def test_boosts_order_each_source_by_what_they_make_of_its_scores(low: float) -> None:
    rng = np.random.default_rng(1)
    for n, n_sources in ((1, 1), (50, 1), (50, 3)):
        scores, sources = rng.uniform(low, 1.0, n).round(1), np.sort(rng.integers(0, n_sources, n))
        multiply, add = rng.choice([1.0, 0.5, 3.0], n), rng.choice([0.0, 0.4], n)
        moved = [s * m + a if s >= 0 else s / m + a for s, m, a in zip(scores, multiply, add, strict=True)]
        plain = sorted(range(n), key=lambda place: (sources[place], -moved[place]))
        assert boosted(scores, sources.astype(np.uint8), multiply, add).tolist() == plain


@pytest.mark.parametrize(
    ("pins", "order"),
    [
        ([(3, 1)], [3, 0, 1, 2]),
        ([(0, 3)], [1, 2, 0, 3]),
        ([(3, 2), (2, 2)], [0, 3, 2, 1]),
        ([(1, 50)], [0, 2, 3, 1]),
        ([(0, 50), (1, 50)], [2, 3, 0, 1]),
        ([], [0, 1, 2, 3]),
    ],
)
def test_pinned_items_stand_at_their_slots(pins: list[tuple[int, int]], order: list[int]) -> None:
    assert pinned(4, pins).tolist() == order


# -- lint --------------------------------------------------------------------------------------------


def said(rules: list[Rule], **more: Any) -> list[tuple[str, str, str]]:
    named = [one.model_copy(update={"id": one.id or f"r{place}"}) for place, one in enumerate(rules)]
    found = lint(named, SHOP, number, at("2026-11-25T00:00"), **more)
    return [(one.rule_id, one.level, one.code) for one in found]


def test_sound_rules_pass_lint() -> None:
    rules = [
        rule("exclude", filter="price < 2"),
        rule("include", filter='not user.bought(item) and user.segment == "vip"'),
        rule("boost", filter="brand == 'B'", multiply=2.0),
        rule("pin", item_id="c", slot=1),
        rule("cap", column="brand", most=2),
    ]
    assert said(rules, attributes={"segment": "text"}, scenarios=["home"]) == []


LINTED: dict[str, tuple[list[Rule], list[tuple[str, str, str]]]] = {
    "matches nothing": (
        [rule("exclude", filter="price > 9"), rule("include", filter="price > 9")],
        [("r0", "warning", "matches nothing"), ("r1", "error", "matches nothing")],
    ),
    "matches everything": (
        [rule("exclude", filter="true"), rule("include", filter="missing(price) or price > 0")],
        [("r0", "error", "matches everything"), ("r1", "warning", "matches everything")],
    ),
    "unknown column": ([rule("exclude", filter="stok < 1")], [("r0", "error", "filter")]),
    "unknown attribute": ([rule("exclude", filter="user.sgment == 'a'")], [("r0", "error", "filter")]),
    "unknown item": ([rule("pin", item_id="zz", slot=1)], [("r0", "error", "unknown item")]),
    "unknown scenario": (
        [rule("cap", column="brand", most=1, scenarios=["hom"])], [("r0", "error", "scenario")],
    ),
    "unknown cap": ([rule("cap", column="seller", most=1)], [("r0", "error", "column")]),
    "idle cap": ([rule("cap", column="item_id", most=1)], [("r0", "warning", "nothing")]),
    "expired": (
        [rule("cap", column="brand", most=1, schedule={"ends_at": "2026-11-24"})],
        [("r0", "warning", "expired")],
    ),
    "shadowed": (
        [rule("exclude", filter="price < 4"), rule("exclude", filter="price < 3")],
        [("r1", "warning", "shadowed")],
    ),
    "boost of what is gone": (
        [rule("exclude", filter="price < 4"), rule("boost", filter="price < 3", multiply=2.0)],
        [("r1", "warning", "shadowed")],
    ),
    "boosts apart": (
        [rule("boost", filter="price < 4", add=0.1), rule("boost", filter="price < 3", multiply=0.5)],
        [("r1", "warning", "contradiction")],
    ),
    "pin of what is gone": (
        [rule("exclude", filter="price < 2"), rule("pin", item_id="a", slot=1)],
        [("r1", "warning", "excluded")],
    ),
    "pin that is not included": (
        [rule("pin", item_id="a", slot=1), rule("include", filter="price > 2")],
        [("r0", "warning", "excluded")],
    ),
    "one slot for two": (
        [rule("pin", item_id="a", slot=1), rule("pin", item_id="b", slot=1)],
        [("r1", "warning", "contradiction")],
    ),
    "one slot in two lists": (
        [
            rule("pin", item_id="a", slot=1, scenarios=["home"]),
            rule("pin", item_id="b", slot=1, scenarios=["cart"]),
        ],
        [],
    ),
    "one slot at two times": (
        [
            rule("pin", item_id="a", slot=1, schedule={"ends_at": "2026-12-01"}),
            rule("pin", item_id="b", slot=1, schedule={"starts_at": "2026-12-01"}),
        ],
        [],
    ),
    "nothing is left": (
        [rule("include", filter="price < 3"), rule("exclude", filter="price < 4")],
        [("r1", "error", "contradiction")],
    ),
    "switched off": ([rule("exclude", filter="true", enabled=False)], []),
}  # fmt: skip


@pytest.mark.parametrize("name", LINTED)
def test_lint_finds(name: str) -> None:
    rules, expected = LINTED[name]
    assert said(rules, attributes={"segment": "text"}, scenarios=["home", "cart"]) == expected
