"""The judges to choose from, and what is wrong with the name of one."""

import os

from mio_local.errors import nearest
from mio_tui.new.lookups.suggestions import Offer

# those that end in a colon want something behind it: a pattern, a file, a name, an address
WORDS = {
    "last-number": "right is the last number of the known answer",
    "boxed": r"right is what stands in the known answer's \boxed{}",
    "letter": "right is the known answer's letter, as B",
    "exact": "right is the known answer itself",
    "regex:": "right is what a pattern takes from the known answer",
    "json:": "right is JSON that fits the schema in a file",
    "gold": "known answer chosen, a wrong own one rejected",
    "gold:any": "known answer chosen, any other rejected",
    "mismatch": "rejected is an answer to another prompt",
    "hand": "nobody: you choose, after the making",
    "python:": "a file's reward(prompt, answer, row), which is run",
    "tests:": "unit tests in a file run the answers' code",
    "reward-model:": "a sequence classifier, of the hub or a folder",
    "server:": "a model at an OpenAI-compatible address",
}
OF_FILES = ("json", "python", "tests")


def judges() -> list[Offer]:
    """All of them, with a line each."""
    return [Offer(name, words) for name, words in WORDS.items()]


def judge_error(typed: str) -> str:
    """What is wrong with a judge's name; "" where nothing is."""
    kind, colon, rest = typed.partition(":")
    known = {name.partition(":")[0]: name.endswith(":") for name in reversed(WORDS)}
    if kind not in known:
        return f"no such judge{nearest(kind, known)}; page down lists them"
    if known[kind] and not rest:
        return f"say which: {kind}:{'FILE' if kind in OF_FILES else '...'}"
    if colon and not rest:
        return "nothing stands behind the colon"
    if kind in OF_FILES and not os.path.isfile(os.path.expanduser(rest)):
        return f"{rest}: no such file"
    return ""
