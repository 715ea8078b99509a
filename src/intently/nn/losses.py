"""Losses as pure functions of tensors."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

BUFFER = 4_000_000
"""Logits held at a time: 8 or 16 MB, which stay in a processor's outer cache."""

BLOCK = 1024
"""Columns of one single-precision product: the item vectors of a block stay in the inner cache."""

ROWS, COLUMNS = 16, 256
"""Chunks have a multiple of so many rows, samples are filled up to a multiple of so many columns, so that
steps of nearly equal size share their kernels."""


def softmax_loss(
    hidden: Tensor,
    table: Tensor,
    rows: Tensor,
    columns: Tensor,
    weights: Tensor,
    log_inclusion: Tensor | None = None,
) -> Tensor:
    """Mean over rows of the cross-entropy between target weights and softmax(hidden @ table.T).

    Logits, probabilities and both gradients are made chunk by chunk in one pass, so that never more
    than `BUFFER` logits exist (autograd would keep all of them and walk over them four times). The
    chunks are bfloat16 where the processor multiplies it natively and `hidden` is float32; sums stay
    float32. On Amazon Beauty that changes no figure in its fourth digit and costs a third. All chunks have
    one size, what is missing is filled up: a kernel is made and kept for each size that is met (on Beauty
    the training took 1,000 MB with sizes as they came, 560 MB with these).

    hidden: (n, d). table: (m, d), the catalogue or a sample of it. rows, columns, weights: (t,)
    target columns of each row; rows ascend, weights of a row add up to one.
    log_inclusion: (m,) log of the chance that a column got into the sample. Columns that are not
    the row's own targets weigh 1 / chance in the softmax's denominator, so that it estimates the
    whole catalogue's (log-Q correction of Yi et al., RecSys 2019; here own targets, which are always
    in, are not corrected). None: the table is the whole catalogue.

    >>> one = torch.zeros(1, dtype=torch.long)
    >>> round(softmax_loss(torch.zeros(1, 2), torch.ones(4, 2), one, one, torch.ones(1)).item(), 4)
    1.3863
    """
    loss: Tensor = _SoftmaxLoss.apply(hidden, table, rows, columns, weights, log_inclusion)  # type: ignore[no-untyped-call]
    return loss


@cache
def multiplies_bfloat16() -> bool:
    """Whether this processor has instructions for bfloat16 products (others emulate them slowly)."""
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


class _SoftmaxLoss(torch.autograd.Function):
    """Forward computes the gradients too; backward only scales them."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, table: Tensor, *targets: Tensor) -> Tensor:
        rows, columns, weights, log_inclusion = targets
        n, m = len(hidden), len(table)
        spare = 0 if log_inclusion is None else -m % COLUMNS
        chunk = _chunk(n, max(1, BUFFER // (m + spare)))
        whole = nn.functional.pad(hidden.detach(), (0, 0, 0, -n % chunk))
        d_hidden, d_table = torch.empty_like(whole), table.new_zeros(m + spare, table.shape[1])
        low = hidden.dtype == torch.float32 and multiplies_bfloat16()
        kind = torch.bfloat16 if low else hidden.dtype
        left, right = whole.to(kind), nn.functional.pad(table.detach().to(kind), (0, 0, 0, spare))
        edges = list(range(0, len(whole) + 1, chunk))
        cuts = torch.searchsorted(rows, torch.tensor(edges)).tolist()
        buffer = left.new_empty(chunk, m + spare)
        inclusion = None
        if log_inclusion is not None:  # a column that only fills up has no chance
            inclusion = nn.functional.pad(log_inclusion.to(kind), (0, spare), value=torch.inf)
        loss = 0.0
        for start, stop, lo, hi in zip(edges, edges[1:], cuts, cuts[1:], strict=False):
            logits = _logits(left[start:stop], right, buffer)
            at = (rows[lo:hi] - start, columns[lo:hi])
            if inclusion is not None:
                own = logits[at]
                logits -= inclusion
                logits[at] = own
            torch.softmax(logits, 1, out=logits)
            likely = logits[at].float().clamp(min=1e-38)
            loss -= float((weights[lo:hi] * likely.log()).sum())
            logits.index_put_(at, -weights[lo:hi].to(kind), accumulate=True)  # now the gradient
            d_hidden[start:stop] = logits @ right
            d_table += logits.T @ left[start:stop]
        ctx.save_for_backward(d_hidden[:n].div_(n), d_table[:m].div_(n))
        return d_hidden.new_tensor(loss / n)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        d_hidden, d_table = ctx.saved_tensors
        return d_hidden * grads[0], d_table * grads[0], None, None, None, None


def _chunk(n: int, most: int) -> int:
    """Rows of each chunk, for `n` rows in chunks of `most` at most.

    >>> [_chunk(n, 330) for n in (2040, 2060, 20)]
    [304, 304, 32]
    """
    share = -(-n // -(-n // most))  # ceilings
    return min(most, -(-share // ROWS) * ROWS)


def _logits(part: Tensor, table: Tensor, out: Tensor) -> Tensor:
    """part @ table.T into `out`, in blocks of columns where that is faster."""
    if part.dtype == torch.bfloat16:
        return torch.mm(part, table.T, out=out)
    for left in range(0, len(table), BLOCK):
        block = slice(left, min(left + BLOCK, len(table)))
        torch.mm(part, table[block].T, out=out[:, block])
    return out


def sample_columns(
    targets: Tensor, share: Tensor, size: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """(columns, log_inclusion): about `size` distinct columns, all of `targets` among them.

    The batch's own targets are there anyway and are popular, hard negatives; the rest is filled up
    evenly. A column gets in by either way, with chance 1 - (1 - share)^b * (1 - fill), where b is the
    number of targets drawn.

    targets: (t,) columns, with repeats. share: (m,) how often each column is a target; adds up to one.

    >>> whole = sample_columns(torch.tensor([2]), torch.ones(3) / 3, 3, torch.Generator())
    >>> [part.tolist() for part in whole]
    [[0, 1, 2], [0.0, 0.0, 0.0]]
    """
    m = len(share)
    present = torch.zeros(m, dtype=torch.bool)
    present[targets] = True
    absent = (~present).nonzero()[:, 0]
    fill = min(max(size - (m - len(absent)), 0) / max(len(absent), 1), 1.0)
    present[absent[torch.rand(len(absent), generator=generator) < fill]] = True
    missed = (len(targets) * torch.log1p(-share.double().clamp(max=1 - 1e-9))).exp() * (1.0 - fill)
    columns = present.nonzero()[:, 0]
    return columns, (1.0 - missed[columns]).log().to(share.dtype)
