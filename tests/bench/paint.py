"""Seconds from the command to the first drawn screen, in a pseudo-terminal: python tests/bench/paint.py"""

import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.helpers.tui.terminal import app_paint

with tempfile.TemporaryDirectory() as folder:
    taken = [app_paint(Path(folder) / "runs")[0] for _ in range(10)]
print(f"first paint: median {statistics.median(taken):.2f} s, best {min(taken):.2f}, worst {max(taken):.2f}, of 10")
