"""Figures for Prometheus: requests, their times, events, and the model that answers."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

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
        self._degraded = Gauge("intently_degraded", "1 when a part is off", registry=self._registry)
        self._model = Gauge(
            "intently_model", "The live model", ("model", "version", "stage"), registry=self._registry
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
        self._degraded.set(bool(engine.problems()))
        self._model.clear()
        if standing is not None:
            self._model.labels(standing.model.name, standing.artifact.version, stage(standing)).set(1)
        return generate_latest(self._registry)
