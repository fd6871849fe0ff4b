"""Which column of a dataset plays which role, by its name and by the kind of its cells."""

import difflib
from collections.abc import Callable, Mapping, Sequence

from mio_local.errors import DataError, nearest

# The first spelling that a dataset has is taken, so a more telling name stands before a vaguer one. A dot leads into a
# column; of the answers of `answer_a` and `answer_b` those of one dataset stand at one place.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "prompt": (
        "prompt", "question", "instruction", "messages", "conversations", "conversation", "query", "input.messages",
        "input", "context", "history",
    ),
    "chosen": (
        "chosen", "chosen_response", "response_chosen", "accepted", "preferred", "preferred_output", "better", "good",
        "chosen_messages",
    ),
    "rejected": (
        "rejected", "rejected_response", "response_rejected", "dispreferred", "non_preferred_output", "worse", "bad",
        "rejected_messages",
    ),
    "answers": ("output",),
    "system": ("system", "system_prompt", "system_message"),
    "input": ("input",),
    "history": ("history",),
    "context": ("context",),
    "tools": ("tools", "functions", "input.tools", "input.functions"),
    "answer_a": ("response_0", "human_ref_A", "response1", "response_1", "conversation_a", "response_a", "answer_a"),
    "answer_b": ("response_1", "human_ref_B", "response2", "response_2", "conversation_b", "response_b", "answer_b"),
    "winner": ("better_response_id", "labels", "overall_preference", "preference_strength", "winner", "winner_model_a"),
    "winner_b": ("winner_model_b",),
    "tie": ("winner_tie",),
    "candidates": ("completions", "answers", "generations", "responses", "candidates", "all_generated_responses"),
    "scores": ("ratings", "scores", "rewards", "ranks", "rankings", "all_rm_scores"),
    "label": ("label", "labels", "kto_tag", "desirable", "is_desirable"),
    "completion": ("completion", "response", "answer", "generation", "output"),
    "chosen_reward": ("chosen_reward", "reward_chosen", "score_chosen", "chosen_score", "chosen_rating",
                      "rating_chosen", "chosen-rating"),
    "rejected_reward": ("rejected_reward", "reward_rejected", "score_rejected", "rejected_score", "rejected_rating",
                        "rating_rejected", "rejected-rating", "rejected_rewards"),
}  # fmt: skip
ALIASES = {"messages": "prompt", "conversations": "prompt", "instruction": "prompt", "output": "answers",
           "functions": "tools"}
KIND_NAMES = {
    "text": "text", "transcript": "text", "messages": "a list of messages", "answered": "a list of messages",
    "message": "one message", "texts": "a list of texts", "objects": "a list of objects",
    "conversations": "a list of conversations", "written": "messages written as text",
}  # fmt: skip
PROMPT_KINDS = ("text", "transcript", "messages", "answered", "message")
LISTS = ("texts", "objects", "messages", "answered", "conversations")
AT_LEAST = 0.75  # alike: `choosen` is, `completion` is not


class ColumnsError(DataError):
    """Columns that make no pair; `found` are those that the source has."""

    def __init__(self, message: str, found: Sequence[str]) -> None:
        super().__init__(message)
        self.found = found


def find_roles(
    columns: Mapping[str, str], found: Sequence[str], kind: Callable[[str], str], source: str
) -> dict[str, str]:
    """The column of each role: as given by `columns`, else by its spelling.

    `kind` gives a column's kind of cell, `none` where there is no such column. Raises ColumnsError for a role or a
    column that is not there.
    """
    roles: dict[str, str] = {}
    named: set[str] = set()
    for given, column in columns.items():
        role = ALIASES.get(given, given)
        if role not in SYNONYMS:
            raise ColumnsError(f"--columns {given}={column}: no such role{nearest(given, SYNONYMS)}; "
                               f"roles are {', '.join(SYNONYMS)}", found)
        if column and kind(column) == "none":
            raise ColumnsError(f"{source}: no column {column}{nearest(column, found)} for {given}; "
                               f"found {', '.join(found)}", found)
        named.add(role)
        if column:
            roles[role] = column
    for role, spellings in SYNONYMS.items():
        if role in named:
            continue
        free = [name for name in spellings if kind(name) != "none" and name not in roles.values()]
        if column := _taken(role, free, roles, kind):
            roles[role] = column
    return roles


def _taken(role: str, free: Sequence[str], roles: Mapping[str, str], kind: Callable[[str], str]) -> str:
    """Of the free columns with a role's spelling the one that plays it; empty where none does."""
    beside_instruction = roles.get("prompt") == "instruction"
    shp = kind("human_ref_A") != "none"  # whose question is its `history`, and whose `labels` tell the better answer
    match role:
        case "prompt":
            free = [name for name in free if name != "history" or shp]
            usable = [name for name in free if kind(name) in PROMPT_KINDS]
            filled = [name for name in free if kind(name) != "null"]
            return next(iter(usable or filled), "")
        case "answers":
            free = [name for name in free if beside_instruction and kind(name) not in ("text", "transcript")]
        case "input" | "history":
            free = free if beside_instruction else []
        case "context":  # beside another conversation it may be of that one
            talks = any(kind(name) in LISTS for name in SYNONYMS["prompt"])
            free = [name for name in free if kind(name) == "text" and not talks and _is_text(roles, kind)]
        case "answer_b":
            free = free if "answer_a" in roles else []
        case "winner":
            free = [name for name in free if "answer_b" in roles and (name != "labels" or shp)]
        case "winner_b" | "tie":
            free = free if roles.get("winner") == "winner_model_a" else []
        case "candidates":
            free = [name for name in free if kind(name) in LISTS]
        case "scores":
            free = free if "candidates" in roles else []
        case "completion":
            usable = ("text", "messages", "answered", "message")
            free = [name for name in free if "label" in roles and kind(name) in usable]
        case _:
            pass
    return next(iter(free), "")


def _is_text(roles: Mapping[str, str], kind: Callable[[str], str]) -> bool:
    return "prompt" in roles and kind(roles["prompt"]) == "text"


def no_layout(roles: Mapping[str, str], kind: Callable[[str], str], found: Sequence[str], known: str) -> str:
    """Why these columns make no pair, and what to do about it."""
    listed = f"found {', '.join(found) or 'no columns'}"
    if not {"chosen", "rejected"} & roles.keys():
        if {"answer_a", "answer_b"} <= roles.keys():
            return (f"no column says which of {roles['answer_a']} and {roles['answer_b']} is better ({listed}); "
                    "name it with --columns winner=NAME")
        if "candidates" in roles:
            return (f"{roles['candidates']} has several answers, and no column has their scores ({listed}); "
                    "name it with --columns scores=NAME")
        talk = roles.get("prompt", "")
        one = next((name for name in SYNONYMS["completion"] if kind(name) == "text"), "")
        if one := one or (talk if talk and kind(talk) == "answered" else ""):
            return (f"no columns for chosen and rejected ({listed}): {one} has one answer to each prompt, and a pair "
                    "needs two; add the other, or a label of true or false for each; or let a model answer the "
                    "prompts: mio-local data make --prompts FILE")
    for role in ("chosen", "rejected", "prompt"):
        if role not in roles:
            close = _close(role, [column for column in found if column not in roles.values()])
            tail = f"; nearest: {close}" if close else ""
            return f"no column for {role} ({listed}{tail}); name it with --columns {role}={close or 'NAME'}"
    shapes = ", ".join(f"{column} is {KIND_NAMES.get(kind(column), kind(column))}" for column in roles.values())
    return f"no known layout has these columns ({shapes}); known: {known}"


def _close(role: str, columns: Sequence[str]) -> str:
    """The column that is surely meant: a misspelling of the role, or a name with the role in it."""
    inside = [column for column in columns if role in column.lower()]
    return next(iter(inside or difflib.get_close_matches(role, columns, 1, AT_LEAST)), "")
