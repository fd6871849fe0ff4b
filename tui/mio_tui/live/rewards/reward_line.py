"""A round and an evaluation of its rewards in a line: for the top of the screen and for the log."""

from typing import Any

from rich.text import Text

from mio_local.runs.history import History, is_number
from mio_tui.formatting import NONE, count, number
from mio_tui.live.plots import Look

SEPARATOR = Text.assemble((" │ ", "dim"))  # a style of its own would be that of all that it joins


def round_of(history: History) -> tuple[int, int]:
    """The newest round, and how many there will be; 0 where that is not known."""
    newest = history.last("round")
    return count(newest.get("round")), count(newest.get("rounds"))


def reward_line(made: dict[str, Any], greedy: dict[str, Any], first: dict[str, Any], look: Look, width: int) -> Text:
    """The newest round's figures and those of the newest and the first held-out rewards, as many as fit."""
    color = "bold"
    parts: list[Text] = []
    if greedy:
        words = Text.assemble("held out ", (number(greedy.get("reward/held_out"), ".2f"), color))
        words.append(f" ± {number(greedy.get('reward/held_out_stderr'), '.2f')}", style="dim")
        if first.get("step") != greedy.get("step"):
            words.append(f" ({number(first.get('reward/held_out'), '.2f')} at step {count(first.get('step'))})")
        parts.append(words)
    if made:
        parts.append(Text.assemble("drawn ", (number(made.get("reward/mean"), ".2f"), color)))
        if is_number(made.get("pass@1")):
            parts.append(Text(f"pass@1 {number(made['pass@1'], '.2f')}"))
        kl = number(made.get("kl_per_token" if look.per_token else "kl"), look.form)
        parts += [Text(f"KL {kl}"), Text(f"{number(made.get('answer_tokens'), '.0f')} tokens"),
                  Text(f"entropy {number(made.get('entropy'), '.3f')}")]  # fmt: skip
    fits = Text("")
    for end in range(1, len(parts) + 1):
        text = Text(" reward ").append(SEPARATOR.join(parts[:end]))
        if not fits.plain or text.cell_len <= width:
            fits = text
    fits.truncate(max(width, 1), overflow="ellipsis")
    return fits


def round_words(event: dict[str, Any]) -> str:
    """A round in the log."""
    which = f"round {count(event.get('round'))} of {count(event.get('rounds'))}"
    right = f", pass@1 {number(event['pass@1'], '.2f')}" if is_number(event.get("pass@1")) else ""
    mean, apart, kl = (
        number(event.get(key), form) for key, form in (("reward/mean", ".2f"), ("reward/std", ".2f"), ("kl", "+.2f"))
    )
    tokens = number(event.get("answer_tokens"), ".0f")
    return f"{which}: reward {mean} ± {apart}{right}, {tokens} tokens" + (f", KL {kl}" if kl != NONE else "")


def held_out_words(event: dict[str, Any]) -> str:
    """An evaluation of rewards in the log."""
    mean, error = (number(event.get(f"reward/held_out{end}"), ".2f") for end in ("", "_stderr"))
    return f"held-out reward {mean} ± {error} of {count(event.get('prompts'))} prompts"
