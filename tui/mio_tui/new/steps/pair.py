"""A pair as it is tokenised, and what the statistics say, as text."""

from collections.abc import Sequence
from typing import Any

from rich.text import Text

from mio_tui.formatting import count, line, number
from mio_tui.new.state import Data

BOUND = "│"  # between two tokens


def pair_text(parts: Sequence[dict[str, Any]]) -> Text:
    """Prompt dim, scored tokens underlined, special ones bold; a line ends where the text has its ⏎."""
    text = Text()
    for part in parts:
        tokens, scored = count(part.get("tokens")), bool(part.get("scored"))
        facts = [f"{tokens:,} tokens"] * bool(tokens) + ["scored"] * (scored and bool(tokens))
        facts += [("end cut" if scored else "start cut")] * bool(part.get("cut"))
        text.append_text(line(str(part.get("role", "")).upper(), 40, style="bold"))
        text.append(f"  {', '.join(facts)}\n" if facts else "\n", style="dim")
        for number_, (piece, special) in enumerate(part.get("pieces", ())):
            if number_ and tokens:
                text.append(BOUND, style="dim")
            style = " ".join(("underline" if scored and tokens else "dim" if tokens else "", "bold" * bool(special)))
            text.append(str(piece).replace("⏎", "⏎\n"), style=style.strip())
        if more := count(part.get("more")):
            text.append(f" … {more:,} more {'tokens' if tokens else 'characters'}", style="italic")
        text.append("\n" if text.plain.endswith("\n") else "\n\n")
    text.rstrip()
    return text


def facts_text(data: Data) -> Text:
    """What is known of the pairs that are open, a line each."""
    opened = data.opened
    rows = f"{count(opened.get('pairs')):,} pairs of {count(opened.get('rows')):,} rows"
    text = line(f"{rows} · {opened.get('layout', '')} ({opened.get('shows', '')})")
    unused = [str(name) for name in opened.get("unused", ())]
    lines = [f"not used: {', '.join(unused)}"] if unused else []
    if data.untokenised:
        lines.append(f"no tokens shown: {data.untokenised}")
    elif not opened.get("tokens"):
        lines.append("no tokens shown: choose a model first")
    if data.progress[1]:
        lines.append(f"counting tokens: {data.progress[0]:,} of {data.progress[1]:,}")
    if data.summary:
        lines += summary_lines(data.summary)
    lines += [f"! {warning}" for warning in data.warnings]
    for words in lines:
        text.append("\n").append_text(line(words, 300))
    text.no_wrap = False
    return text


def summary_lines(summary: dict[str, Any]) -> list[str]:
    """Lengths and counts, in two lines."""
    lengths: list[str] = []
    for name in ("prompt", "chosen", "rejected"):
        part = summary.get(name)
        if isinstance(part, dict):
            lengths.append(f"{name} {part['median']:,} / {part['p95']:,} / {part['largest']:,}")
    counts = [
        f"cut {number(summary.get('truncated_share'), '.1%')}",
        f"chosen longer {number(summary.get('longer_share'), '.0%')}",
        f"same twice {count(summary.get('identical')):,}",
        f"repeated {count(summary.get('duplicates')):,}",
        f"held out {count(summary.get('held_out_pairs')):,}",
    ]
    return [f"tokens (median / 95 % / most)  {'  '.join(lengths)}", " · ".join(counts)]
