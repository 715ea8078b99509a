"""How much one caller may ask, and how often one address may guess keys.

Token buckets: a name (a session, a key, an address) has `burst` tokens, gets `per_s` more every second,
and each request takes one. They are ours because they stand before every request: the moving windows of
the package `limits` cost 13 to 39 microseconds a hit where these cost one (benchmarks/gate_cost.py).
The longest unasked names are forgotten when there are more than MAX_NAMES.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

MAX_NAMES: Final = 20_000
BURST_S: Final = 3.0

MAX_WRONG: Final = 10
WINDOW_S: Final = 60.0
BLOCK_S: Final = 15.0
MAX_BLOCK_S: Final = 3600.0
FORGET_S: Final = 86400.0


class Buckets:
    """One bucket a name; per_s 0: no limit.

    >>> buckets = Buckets(2.0)
    >>> [buckets.take("a", 0.0) for _ in range(7)]
    [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5]
    >>> buckets.take("a", 0.5), buckets.take("b", 0.5)
    (0.0, 0.0)
    """

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        self._burst = max(1.0, per_s * BURST_S)
        self._held: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str, now_s: float) -> float:
        """0.0 when the request may go on; otherwise in how many seconds the next one may."""
        if not self._per_s:
            return 0.0
        held = self._held
        tokens, at_s = held.get(name, (self._burst, now_s))
        tokens = min(self._burst, tokens + max(0.0, now_s - at_s) * self._per_s)
        if tokens < 1.0:
            held[name] = (tokens, now_s)
            return (1.0 - tokens) / self._per_s
        held[name] = (tokens - 1.0, now_s)
        held.move_to_end(name)
        if len(held) > MAX_NAMES:
            held.popitem(last=False)
        return 0.0


@dataclass(slots=True)
class Guessed:
    """What one address showed lately."""

    wrong: int = 0
    since_s: float = 0.0
    blocks: int = 0
    until_s: float = 0.0


class Guesses:
    """Blocks an address that shows MAX_WRONG wrong keys within WINDOW_S, each time twice as long.

    While it is blocked no key of it is looked at, so what it guesses meanwhile tells it nothing. Keys that
    were right once and are over are not guesses.
    """

    def __init__(self) -> None:
        self._held: OrderedDict[str, Guessed] = OrderedDict()

    def blocked_s(self, address: str, now_s: float) -> float:
        """For how many seconds more; 0.0 when it is not."""
        found = self._held.get(address)
        return max(0.0, found.until_s - now_s) if found is not None else 0.0

    def wrong(self, address: str, now_s: float) -> None:
        """Count a wrong key."""
        found = self._held.setdefault(address, Guessed(since_s=now_s))
        self._held.move_to_end(address)
        if len(self._held) > MAX_NAMES:
            self._held.popitem(last=False)
        if now_s - max(found.since_s, found.until_s) > FORGET_S:
            found.blocks = 0
        if now_s - found.since_s > WINDOW_S:
            found.wrong, found.since_s = 0, now_s
        found.wrong += 1
        if found.wrong >= MAX_WRONG:
            found.until_s = now_s + min(MAX_BLOCK_S, BLOCK_S * 2.0**found.blocks)
            found.blocks, found.wrong, found.since_s = found.blocks + 1, 0, now_s


def whose(address: str) -> str:
    """An address as limits count it: one that holds a 64-bit network of IPv6 counts as one.

    >>> whose("192.0.2.7"), whose("2001:db8:1:2:3::4"), whose("::ffff:192.0.2.7"), whose("nonsense:")
    ('192.0.2.7', '2001:db8:1:2::/64', '192.0.2.7', '')
    """
    if ":" not in address:
        return address
    try:
        found = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return ""
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(found) >> 64 << 64, 64)))
