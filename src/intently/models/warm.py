"""A sequence network that goes on from an earlier one of the same shape, and what is new to it.

Known items keep their vectors, the text map and the encoder their weights. A new item starts where its
text puts it; without texts at the mean of the items that users met just before or after it. Moments of
the optimiser are not kept: they are as old as the earlier shop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from intently.nn.packing import Bags
from intently.schema import BoolArray, FloatArray, IntArray, LongArray

if TYPE_CHECKING:
    from intently.models.sequence import Sequence
    from intently.nn.next_item import NextItem


def take_over(net: NextItem, earlier: Sequence, place: IntArray, bags: Bags) -> None:
    """Put the earlier model's weights into `net`, in place.

    place: (n_items of `net`,) the earlier shop's dense id of each item, -1 for new ones.
    """
    import torch

    rows = np.searchsorted(earlier.vocabulary, place)
    rows = np.minimum(rows, len(earlier.vocabulary) - 1)
    known = (place >= 0) & (earlier.vocabulary[rows] == place)
    with torch.no_grad():
        weights = {name: torch.from_numpy(v) for name, v in earlier.weights.items()}
        net.encoder.load_state_dict(weights, strict=False)  # either may know gaps, and the other not
        if net.kinds is not None and len(earlier.kind_vectors) == len(net.kinds):
            net.kinds.copy_(torch.from_numpy(earlier.kind_vectors))
        net.log_scale.fill_(float(np.log(earlier.scale[0])))
        said = np.zeros(net.own.shape, np.float32)
        if net.map is not None and net.text is not None:
            if earlier.text_map.shape == net.map.weight.shape[::-1]:
                net.map.weight.copy_(torch.from_numpy(earlier.text_map.T))
            said = net.map(net.text).numpy()
        own = net.own.numpy().copy()
        whole = earlier.table * earlier.norms[:, None]
        own[known] = whole[rows[known]] - said[known]
        if net.map is None:
            near, found = beside(bags, known, whole[rows])
            own[found] = near[found]
        net.own.copy_(torch.from_numpy(own))


def beside(bags: Bags, known: np.ndarray, vectors: FloatArray) -> tuple[FloatArray, LongArray]:
    """((n, d) mean vector of each item's known neighbours, the unknown items that have some).

    Neighbours stand in the bag before or after, once for each time.
    """
    n = len(known)
    owner = np.repeat(np.arange(len(bags.starts) - 1), np.diff(bags.starts))
    shape = (len(bags.starts) - 1, n)
    met = sparse.csr_matrix((np.ones(len(owner), np.float32), (owner, bags.items)), shape=shape)
    inside = np.ones(max(shape[0] - 1, 0), bool)  # whether bag b and b + 1 are of one sequence
    inside[bags.ends[1:-1][(bags.ends[1:-1] > 0) & (bags.ends[1:-1] < shape[0])] - 1] = False
    first = np.flatnonzero(inside)
    together = met[first].T @ met[first + 1]
    together = (together + together.T).tocsr()[:, np.flatnonzero(known)]
    count = np.asarray(together.sum(axis=1)).ravel()
    mean: FloatArray = (together @ vectors[known] / np.maximum(count, 1.0)[:, None]).astype(np.float32)
    return mean, np.flatnonzero((count > 0) & ~known)


def news(which: str, bags: Bags, until_s: float) -> BoolArray | None:
    """(n_bags,) which next bags are new to a model that learned up to `until_s`; None: nobody knows.

    which: see start.py.

    >>> bags = Bags.of(np.array([0, 0, 0, 1]), np.array([1.0, 2, 3, 9]), np.array([5, 6, 7, 8]), 2)
    >>> news("last", bags, 9.0).tolist(), news("later", bags, 1.0).tolist()
    ([False, False, True, False], [False, True, True, False])
    """
    if which == "any" or (which == "later" and not np.isfinite(until_s)):
        return None
    some = bags.lengths > 0
    new = bags.times > until_s
    if which == "last":
        new = np.zeros(len(bags.times), bool)
        new[bags.ends[1:][some] - 1] = True
    new[bags.ends[:-1][some]] = False  # nothing comes before a first one
    return new
