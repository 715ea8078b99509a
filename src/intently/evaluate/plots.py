"""The report's plots as inline SVG: no script, no style attribute, no address, light and dark.

matplotlib draws; what it writes is then made fit for a page under a strict content policy. Colours are
drawn as stand-ins and replaced by the page's CSS variables, so that one drawing serves both themes;
`style` attributes become plain ones; text stays text.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from html import escape
from typing import TYPE_CHECKING, Any, ParamSpec

import numpy as np

from intently.errors import MissingExtraError
from intently.evaluate.classification import Reliability
from intently.evaluate.report import Bucket
from intently.intervals import Interval
from intently.schema import DoubleArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

P = ParamSpec("P")

INK, SOFT, LINE = "#010203", "#040506", "#070809"
SERIES = ("#0a0b0c", "#0d0e0f", "#101112", "#131415")
COLOURS = {INK: "ink", SOFT: "soft", LINE: "line"} | {c: f"series{i + 1}" for i, c in enumerate(SERIES)}
"""Stand-in colour -> CSS variable of page.html.j2."""

_STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a model may be called "a$b$"
    "svg.hashsalt": "intently",
    "font.size": 10.5,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": SOFT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
}


def styled(plot: Callable[P, str]) -> Callable[P, str]:
    """Draw in the page's style whatever the user's matplotlibrc says; MissingExtraError without it."""

    @wraps(plot)
    def inside(*args: P.args, **kwargs: P.kwargs) -> str:
        try:
            import matplotlib as mpl
        except ImportError as error:
            raise MissingExtraError("matplotlib", "train") from error
        with mpl.rc_context():
            mpl.rcdefaults()
            mpl.rcParams.update(_STYLE)
            return plot(*args, **kwargs)

    return inside


@styled
def models_plot(intervals: dict[str, Interval], metric: str) -> str:
    """One line a model: the mean and its interval, best on top."""
    names = list(intervals)[::-1]
    figure = figure_of(4.6, 0.9 + 0.34 * len(names))
    axes = figure.subplots()
    for place, name in enumerate(names):
        colour = SERIES[0] if place == len(names) - 1 else SOFT
        _whisker(axes, intervals[name], place, colour, upright=False)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"{shown_name(metric)}, mean and 95 % interval over users")
    return svg_of(figure, f"{shown_name(metric)} of each model with its interval")


@styled
def reliability_plot(curve: Reliability) -> str:
    """What was said against what happened, in bins of equal width, above the number of pairs."""
    figure = figure_of(4.6, 4.2)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    top.plot([0, 1], [0, 1], color=SOFT, linewidth=1, linestyle=(0, (4, 3)))
    low, high = wilson(curve.happened, curve.weight)
    top.vlines(curve.said, low, high, color=SERIES[0], linewidth=1.4)
    top.plot(curve.said, curve.happened, "o-", color=SERIES[0])
    top.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="happened")
    bottom.bar(curve.said, curve.weight, width=0.04, color=SERIES[0])
    bottom.set(yscale="log", ylabel="pairs", xlabel="predicted probability", ylim=(0.7, None))
    most = float(np.log10(max(10.0, curve.weight.max())))
    bottom.set_yticks(10.0 ** np.arange(0, most + 0.5, 2 if most > 3 else 1))
    bottom.yaxis.set_major_formatter(lambda value, _place: _count(value))
    bottom.yaxis.set_minor_formatter(lambda _value, _place: "")
    return svg_of(figure, "Reliability curve: share that happened by predicted probability, and pairs a bin")


@styled
def small_chances_plot(curve: Reliability) -> str:
    """The same in bins of equal mass on logarithmic axes, where most predictions lie."""
    known = (curve.happened > 0) & (curve.said > 0)
    figure = figure_of(4.6, 4.2)
    axes = figure.subplots()
    if known.any():
        said, happened = curve.said[known], curve.happened[known]
        low, high = wilson(happened, curve.weight[known])
        ends = [0.7 * min(said.min(), happened.min()), min(1.0, 1.4 * max(said.max(), happened.max()))]
        axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends)
        axes.plot(ends, ends, color=SOFT, linewidth=1, linestyle=(0, (4, 3)))
        axes.vlines(said, low, high, color=SERIES[0], linewidth=1.4)
        axes.plot(said, happened, "o-", color=SERIES[0])
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(lambda value, _place: f"{value:g}")
            axis.set_minor_formatter(lambda _value, _place: "")
    axes.set(xlabel="predicted probability (log)", ylabel="happened (log)")
    return svg_of(figure, "Reliability curve in bins of equal mass on logarithmic axes")


@styled
def activity_plot(buckets: Mapping[str, Sequence[Bucket]], metric: str) -> str:
    """A metric by length of the history, a line for each of up to four models."""
    figure = figure_of(4.6, 3.4)
    axes = figure.subplots()
    shown = list(buckets.items())[: len(SERIES)]
    for series, (name, points) in enumerate(shown):
        shift = 0.1 * (series - (len(shown) - 1) / 2)
        colour = SERIES[series]
        for place, bucket in enumerate(points):
            _whisker(axes, bucket.interval, place + shift, colour, upright=True)
        places = np.arange(len(points)) + shift
        axes.plot(places, [b.interval.value for b in points], color=colour, label=name)
    labels = [bucket.label for bucket in shown[0][1]]
    axes.set_xticks(range(len(labels)), labels)
    axes.grid(visible=False, axis="x")
    axes.set(xlabel="events in the user's history", ylabel=shown_name(metric), ylim=(0, None))
    _legend(figure, axes)
    return svg_of(figure, f"{shown_name(metric)} by length of the user's history")


@styled
def curves_plot(curves: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Training loss above, the validation figure below, by epoch; up to four models."""
    figure = figure_of(4.6, 4.2)
    top, bottom = figure.subplots(2, 1, sharex=True)
    shown = list(curves.items())[: len(SERIES)]
    for series, (name, epochs) in enumerate(shown):
        table = np.asarray(epochs, np.float64)
        steps = np.arange(1, len(table) + 1)
        top.plot(steps, table[:, 0], "o-", color=SERIES[series], markersize=3, label=name)
        bottom.plot(steps, table[:, 1], "o-", color=SERIES[series], markersize=3)
    top.set(ylabel="training loss")
    bottom.set(ylabel="validation", xlabel="epoch")
    bottom.xaxis.get_major_locator().set_params(integer=True)
    _legend(figure, top)
    return svg_of(figure, "Learning curves: training loss and validation figure by epoch")


def wilson(share: DoubleArray, n: DoubleArray, z: float = 1.96) -> tuple[DoubleArray, DoubleArray]:
    """95 % interval of a share among n pairs (Wilson 1927), as if pairs were independent.

    >>> low, high = wilson(np.array([0.5]), np.array([100.0]))
    >>> low.round(3), high.round(3)
    (array([0.404]), array([0.596]))
    """
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return centre - half, centre + half


def figure_of(width: float, height: float) -> Figure:
    """An empty drawing, sizes in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _whisker(axes: Axes, interval: Interval, place: float, colour: str, *, upright: bool) -> None:
    line = axes.vlines if upright else axes.hlines
    line(place, interval.low, interval.high, color=colour, linewidth=1.6)
    at = (place, interval.value) if upright else (interval.value, place)
    axes.plot(*at, "o", color=colour)


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))


def _count(value: float) -> str:
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def shown_name(metric: str) -> str:
    """A metric as a page says it."""
    return metric.replace("ndcg", "NDCG").replace("map", "MAP").replace("mrr", "MRR")


def svg_of(figure: Figure, label: str) -> str:
    """The drawing as inline SVG; `label` is read out."""
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    return fit_for_page(buffer.getvalue(), label)


def fit_for_page(svg: str, label: str) -> str:
    """matplotlib's file as an inline drawing: see the module's text."""
    body = svg[svg.index("<svg") :]
    box = re.search(r'viewBox="([^"]+)"', body)
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", body, flags=re.DOTALL)
    body = body[body.index(">") + 1 :].replace("xlink:href", "href")
    body = re.sub(r'(<g[^>]*?) id="[^"]*"', r"\1", body)
    body = re.sub(r' style="([^"]*)"', _attributes, body)
    for stand_in, variable in COLOURS.items():
        body = body.replace(stand_in, f"var(--{variable})")
    size = f' viewBox="{box.group(1)}"' if box else ""
    return f'<svg role="img" aria-label="{escape(label)}"{size}>{body}'


def _attributes(match: re.Match[str]) -> str:
    kept = []
    for part in match.group(1).split(";"):
        name, _, value = part.strip().partition(":")
        if name == "font":
            size = re.search(r"[\d.]+px", value)
            name, value = "font-size", size.group() if size else ""
        if name and value and name not in ("font-family", "-inkscape-stroke"):
            kept.append(f' {name}="{value.strip()}"')
    return "".join(kept)
