"""Writes a tiny E5S1 file, so that its reader is held to numbers that are known."""

from __future__ import annotations

import struct

import numpy as np

PIECES = ["<s>", "<pad>", "</s>", "<unk>", "\u2581", "\u2581tea", "\u8336", "\u0447\u0430\u0439", "<mask>"]
SIZE, INNER = 32, 64


def e5s1(seed: int = 0) -> bytes:
    """One layer of width 32 over nine pieces, of which one is Cyrillic; random numbers."""
    random = np.random.default_rng(seed)
    head = b"E5S1" + struct.pack("<i", 1)
    head += struct.pack("<7i", SIZE, 1, 4, INNER, len(PIECES), 16, 2) + struct.pack("<fi", 1e-12, 32)
    texts = [piece.encode() for piece in PIECES]
    starts = np.cumsum([0, *map(len, texts)]).astype("<u4")
    head += struct.pack("<5i", len(PIECES), 0, 2, 1, 3) + struct.pack("<Q", int(starts[-1]))
    head += starts.tobytes() + np.linspace(0, -8, len(PIECES)).astype("<f4").tobytes() + b"".join(texts)
    changes = [struct.pack("<IB", 1, 0), struct.pack("<IBI", 0x200B, 1, 0x20)]
    head += struct.pack("<iI", len(changes), len(b"".join(changes))) + b"".join(changes)
    tensors = dict(_tensors(random))
    directory = sum(2 + len(name) + 21 for name in tensors) + 4
    place = len(head) + directory
    listed = struct.pack("<i", len(tensors))
    for name, (kind, count, raw) in tensors.items():
        listed += struct.pack("<H", len(name)) + name.encode()
        listed += struct.pack("<BIQQ", kind, count, place, len(raw))
        place += len(raw)
    return head + listed + b"".join(raw for _, _, raw in tensors.values())


def _tensors(random: np.random.Generator) -> list[tuple[str, tuple[int, int, bytes]]]:
    def full(count: int) -> tuple[int, int, bytes]:
        return 0, count, random.standard_normal(count).astype("<f4").tobytes()

    def packed(count: int) -> tuple[int, int, bytes]:
        blocks = count // 32
        scale = np.full(blocks, 0.5, "<f2").view("u1").reshape(blocks, 2)
        halves = random.integers(0, 256, (blocks, 16), dtype="u1")
        return 1, count, np.concatenate([scale, halves], axis=1).tobytes()

    out = [
        ("emb.word", packed(len(PIECES) * SIZE)),
        ("emb.pos", full(16 * SIZE)),
        ("emb.type", full(2 * SIZE)),
    ]
    out += [("emb.ln.w", full(SIZE)), ("emb.ln.b", full(SIZE))]
    for name, rows, columns in (
        *((short, SIZE, SIZE) for short in ("q", "k", "v", "ao")),
        ("fi", INNER, SIZE),
        ("fo", SIZE, INNER),
    ):
        out += [(f"l0.{name}.w", packed(rows * columns)), (f"l0.{name}.b", full(rows))]
    for name in ("aln", "oln"):
        out += [(f"l0.{name}.w", full(SIZE)), (f"l0.{name}.b", full(SIZE))]
    return out
