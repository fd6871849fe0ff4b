"""The sample panel: one prompt, the base model's answer, and the policy's at some step."""

from collections.abc import Sequence
from typing import Any

from rich.text import Text

from mio_tui.formatting import block

LIMITS = {"prompt": 1500, "base": 2500, "policy": 2500}  # characters


def sample_text(samples: Sequence[dict[str, Any]], index: int, waiting: bool, roomy: bool) -> Text:
    """Sample number `index`; `waiting` where more will come, `roomy` where its parts may stand apart."""
    if not samples:
        more = "none yet: one is answered at each evaluation, or now with g" if waiting else "none"
        return Text(f"sample answers: {more}", style="dim")
    event = samples[index]
    text = Text()
    for key, title in (("prompt", "PROMPT"), ("base", "BASE"), ("policy", f"STEP {event['step']}")):
        value = str(event.get(key) or "")
        text.append(title + ("\n" if roomy else "  "), style="bold" if key == "policy" else "bold dim")
        text.append(block(value, LIMITS[key]) if value.strip() else Text("(empty)", style="dim"))
        if len(value) > LIMITS[key]:
            text.append(f" … and {len(value) - LIMITS[key]:,} more characters", style="dim")
        text.append("\n\n" if roomy else "\n")
    text.rstrip()
    return text


def sample_title(samples: Sequence[dict[str, Any]], index: int) -> str:
    """What the panel is called."""
    if not samples:
        return "sample"
    which = f" · {index + 1} of {len(samples)}" if len(samples) > 1 else ""
    return f"sample · step {samples[index]['step']}{which}"
