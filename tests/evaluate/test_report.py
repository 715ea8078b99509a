"""`evaluate`: unfitted models in, a report out, and nothing of the future in between."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pytest

from intently.data import Dataset, Histories
from intently.data.histories import DAY_S
from intently.errors import InputError
from intently.evaluate import Report, evaluate, leave_one_out
from intently.evaluate.evaluation import case_of, learning_curves
from intently.models.popular import Popular
from intently.models.ranking import Ranked, top_k

CUT = 40 * DAY_S


def shop(users: int = 60, seed: int = 0) -> Dataset:
    """60 days; each user has two favourites of 20 items; one item appears only after day 40."""
    random = np.random.default_rng(seed)
    rows = []
    for user in range(users):
        favourites = random.choice(20, 2, replace=False)
        for day in np.sort(random.choice(60, 1 + user % 12, replace=False)):
            item = random.choice(favourites) if random.random() < 0.7 else random.integers(20)
            rows.append((f"u{user}", f"i{item:02}", float(day)))
    rows.append(("u0", "new", 45.0))
    columns = ("user_id", "item_id", "timestamp")
    frame = pl.DataFrame({name: [r[i] for r in rows] for i, name in enumerate(columns)})
    return Dataset.from_frames(frame.with_columns(pl.col("timestamp") * DAY_S))


class Own(Popular):
    """How often the user met the item, as a probability; learns in two epochs."""

    name = "own"
    calibrated = True
    seen: ClassVar[list[float]] = []

    def _fit(self, dataset: Dataset) -> None:
        super()._fit(dataset)
        type(self).seen.append(dataset.end_s)
        self.curve = np.array([[2.0, 0.1], [1.0, 0.2]])

    def _scores(self, histories: Histories) -> Any:
        met = histories.matrix(self.n_items).toarray()
        return (1 - np.exp(-met - 0.001 * self.counts)).astype(np.float32)


class Broken(Popular):
    """Needs what this shop does not have."""

    def _fit(self, dataset: Dataset) -> None:
        raise InputError("no text vectors", hint="read the catalogue first")


@pytest.fixture(scope="module")
def report() -> Report:
    models = {"popular": Popular(), "own <b>$x$": Own(), "broken": Broken()}
    return evaluate(models, shop(), CUT, horizon_days=20, reference="popular")


def test_every_model_is_fitted_on_the_past_only() -> None:
    Own.seen.clear()
    evaluate(Own(), shop(), CUT, horizon_days=20)
    assert len(Own.seen) == 1
    assert Own.seen[0] <= CUT


def test_a_model_that_peeked_before_gains_nothing() -> None:
    """Fitted on everything, then evaluated: the same figures as one that never saw the future."""
    data = shop()
    peeked = Own().fit(data)
    counts = peeked.counts.copy()
    honest = evaluate(Own(), data, CUT, horizon_days=20)
    again = evaluate(peeked, data, CUT, horizon_days=20)
    assert again.frame().equals(honest.frame())
    assert np.array_equal(peeked.counts, counts)  # a copy was fitted: the given model keeps its state


def test_what_happens_after_the_horizon_changes_no_figure() -> None:
    data = shop()
    longer = pl.concat([data.events, data.events.with_columns(pl.col("time_s") + 60 * DAY_S)])
    more = Dataset(longer, data.users, data.items, data.item_table, data.user_table)
    models = {"popular": Popular(), "own": Own()}
    one = evaluate(models, data, CUT, horizon_days=20)
    assert evaluate(models, more, CUT, horizon_days=20).frame().equals(one.frame())


def test_the_best_model_comes_first_and_the_broken_one_is_named(report: Report) -> None:
    assert list(report.results) == ["own <b>$x$", "popular"]
    assert report.best == "own <b>$x$"
    assert report.skipped == {"broken": "no text vectors (read the catalogue first)"}
    board = report.leaderboard()
    assert board["ndcg@10"].is_sorted(descending=True)
    assert board["lift"][1] is None
    lift = report.lift(report.best)
    assert lift is not None
    assert lift.value == pytest.approx(board["ndcg@10"][0] / board["ndcg@10"][1] - 1)


def test_the_json_holds_the_figures_and_where_they_came_from(report: Report) -> None:
    told = json.loads(report.to_json())
    own = told["models"]["own <b>$x$"]
    judged = report.results["own <b>$x$"].judgement
    assert own["users"]["all"]["ndcg@10"]["value"] == judged.mean("ndcg@10")
    assert own["chances"]["figures"]["auc"]["n"] == 59 > len(judged.users)  # all known users
    assert own["curves"] == {"own <b>$x$": [[2.0, 0.1], [1.0, 0.2]]}
    assert told["models"]["popular"]["chances"] is None
    assert told["facts"]["fingerprint"] == shop().as_of(CUT).fingerprint
    assert told["facts"]["observed_days"] == pytest.approx(19, abs=0.01)
    assert {"intently", "python", "machine", "date", "command"} <= set(told["provenance"])
    assert "NaN" not in report.to_json()


@pytest.fixture(scope="module")
def text(report: Report) -> str:
    return report.to_html()


class Page(HTMLParser):
    """Collects tags, attributes and text, and that every tag is closed."""

    VOID: ClassVar = {"meta", "br", "link", "path", "use", "rect", "line", "img"}

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data + " "


def test_the_page_stands_alone_and_holds_the_figures(report: Report, text: str) -> None:
    page = Page(text)
    assert page.open == []
    assert page.tags.isdisjoint({"script", "link", "img", "iframe", "b", "base"})
    assert "style" not in page.attributes  # a strict content policy would refuse it
    assert not any(name.startswith("on") for name in page.attributes)
    assert not re.search(r"https?:|//\w|url\((?!#)|@import", text)
    assert text.startswith('<!doctype html>\n<html lang="en">')
    assert text.count("<svg") == 5  # models, activity, two of reliability, learning curves
    for row in report.leaderboard().iter_rows(named=True):
        assert f"{row['ndcg@10']:.4f}" in page.words
    chances = report.results[report.best].chances
    assert chances is not None
    assert f"{chances.figures['log_loss'].value:.4f}" in page.words
    assert "own <b>$x$" in page.words
    assert "no text vectors" in page.words
    assert report.facts["fingerprint"][:16] in page.words
    assert "The data ends 19.0 days after the cut" in page.words


def test_the_style_sheet_is_the_one_that_the_policy_allows(text: str) -> None:
    style = text[text.index("<style>") + 7 : text.index("</style>")]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}'" in text
    drawn = set(re.findall(r"var\(--(\w+)\)", text))
    assert drawn <= set(re.findall(r"--(\w+):", style))


def test_both_files_are_written(report: Report, tmp_path: Path) -> None:
    json_path, html_path = report.write(tmp_path / "reports", "one")
    assert json_path.name == "one.json"
    assert html_path is not None
    assert html_path.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_without_the_drawing_parts_the_figures_are_written_all_the_same(
    report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    json_path, html_path = report.write(tmp_path, "one")
    assert json_path.exists()
    assert html_path is None


def test_a_single_model_an_order_and_cold_users_make_a_report_too() -> None:
    data = Dataset.from_sequences([["a", "b", "c"], ["b", "a"], ["c", "b", "a"]])
    report = evaluate(Popular(), data, protocol="leave-one-out", k=2)
    assert report.lift("popular") is None
    assert report.facts["cut"] is None
    assert "The last event of each of 3 users is held back" in report.to_html()
    assert json.loads(report.to_json())["facts"]["repeats"] == "masked"


def test_a_model_that_finds_nothing_gives_a_report_without_a_lift() -> None:
    class Blind(Popular):
        name = "blind"

        def top_k(self, histories: Histories, k: int = 10, **_given: Any) -> Ranked:
            return top_k(np.full((len(histories), 3), -np.inf, np.float32), k)

    models = {"popular": Popular(), "blind": Blind()}
    report = evaluate(models, shop(), CUT, horizon_days=20, reference="blind")
    assert "blind found nothing" in report.to_html()
    assert json.loads(report.to_json())["models"]["popular"]["lift"]["value"] is None


def test_what_cannot_be_evaluated_is_refused() -> None:
    data = shop()
    with pytest.raises(InputError, match="unknown protocol 'random'; allowed: temporal, leave-one-out"):
        evaluate(Popular(), data, protocol="random")
    with pytest.raises(InputError, match="no model to evaluate"):
        evaluate({}, data)
    with pytest.raises(InputError, match="the reference 'repeat' is not among popular"):
        evaluate(Popular(), data, reference="repeat")
    with pytest.raises(InputError, match="no model could be judged: broken: no text vectors"):
        evaluate({"broken": Broken()}, data, CUT)
    with pytest.raises(InputError, match="the reference 'broken' could not be judged"):
        evaluate({"popular": Popular(), "broken": Broken()}, data, CUT, reference="broken")
    report = evaluate(Popular(), data, CUT)
    with pytest.raises(InputError, match="no model 'x' in this report; judged: popular"):
        report.lift("x")


def test_the_curves_of_the_models_inside_are_shown_too() -> None:
    class Outer:
        models: ClassVar = {"own": Own().fit(shop()), "popular": Popular()}

    assert learning_curves("outer", Outer()) == {"own in outer": ((2.0, 0.1), (1.0, 0.2))}


def test_the_public_name_is_the_function_however_it_is_reached() -> None:
    import intently

    assert isinstance(intently.evaluate(Popular(), shop(), CUT, horizon_days=20), Report)
    assert case_of(shop(), protocol="leave-one-out").truth.tolist() == leave_one_out(shop()).truth.tolist()
