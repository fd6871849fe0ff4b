"""What there is to set, what words mean, and what to begin with: `mio-local help [SUBJECT]`, and `mio-local recipes`,
those that ship."""

import argparse
import textwrap
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from mio_local import printing
from mio_local.arguments import parser
from mio_local.errors import RecipeError, nearest
from mio_local.flags import as_text, flag_of, meaning, rule
from mio_local.recipe import Recipe, keys
from mio_local.reports import glossary
from mio_local.shipped import recipes
from mio_local.text import visible_line

ALL = "settings"
TOPICS = "words"
PIPED = 1000  # columns: a line each, for grep


def main(arguments: argparse.Namespace) -> int:
    """Help with a subject, or the recipes."""
    out = printing.console()
    return listed(out) if arguments.command == "recipes" else explained(" ".join(arguments.subject), out)


def listed(out: printing.Console) -> int:
    """The shipped recipes, with what each is for."""
    for file in recipes():
        purpose = file.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
        out.print(f"{file.stem:<16} {purpose}")
    printing.next_steps(out, "mio-local train NAME", "mio-local train NAME --loss dpo --beta 0.05 --data PAIRS.jsonl")
    return 0


def explained(subject: str, out: printing.Console) -> int:
    """A command as its --help does; else all settings, a table of them, or those of a name; and what a word means.
    Raises RecipeError."""
    commands = parser().commands
    if not subject or subject in commands:
        with suppress(SystemExit):
            parser(subject).parse_args([subject, "--help"] if subject else ["--help"])
        return 0
    found = keys() if subject == ALL else matching(subject)
    topic, width = glossary.known(subject), out.width if out.is_terminal else PIPED
    if subject == TOPICS:
        topics(width, out)
        return 0
    if not found and not topic:
        known = [ALL, *commands, *Recipe.model_fields, *keys(), *(key.partition(".")[2] for key in keys())]
        known += [TOPICS, *glossary.topics()]
        words = ", ".join((glossary.VERDICT, *glossary.WORDS))
        raise RecipeError(f"help {visible_line(subject)}: no command, setting or word{nearest(subject, known)}; "
                          f"mio-local help {ALL} lists the settings; words: {words}")  # fmt: skip
    if topic:
        out.print("\n".join(wrapped(line, width) for line in glossary.explained(topic).split("\n")))
    if not found:
        return 0
    if topic:
        out.print()
    if len(found) == 1:
        one(*next(iter(found.items())), out)
        return 0
    out.print("\n".join(lines(found, width)))
    if subject == ALL:
        out.print("\nloss.beta is `beta` under [loss] in a recipe; its flag, or --set loss.beta=0.2, overrides that")
        printing.next_steps(out, "mio-local help loss.beta", "mio-local recipes")
    return 0


def topics(width: int, out: printing.Console) -> None:
    """Every word that is explained, and the verdicts."""
    for name, known in (("words", glossary.WORDS), ("verdicts", glossary.KIND_WORDS)):
        out.print(wrapped(f"{name}: {', '.join(known)}", width))
    printing.next_steps(out, f"mio-local help {glossary.VERDICT}", "mio-local help margin")


def wrapped(text: str, width: int) -> str:
    """A paragraph within `width` columns; what follows its first line is set in as far as its first words were."""
    inset = len(text) - len(text.lstrip())
    return textwrap.fill(text, max(width, 40), subsequent_indent=" " * (inset + 19 if inset else 2))


def matching(subject: str) -> dict[str, Any]:
    """The keys that a user may mean: a whole key, a table, a key without its table, or a flag without its dashes."""
    return {
        key: field for key, field in keys().items()
        if subject in (key, *key.split(".")) or f"--{subject}" == flag_of(field)
    }  # fmt: skip


def lines(found: Mapping[str, Any], width: int) -> list[str]:
    """Key, default, and what it is for: below one another, the tables apart, the last column within `width` columns."""
    defaults = {key: as_text(field.default) for key, field in found.items()}
    space = width - max(map(len, found)) - max(map(len, defaults.values())) - 4
    rows = list[list[str]]()
    before = ""
    for key, field in found.items():
        section, flag = key.partition(".")[0], flag_of(field)
        rows += [[""] * 3] * (before not in ("", section))
        first, *more = textwrap.wrap(f"{meaning(field)}{f' ({flag})' if flag else ''}", max(space, 20))
        rows += [[key, defaults[key], first], *(["", "", words] for words in more)]
        before = section
    return printing.aligned(rows)


def one(key: str, field: Any, out: printing.Console) -> None:
    """All there is to say of a key."""
    section, _, name = key.partition(".")
    flag, default = flag_of(field), as_text(field.default)
    given = f"--set {key}=VALUE"
    if flag:
        given = f"{flag} or --no-{flag[2:]}" if field.annotation is bool else f"{flag} VALUE"
    out.print(f"{key}: {field.description}\n")
    rows = [["default", default or "empty"], ["value", rule(field)], ["flag", given],
            ["recipe", f"{name} = ... under [{section}]"]]  # fmt: skip
    for line in printing.aligned(rows):
        out.print(f"  {line}")
