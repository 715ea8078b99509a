"""Boosted trees walked by onnxruntime: a list's worth of rows in two fifths of LightGBM's time.

The trees are LightGBM's own, only laid out for onnxruntime's TreeEnsembleRegressor (ONNX-ML), which keeps all
of them in a few flat arrays. Its thresholds are single precision, as the rows are: each is rounded down, so
that every row takes the same branch. Sums are single precision too; they differ by some 1e-6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

import numpy as np

from intently.nn.session import one_core
from intently.schema import DoubleArray, FloatArray

if TYPE_CHECKING:
    import lightgbm

_WALKERS: Final[WeakKeyDictionary[Any, Any]] = WeakKeyDictionary()


def predicted(booster: lightgbm.Booster, rows: FloatArray) -> DoubleArray:
    """(rows,) raw scores. rows: (rows, features) float32; where some are not numbers LightGBM answers."""
    if not len(rows):
        return np.zeros(0)
    if np.isnan(rows).any():
        return np.asarray(booster.predict(rows, raw_score=True, num_threads=1), np.float64)
    scores = prepare(booster).run(None, {"rows": np.ascontiguousarray(rows, np.float32)})[0]
    return np.asarray(scores[:, 0], np.float64)


def prepare(booster: lightgbm.Booster) -> Any:
    """The session that walks these trees, made once: a quarter of a second that no answer should wait for."""
    walker = _WALKERS.get(booster)
    if walker is None:
        walker = _WALKERS[booster] = _walker(booster)
    return walker


def _walker(booster: lightgbm.Booster) -> Any:
    """A session of one thread: a list's worth of rows does not wake others."""
    from onnx import TensorProto, helper

    laid = _Laid()
    for number, tree in enumerate(booster.dump_model()["tree_info"]):
        laid.add(tree["tree_structure"], number)
    node = helper.make_node(
        "TreeEnsembleRegressor", ["rows"], ["scores"], domain="ai.onnx.ml", n_targets=1, **laid.columns
    )
    rows = helper.make_tensor_value_info("rows", TensorProto.FLOAT, [None, booster.num_feature()])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [None, 1])
    graph = helper.make_graph([node], "trees", [rows], [scores])
    versions = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=versions, ir_version=8)
    return one_core(model.SerializeToString())


class _Laid:
    """Trees as the columns of a TreeEnsembleRegressor."""

    def __init__(self) -> None:
        nodes = ("treeids", "nodeids", "featureids", "modes", "values", "truenodeids", "falsenodeids")
        leaves = ("treeids", "nodeids", "ids", "weights")
        self.columns: dict[str, list[Any]] = {f"nodes_{name}": [] for name in nodes}
        self.columns |= {f"target_{name}": [] for name in leaves}

    def add(self, root: dict[str, Any], tree: int) -> None:
        """Lay out one tree: its nodes in the order in which they are met, the root first."""
        waiting, count = [(root, 0)], 1
        while waiting:
            node, place = waiting.pop()
            if "leaf_value" in node:
                self._append("nodes", tree, place, 0, "LEAF", 0.0, 0, 0)
                self._append("target", tree, place, 0, node["leaf_value"])
                continue
            if node["decision_type"] != "<=":
                raise ValueError(f"a split by {node['decision_type']!r} cannot be laid out")
            yes, no, count = count, count + 1, count + 2
            split = node["split_feature"], "BRANCH_LEQ", single(node["threshold"])
            self._append("nodes", tree, place, *split, yes, no)
            waiting += [(node["left_child"], yes), (node["right_child"], no)]

    def _append(self, kind: str, *values: Any) -> None:
        columns = [column for name, column in self.columns.items() if name.startswith(kind)]
        for column, value in zip(columns, values, strict=True):
            column.append(value)


def single(threshold: float) -> float:
    """The largest single-precision number that is not above: x <= threshold for the same singles x.

    >>> [single(value) <= value for value in (0.1, 0.7)], single(0.5)
    ([True, True], 0.5)
    """
    rounded = np.float32(threshold)
    return float(rounded if float(rounded) <= threshold else np.nextafter(rounded, np.float32(-np.inf)))
