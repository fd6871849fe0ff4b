"""Words from outside, made into text that is only text: no markup is read from it, no control character is left."""

import functools
import math
import sys
import time

from rich.text import Text
from textual.app import App

from mio_local.text import harmless, visible_line

NONE = "—"
LARGEST = sys.float_info.max
STATES = {  # sign, theme variable: a state is told by its sign and its word, its colour only helps
    "queued": ("◌", "secondary"),
    "starting": ("◌", "accent"),
    "training": ("●", "chosen"),
    "paused": ("‖", "warning"),
    "stopping": ("●", "warning"),
    "done": ("✓", "success"),
    "stopped": ("■", "secondary"),
    "failed": ("✗", "error"),
    "lost": ("?", "warning"),
    "damaged": ("✗", "error"),
}


def paint(app: App[object], variable: str) -> str:
    """A theme variable's colour as a Rich style, for table cells, which know no variables."""
    value = app.theme_variables.get(variable, "").removeprefix("ansi_").partition(" ")[0]
    return "" if value == "auto" else value


def line(value: object, limit: int = 200, style: str = "") -> Text:
    """One line, cut to `limit` characters."""
    return Text(visible_line(str(value), limit), style=style, no_wrap=True, overflow="ellipsis")


def block(value: object, limit: int = 4000, style: str = "") -> Text:
    """Several lines, cut to `limit` characters; other control characters than newline and tab are shown as codes."""
    return Text(harmless(str(value)[:limit]), style=style)


def number(value: object, form: str = "+.2f") -> str:
    """A figure, or a dash where there is none that is finite."""
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST:
        return format(value, form)
    return NONE


def short(value: float | None, digits: int, sign: str = "") -> str:
    """A figure with so many digits after the point, fewer the larger it is: 1.403, 14.03, 140.3, 1e+05."""
    if value is None or not abs(value) <= LARGEST:
        return NONE
    large = len(str(int(abs(value)))) - 1 if abs(value) < 10_000 else 0
    return format(value, f"{sign}z.{max(digits - large, 0)}f" if abs(value) < 10_000 else f"{sign}.0e")


@functools.lru_cache(1000)
def short_rate(value: float | None) -> str:
    """A learning rate as people write it: 1e-5, 2.5e-5, 0.001; nothing where there is none."""
    if value is None or not 0 < value < 0.001:
        return "" if value is None else f"{value:g}"
    factor, _, power = f"{value:.2e}".partition("e")
    return f"{factor.rstrip('0').rstrip('.')}e{int(power)}"


def count(value: object, default: int = 0) -> int:
    """A whole number from a file that may hold anything."""
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53 else default


def size(value: float) -> str:
    """Bytes as people say them: 1.2 GB, 380 MB."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= scale:
            return f"{value / scale:.1f} {unit}" if value < 10 * scale else f"{value / scale:.0f} {unit}"
    return f"{value:.0f} B"


def duration(seconds: float) -> str:
    """Seconds as 45s, 4m12s or 3h05m."""
    if not math.isfinite(seconds):
        return NONE
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def now() -> float:
    """Unix seconds; the tests stop this clock."""
    return time.time()


def ago(seconds: float) -> str:
    """How long ago something was, in one word or two."""
    if seconds < 90:
        return "just now"
    for unit, scale in (("min", 60), ("h", 3600), ("days", 86400)):
        if seconds < {"min": 5400, "h": 129600, "days": math.inf}[unit]:
            return f"{seconds / scale:.0f} {unit} ago"
    return ""
