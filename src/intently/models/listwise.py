"""A linear score learned so that what was taken stands above what was not, group by group.

The softmax of a group's scores is held against its gains (ListNet, Cao et al., ICML 2007; with one taken item
a group it is the conditional logit of McFadden, 1974). We differ: gains are divided by the square root of
their sum, so that a group with much to take counts more than one with little, but not in proportion. Convex,
solved by L-BFGS; what is the same for a whole group, such as how active a user is, cancels out.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

from intently.schema import DoubleArray, FloatArray, LongArray

STEPS = 60


def listwise(table: FloatArray, gains: FloatArray, starts: LongArray, l2: float) -> DoubleArray:
    """(columns,) weights of the score `table @ weights`.

    table: (pairs, columns), groups one after the other, **changed**: it is standardised in place. gains:
    (pairs,) 0 or more. starts: (groups,) first pair of each; each has some gain. l2: penalty on the weights
    of standardised columns. A column that never varies gets 0.
    """
    spread = table.std(axis=0, dtype=np.float64)
    varies = spread > 1e-6
    spread[~varies] = 1.0
    table -= table.mean(axis=0, dtype=np.float64).astype(np.float32)
    table *= (varies / spread).astype(np.float32)
    size = np.diff(np.concatenate([starts, [len(gains)]]))
    total = np.add.reduceat(gains.astype(np.float64), starts)
    share = gains / np.repeat(np.sqrt(np.maximum(total, 1e-9)), size)
    mass = np.repeat(np.add.reduceat(share, starts), size)

    def loss(weights: DoubleArray) -> tuple[float, DoubleArray]:
        scores = (table @ weights.astype(np.float32)).astype(np.float64)
        scores -= np.repeat(np.maximum.reduceat(scores, starts), size)
        raised = np.exp(scores)
        summed = np.repeat(np.add.reduceat(raised, starts), size)
        value = -float(share @ (scores - np.log(summed))) / len(starts)
        pull = (mass * raised / summed - share).astype(np.float32)
        slope = (pull @ table).astype(np.float64) / len(starts)
        return value + l2 * float(weights @ weights), slope + 2.0 * l2 * weights

    found = minimize(loss, np.zeros(table.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": STEPS})
    return np.asarray(found.x / spread * varies, np.float64)
