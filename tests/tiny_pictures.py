"""Pictures of two kinds, drawn: dots on a blue ground and slanted bars on a brown one, no two alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw


def draw(file: Path, kind: int, seed: int) -> Path:
    """Write one of `kind` 0 or 1."""
    random = np.random.default_rng(1000 * kind + seed)
    picture = Image.new("RGB", (160, 160), ((40, 90, 200), (150, 90, 40))[kind])
    brush = ImageDraw.Draw(picture)
    for _ in range(14):
        x, y, r = (int(number) for number in random.integers(8, 152, 3) // (1, 1, 8))
        if kind == 0:
            brush.ellipse((x - r, y - r, x + r, y + r), fill=(255, 230, 40 + 10 * r))
        else:
            brush.line((x - 40, y + 40, x + 40, y - 40), fill=(30, 120 + 5 * r, 30), width=3 + r // 3)
    file.parent.mkdir(parents=True, exist_ok=True)
    picture.save(file)
    return file
