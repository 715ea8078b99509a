"""What a search tried and what mattered, as one page without scripts."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from intently.evaluate.plots import SERIES, SOFT, figure_of, styled, svg_of
from intently.models.space import Choice
from intently.search.found import Found
from intently.search.study import DEFAULT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 6
"""Settings that are drawn, the most important first."""


def write_page(found: Sequence[Found], path: Path) -> Path:
    """Write the page; raises MissingExtraError without matplotlib."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(found), encoding="utf-8")
    return path


def page(found: Sequence[Found]) -> str:
    """The whole page: for each model the verdict, the trials in order, and what mattered."""
    style = resources.files("intently.evaluate").joinpath("page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            '<meta http-equiv="Content-Security-Policy" '
            f"content=\"default-src 'none'; style-src 'sha256-{digest}'\">",
            f"<title>What the search found</title>\n<style>{style}</style>\n</head>\n<body>\n<main>",
            "<header><h1>What the search found</h1></header>",
            *(_section(one) for one in found),
            "</main>\n</body>\n</html>\n",
        ]
    )


def _section(found: Found) -> str:
    drawn = [trials_plot(found)]
    if found.importance:
        drawn.append(importance_plot(found))
    drawn += [setting_plot(found, name) for name in _drawn(found)]
    figures = "\n".join(f"<figure>{svg}</figure>" for svg in drawn)
    why = (
        "" if found.importance else '<p class="small">Too few whole trials to say which setting mattered.</p>'
    )
    return (
        f"<section><h2>{escape(found.question.model)}</h2>\n"
        f'<p class="verdict">{escape(found.told())}</p>\n{why}{_settings(found)}'
        f'<div class="plots">\n{figures}\n</div></section>'
    )


def _settings(found: Found) -> str:
    """Default and best side by side."""
    usual, best = found.default.point or {}, found.best.point or {}
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th>'
        f"<td>{_cell(usual.get(name))}</td><td>{_cell(best.get(name))}</td></tr>"
        for name in found.question.space
    )
    heads = "<tr><th>setting</th><th>default</th><th>best</th></tr>"
    return f'<div class="wide"><table><thead>{heads}</thead><tbody>{rows}</tbody></table></div>\n'


def _cell(value: Any) -> str:
    return "–" if value is None else escape(f"{value:.4g}" if isinstance(value, float) else str(value))


def _drawn(found: Found) -> list[str]:
    names = sorted(found.question.space, key=lambda name: -found.importance.get(name, 0.0))
    return names[:MOST]


@styled
def trials_plot(found: Found) -> str:
    """NDCG@10 of each whole trial in order, the best so far, and the default as a dashed line."""
    whole = [trial for trial in found.trials if trial.state == "done"]
    values = np.array([trial.value for trial in whole])
    figure = figure_of(4.6, 3.2)
    axes = figure.subplots()
    axes.axhline(found.default.value, color=SOFT, linewidth=1, linestyle=(0, (4, 3)), label="default")
    axes.plot(np.arange(len(values)), values, "o", color=SERIES[0], label="trial")
    axes.step(
        np.arange(len(values)),
        np.maximum.accumulate(values),
        where="post",
        color=SERIES[1],
        label="best so far",
    )
    axes.set(xlabel="trial judged to the end", ylabel="NDCG@10")
    axes.locator_params(axis="x", integer=True)
    axes.legend(loc="lower right")
    return svg_of(figure, "NDCG@10 of each trial in order, and the best so far")


@styled
def importance_plot(found: Found) -> str:
    """A bar a setting: its share in what makes good trials good."""
    names = sorted(found.importance, key=lambda name: found.importance[name])
    figure = figure_of(4.6, 0.9 + 0.34 * len(names))
    axes = figure.subplots()
    axes.barh(range(len(names)), [found.importance[name] for name in names], color=SERIES[0], height=0.6)
    axes.set_yticks(range(len(names)), names)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("share in what makes good trials good")
    return svg_of(figure, "How much each setting mattered")


@styled
def setting_plot(found: Found, name: str) -> str:
    """NDCG@10 by the value of one setting; the default is marked."""
    where = found.question.space[name]
    figure = figure_of(4.6, 3.0)
    axes = figure.subplots()
    whole = [trial for trial in found.trials if trial.state == "done" and trial.point is not None]
    for trial in whole:
        assert trial.point is not None
        value = trial.point[name]
        place = where.options.index(value) if isinstance(where, Choice) else value
        usual = trial.number == DEFAULT
        axes.plot(place, trial.value, "D" if usual else "o", color=SERIES[1] if usual else SERIES[0])
    _scale(axes, where)
    axes.set(xlabel=name, ylabel="NDCG@10")
    return svg_of(figure, f"NDCG@10 by {name}; the default is a diamond")


def _scale(axes: Axes, where: Any) -> None:
    if isinstance(where, Choice):
        axes.set_xticks(range(len(where.options)), [str(option) for option in where.options])
        axes.set_xlim(-0.5, len(where.options) - 0.5)
        return
    if where.log:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _place: f"{value:g}")
        axes.xaxis.set_minor_formatter(lambda _value, _place: "")
    axes.set_xlim(*((where.low * 0.9, where.high * 1.1) if where.log else (None, None)))
