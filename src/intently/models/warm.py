"""A sequence network that goes on from an earlier one of the same shape.

Known items keep the directions of their vectors, but not their lengths: what scores see is a direction,
which a step turns the less the longer the vector has grown. They are as long as fresh ones again,
with the text map in proportion. The encoder is a mixture of what was learned and of fresh weights. This is
shrinking and perturbing (Ash and Adams, NeurIPS 2020), with the perturbation in the encoder alone; with the
weights as they were, as many epochs end 7 % behind a training afresh (docs/LOG.md).

A new item starts where its text puts it; without texts at the mean of the items that users met just before or
after it. Moments of the optimiser are not kept: they are as old as the earlier shop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from scipy import sparse

from intently.nn.packing import Bags
from intently.schema import FloatArray, IntArray, LongArray

if TYPE_CHECKING:
    from intently.models.sequence import Sequence
    from intently.nn.next_item import NextItem

LEARNED: Final = 0.4
"""Of the encoder's weights, the share that is the earlier model's; the rest is fresh."""


def take_over(net: NextItem, earlier: Sequence, place: IntArray, bags: Bags) -> None:
    """Put the earlier model's weights into `net`, in place.

    place: (n_items of `net`,) the earlier shop's dense id of each item, -1 for new ones.
    """
    import torch

    from intently.nn.next_item import INITIAL

    rows = np.searchsorted(earlier.vocabulary, place)
    rows = np.minimum(rows, len(earlier.vocabulary) - 1)
    known = (place >= 0) & (earlier.vocabulary[rows] == place)
    with torch.no_grad():
        for name, fresh in net.encoder.named_parameters():
            if name in earlier.weights:  # either may know gaps, and the other not
                fresh.lerp_(torch.from_numpy(earlier.weights[name]), LEARNED)
        length = INITIAL * earlier.d**0.5  # of a fresh vector
        shrunk = np.float32(min(1.0, length / max(float(earlier.norms[rows[known]].mean()), 1e-9)))
        if net.kinds is not None and len(earlier.kind_vectors) == len(net.kinds):
            net.kinds.copy_(torch.from_numpy(earlier.kind_vectors))
        net.log_scale.fill_(float(np.log(earlier.scale[0])))
        said = np.zeros(net.own.shape, np.float32)
        if net.map is not None and net.text is not None:
            if earlier.text_map.shape == net.map.weight.shape[::-1]:
                net.map.weight.copy_(torch.from_numpy(earlier.text_map.T * shrunk))
            said = net.map(net.text).numpy()
        own = net.own.numpy().copy()
        whole = earlier.table * earlier.norms[:, None] * shrunk
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
