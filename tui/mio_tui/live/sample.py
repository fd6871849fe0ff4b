"""The answer panel: the policy's newest answer beside the base model's, and below them the prompt."""

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from rich.console import Console
from rich.text import Text

from mio_tui.formatting import block, line

LIMITS = {"prompt": 1500, "base": 2500, "policy": 2500}  # characters
BESIDE = 60  # columns from which on two answers stand side by side
_CONSOLE = Console()  # asked for nothing but how to break lines


def sample_text(samples: Sequence[dict[str, Any]], index: int, waiting: bool, width: int) -> Text:
    """Sample number `index` in lines of at most `width` columns; `waiting` where more will come."""
    if not samples:
        more = "none yet: one comes with each evaluation, or now with g" if waiting else "none"
        return wrapped(Text(f"sample answers: {more}", style="dim"), width)
    event = samples[index]
    policy, base, prompt = (
        Text.assemble((title, "bold"), "\n", _part(event, key))
        for key, title in (("policy", f"STEP {event['step']}"), ("base", "BASE"), ("prompt", "PROMPT"))
    )
    if width < BESIDE:
        return Text("\n\n").join(wrapped(part, width) for part in (policy, base, prompt))
    half = (width - 3) // 2
    columns = zip_longest(wrapped(policy, half).split("\n"), wrapped(base, half).split("\n"), fillvalue=Text())
    rows = [padded(left, half).append(" │ ", style="dim").append(right) for left, right in columns]
    return Text("\n").join([*rows, Text(), wrapped(prompt, width)])


def sample_title(samples: Sequence[dict[str, Any]], index: int) -> Text:
    """What the panel is called."""
    if not samples:
        return Text("answer")
    which = f" · {index + 1} of {len(samples)}" if len(samples) > 1 else ""
    return Text(f"answer at step {samples[index]['step']}{which}")


def prompt_line(samples: Sequence[dict[str, Any]], index: int) -> Text:
    """The beginning of the prompt, for the panel's lower edge."""
    return line(f"to: {samples[index].get('prompt') or ''}") if samples else Text()


def wrapped(text: Text, width: int) -> Text:
    """Text in lines that are no longer."""
    return Text("\n").join(text.wrap(_CONSOLE, max(width, 1)))


def _part(event: dict[str, Any], key: str) -> Text:
    value = str(event.get(key) or "")
    if not value.strip():
        return Text("(empty)", style="dim")
    text = block(value, LIMITS[key])
    if len(value) > LIMITS[key]:
        text.append(f" … and {len(value) - LIMITS[key]:,} more characters", style="dim")
    return text


def padded(text: Text, width: int) -> Text:
    """Text with blanks up to a width."""
    text = text.copy()
    text.pad_right(max(width - text.cell_len, 0))
    return text
