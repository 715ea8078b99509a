"""Figures for Prometheus: requests, their times, events, and the model that answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from intently.serving.state.engine import Engine, stage

BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)


class Metrics:
    """Counters of one service; routes are templates, so that no id becomes a label."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "intently_requests", "Answers by route and status", ("route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "intently_request_seconds",
            "Time to answer",
            ("route",),
            buckets=BUCKETS_S,
            registry=self._registry,
        )
        self._children: dict[tuple[str, int], tuple[Counter, Histogram]] = {}  # looking them up is dear
        self._events = Counter(
            "intently_events", "Events received by outcome", ("outcome",), registry=self._registry
        )
        self._swaps = Gauge("intently_model_swaps", "Models taken into service", registry=self._registry)
        self._decisions = Gauge(
            "intently_decisions",
            "Decisions by outcome since the start",
            ("outcome",),
            registry=self._registry,
        )
        self._decision_bytes = Gauge(
            "intently_decision_bytes", "Size of the decision log", registry=self._registry
        )
        self._lists = Gauge(
            "intently_experiment_lists",
            "Lists by experiment and arm since the start",
            ("experiment", "arm"),
            registry=self._registry,
        )
        self._degraded = Gauge("intently_degraded", "1 when a part is off", registry=self._registry)
        self._model = Gauge(
            "intently_model", "The live model", ("model", "version", "stage"), registry=self._registry
        )
        self._online = Gauge("intently_online", "1 while the online layer answers", registry=self._registry)
        self._online_lists = Gauge(
            "intently_online_lists", "Lists the online layer has learned from", registry=self._registry
        )
        self._online_ndcg = Gauge(
            "intently_online_ndcg",
            "Running NDCG@10 of judged lists",
            ("of", "bound"),
            registry=self._registry,
        )
        self._online_loss = Gauge(
            "intently_online_log_loss", "Running log loss of judged lists", ("of",), registry=self._registry
        )

    def answered(self, route: str, status: int, *seconds: float) -> None:
        """Count answers, each by how long it took."""
        found = self._children.get((route, status))
        if found is None:
            found = self._requests.labels(route, str(status)), self._seconds.labels(route)
            self._children[route, status] = found
        counter, histogram = found
        counter.inc(len(seconds))
        for each in seconds:
            histogram.observe(each)

    def received(self, accepted: int, duplicates: int, rejected: int) -> None:
        """Count events."""
        for outcome, n in (("accepted", accepted), ("duplicate", duplicates), ("rejected", rejected)):
            if n:
                self._events.labels(outcome).inc(n)

    def text(self, engine: Engine) -> bytes:
        """The exposition format."""
        standing = engine.live.current
        self._swaps.set(engine.live.swaps)
        log = engine.decisions
        for outcome, n in (("kept", log.kept), ("lost", log.lost)):
            self._decisions.labels(outcome).set(n)
        self._decision_bytes.set(log.bytes)
        for arm, n in engine.experiments.lists.items():
            self._lists.labels(arm.name, arm.arm).set(n)
        self._degraded.set(bool(engine.problems()))
        self._model.clear()
        if standing is not None:
            self._model.labels(standing.model.name, standing.artifact.version, stage(standing)).set(1)
        self._learned(engine)
        return generate_latest(self._registry)

    def _learned(self, engine: Engine) -> None:
        told = engine.online.told()
        self._online.set(told["on"] and told["progressive"]["active"])
        self._online_lists.set(told["lists_learned"])
        for name, figures in told["progressive"]["ndcg@10"].items():
            for bound in ("mean", "low", "high"):
                self._online_ndcg.labels(name, bound).set(_number(figures[bound]))
        for name, figures in told["progressive"]["log_loss"].items():
            self._online_loss.labels(name).set(_number(figures["mean"]))


class _Merged:
    """Figures of several services, each with the label `worker`."""

    def __init__(self, texts: Mapping[str, bytes]) -> None:
        self._texts = texts

    def collect(self) -> Iterable[Metric]:
        """One family each, as prometheus_client wants them."""
        found: dict[str, Metric] = {}
        for worker, text in self._texts.items():
            for family in text_string_to_metric_families(text.decode()):
                kept = found.setdefault(
                    family.name, Metric(family.name, family.documentation, family.type, family.unit)
                )
                for sample in family.samples:
                    kept.add_sample(sample.name, {**sample.labels, "worker": worker}, sample.value)
        return found.values()


def merged(texts: Mapping[str, bytes]) -> bytes:
    """The figures of several services by their names, in one exposition."""
    registry = CollectorRegistry()
    registry.register(_Merged(texts))
    return generate_latest(registry)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
