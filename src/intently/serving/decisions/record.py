"""One decision and its bytes.

A decision holds references to what the answer was made of; nothing is copied or encoded before the writing
thread takes it. Its bytes are a short JSON head and packed little-endian arrays: about six bytes a candidate
in a shop of up to 65,536 items, eight in a larger one. Items are the memory's numbers, which hold within one
run of the service: its `era`, whose names the file keeps.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import orjson

from intently.errors import StoreError
from intently.schema import BoolArray, ByteArray, DoubleArray, IntArray
from intently.serving.decisions.ids import PREFIX

_LAYOUT: Final = 1
_HEAD: Final = struct.Struct("<BIHHHB")  # layout, bytes of JSON, candidates, dropped, odd propensities, flags
_WIDE, _MIXED = 1, 2
_NARROW_ITEMS: Final = 1 << 16
_MOST: Final = (1 << 16) - 1
_INT, _SHORT, _FLOAT = np.dtype("<i4"), np.dtype("<u2"), np.dtype("<f4")
_most = np.maximum.reduce
LARGEST_MASK: Final = 200_000
"""Bars over a longer catalogue are kept by name and number only: their bits would outweigh the decision."""


@dataclass(slots=True)  # not frozen: several are made for an answer, and nothing changes them
class Barred:
    """What one stage kept out before candidates were looked for."""

    stage: str
    reason: str
    numbers: IntArray | None = None
    mask: BoolArray | None = None


@dataclass(slots=True)
class Decision:
    """Everything behind one answer, by reference.

    id: of the answer. start: places before this page. who: as in View. at_s: by the shop's clock. row: the
    last row of the store that counted. n_history, history: how many positive events the user had, and a
    checksum of their times. numbers, scores, sources, propensity: every candidate, best first, as the list
    was cut; sources are places in `source_names`. shown: how many of them, from the front, were answered.
    dropped: (item, stage) of candidates that were taken out. request: what was asked, as it came.
    facts: what else was true of the answer, JSON (versions, scenario, filled_by, degraded, seed, ...).
    rules: the shop's rules then, pydantic models.
    """

    id: str
    who: str
    at_s: float
    row: int
    times: DoubleArray
    numbers: IntArray
    scores: DoubleArray
    sources: ByteArray
    source_names: Sequence[str]
    propensity: DoubleArray
    shown: int
    start: int = 0
    dropped: Sequence[tuple[int, str]] = ()
    bars: Sequence[Barred] = ()
    request: Any = None  # a pydantic model: what was set is written
    facts: Mapping[str, Any] = field(default_factory=dict)
    rules: Sequence[Any] = ()


@dataclass(frozen=True, slots=True)
class Logged:
    """A decision read back; items are numbers of its era."""

    key: bytes
    era: int
    start: int
    who: str
    at_s: float
    row: int
    n_history: int
    history: int
    numbers: IntArray
    scores: DoubleArray
    sources: list[str]
    propensity: DoubleArray
    shown: int
    dropped: list[tuple[int, str]]
    bars: list[Barred]
    request: dict[str, Any]
    facts: dict[str, Any]
    rules: list[dict[str, Any]]

    @property
    def id(self) -> str:
        """Of the answer."""
        return PREFIX + self.key.hex()


def checksum(times: DoubleArray) -> int:
    """Of a history's times in whole seconds, oldest first: the same history has the same in every run."""
    return zlib.crc32(np.floor(times).astype("<i8").tobytes())


def packed(mask: BoolArray) -> bytes:
    """Bits, and how many there are."""
    return len(mask).to_bytes(4, "little") + np.packbits(mask).tobytes()


def told(rules: Sequence[Any]) -> bytes:
    """Rules as JSON."""
    return orjson.dumps([rule.model_dump(mode="json", exclude_defaults=True) for rule in rules])


def encode(decision: Decision, masks: Mapping[int, int], rules: int = 0) -> bytes:
    """The bytes of a decision; masks: place of a bar -> the key of its bits; rules: the key of the rules."""
    numbers = decision.numbers[:_MOST]
    m = len(numbers)
    taken, stages, which = _dropped(decision.dropped[:_MOST])
    names, codes = _named(decision.source_names, decision.sources[:m].tobytes())
    propensity = decision.propensity[:m]
    odd = (propensity != 1.0).nonzero()[0]
    wide = max(_most(numbers, initial=0), _most(taken, initial=0)) >= _NARROW_ITEMS
    kind = _INT if wide else _SHORT
    request = decision.request
    said = {
        "w": decision.who,
        "t": decision.at_s,
        "r": decision.row,
        "h": [len(decision.times), checksum(decision.times)],
        "n": decision.shown,
        "q": {} if request is None else request.model_dump(exclude_unset=True),
        "f": decision.facts,
        "s": names,
        "d": stages,
        "b": [_bar(bar, masks.get(place)) for place, bar in enumerate(decision.bars)],
        "u": rules,
    }
    head = orjson.dumps(said, option=orjson.OPT_SERIALIZE_NUMPY, default=_listed)
    flags = (_WIDE if wide else 0) | (_MIXED if len(names) > 1 else 0)
    parts = [
        _HEAD.pack(_LAYOUT, len(head), m, len(taken), len(odd), flags),
        head,
        numbers.astype(kind).tobytes(),
        decision.scores[:m].astype(_FLOAT).tobytes(),
    ]
    if len(names) > 1:
        parts.append(codes)
    if len(odd):
        parts += [odd.astype(_SHORT).tobytes(), propensity[odd].astype(_FLOAT).tobytes()]
    if len(taken):
        parts += [taken.astype(kind).tobytes(), which]
    return b"".join(parts)


def _listed(value: Any) -> Any:
    """Arrays that orjson does not write itself: those that are views."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"no JSON of {type(value).__name__}")


def _dropped(dropped: Sequence[tuple[int, str]]) -> tuple[IntArray, list[str], bytes]:
    """Items, names of stages, and for each item the place of its stage among them."""
    if not dropped:
        return np.zeros(0, np.int32), [], b""
    items, stages = zip(*dropped, strict=True)
    taken = np.array(items, np.int32)
    code = {stage: place for place, stage in enumerate(dict.fromkeys(stages))}
    return taken, list(code), bytes(len(stages)) if len(code) == 1 else bytes([code[s] for s in stages])


def decode(key: bytes, start: int, era: int, body: bytes, shared: Mapping[int, bytes]) -> Logged:
    """What `encode` wrote; shared: what is kept apart, by key, b"" for what is gone. Raises StoreError."""
    try:
        layout, size, m, n_dropped, n_odd, flags = _HEAD.unpack_from(body)
        if layout != _LAYOUT:
            raise StoreError(f"the decision has layout {layout}; this Intently reads {_LAYOUT}")
        said = orjson.loads(body[_HEAD.size : _HEAD.size + size])
        parts = _Parts(body, _HEAD.size + size)
        kind = "<i4" if flags & _WIDE else "<u2"
        numbers = parts.take(kind, m).astype(np.int32)
        scores = parts.take("<f4", m).astype(np.float64)
        codes = parts.take("u1", m if flags & _MIXED else 0)
        odd, chances = parts.take("<u2", n_odd), parts.take("<f4", n_odd)
        taken, stages = parts.take(kind, n_dropped), parts.take("u1", n_dropped)
        names = said["s"] or [""]
        propensity = np.ones(m)
        propensity[odd] = chances
        return Logged(
            key=key,
            era=era,
            start=start,
            who=said["w"],
            at_s=said["t"],
            row=said["r"],
            n_history=said["h"][0],
            history=said["h"][1],
            numbers=numbers,
            scores=scores,
            sources=[names[code] for code in codes.tolist()] if len(names) > 1 else names * m,
            propensity=propensity,
            shown=said["n"],
            dropped=[(int(n), said["d"][s]) for n, s in zip(taken, stages, strict=True)],
            bars=[_read_bar(bar, shared) for bar in said["b"]],
            request=said["q"],
            facts=said["f"],
            rules=orjson.loads(shared.get(said["u"]) or b"[]"),
        )
    except (struct.error, ValueError, KeyError, IndexError, TypeError) as error:
        raise StoreError("the decision cannot be read: the log is damaged there") from error


def armed(body: bytes) -> tuple[str, str, str] | None:
    """(experiment, arm, whose arm) of a decision's bytes, None outside all experiments; no array is read."""
    _layout, size, *_rest = _HEAD.unpack_from(body)
    head = body[_HEAD.size : _HEAD.size + size]
    if b'"experiment":' not in head:  # nearly always, and quicker than reading it
        return None
    said = orjson.loads(head)
    found = said["f"].get("experiment")
    return (found["name"], found["arm"], said["f"].get("unit", said["w"])) if found else None


def shared_of(body: bytes) -> list[int]:
    """Keys of what a decision's bytes leave to be kept apart."""
    _layout, size, *_rest = _HEAD.unpack_from(body)
    said = orjson.loads(body[_HEAD.size : _HEAD.size + size])
    return [bar["m"] for bar in said["b"] if "m" in bar] + ([said["u"]] if said["u"] else [])


def _named(names: Sequence[str], codes: bytes) -> tuple[list[str], bytes]:
    """The names that occur, and codes into them."""
    if codes and codes.count(codes[0]) == len(codes):  # nearly always
        return [names[codes[0]]], bytes(len(codes))
    used = sorted(set(codes))
    return [names[code] for code in used], codes.translate(
        bytes.maketrans(bytes(used), bytes(range(len(used))))
    )


def _bar(bar: Barred, mask: int | None) -> dict[str, Any]:
    said: dict[str, Any] = {"s": bar.stage, "r": bar.reason}
    if mask is not None:
        said["m"] = mask
    elif bar.mask is not None:
        said["c"] = int(bar.mask.sum())
    elif bar.numbers is not None:
        said["x"] = bar.numbers[:_MOST]
    return said


def _read_bar(said: Mapping[str, Any], shared: Mapping[int, bytes]) -> Barred:
    numbers = np.array(said["x"], np.int32) if "x" in said else None
    bits, mask = shared.get(said.get("m", -1), b""), None
    if bits:
        length = int.from_bytes(bits[:4], "little")
        mask = np.unpackbits(np.frombuffer(bits[4:], np.uint8), count=length).astype(bool)
    return Barred(said["s"], said["r"], numbers, mask)


class _Parts:
    """Reads one array after the other."""

    def __init__(self, body: bytes, at: int) -> None:
        self._body, self._at = body, at

    def take(self, kind: str, n: int) -> np.ndarray[Any, Any]:
        """The next `n` values."""
        found = np.frombuffer(self._body, np.dtype(kind), n, self._at)
        self._at += found.nbytes
        return found
