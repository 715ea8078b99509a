"""Puts tests/serving on the path: faults are put to the same real server that its tests ask."""

import sys
from pathlib import Path

SERVING = Path(__file__).parent.parent / "serving"
if str(SERVING) not in sys.path:
    sys.path.insert(0, str(SERVING))
