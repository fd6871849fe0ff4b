"""A model's tokenizer as llama.cpp has it: the tokens and their kinds, merges or scores, and how text is cut first.

llama.cpp knows two of the tokenizers that decoders have: byte-level BPE (`gpt2`), with the patterns that cut text into
words chosen by name (src/llama-vocab.cpp), and SentencePiece's BPE (`llama`), which joins the two neighbours that make
the token of the highest score. What is neither, or cuts text by an unknown pattern, is refused.
"""

import json
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mio_local.data.tokenizer import load_tokenizer
from mio_local.errors import ModelError
from mio_local.gguf_files.gguf_config import NotHere
from mio_local.models.locate import end_ids
from mio_local.recipe import ModelSettings

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6  # kinds of tokens, as GGUF numbers them
SPACE = "▁"  # what SentencePiece writes a space as
OTHER_WAY = "convert it with llama.cpp's own converter: --llama-cpp DIR"

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
DIGIT = r"\p{N}"
_CONTRACTED = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r"\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = rf"{_CONTRACTED}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_REST}"
LLAMA3 = QWEN2.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_WORD = r"[^\r\n\p{L}\p{N}]?"
TEKKEN = (
    rf"{_WORD}{_UPPER}*{_LOWER}+|{_WORD}{_UPPER}+{_LOWER}*|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_REST}"
)
GPT4O = (
    rf"{_WORD}{_UPPER}*{_LOWER}+{_CONTRACTED}?|{_WORD}{_UPPER}+{_LOWER}*{_CONTRACTED}?"
    rf"|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_REST}"
)
# llama.cpp's name by the patterns that cut, and by whether a word that is a token is taken before any merge
PRE: dict[tuple[tuple[str, ...], bool], str] = {
    ((GPT2,), False): "gpt-2",
    ((DIGIT, GPT2), False): "smollm",
    ((LLAMA3,), True): "llama-bpe",
    ((LLAMA3,), False): "smaug-bpe",
    ((QWEN2,), False): "qwen2",
    ((GPT4O,), False): "gpt-4o",
    ((TEKKEN,), True): "tekken",
}  # fmt: skip


@dataclass(frozen=True)
class Vocabulary:
    """`values`: the metadata that says all of it. `notes`: what llama.cpp does otherwise, a line each."""

    values: dict[str, Any]
    notes: tuple[str, ...]


def read_vocabulary(folder: Path, rows: int) -> Vocabulary:
    """The tokenizer in `folder` for an embedding of `rows` rows: as many tokens. Raises ModelError for what llama.cpp
    cannot do."""
    tokenizer = load_tokenizer(ModelSettings(name=str(folder)))
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise NotHere(f"{folder}: its tokenizer is no tokenizer.json, so it cannot be written as GGUF; {OTHER_WAY}")
    described = json.loads(backend.to_str())
    if described["model"]["type"] != "BPE":
        raise NotHere(f"{folder}: a {described['model']['type']} tokenizer cannot be written as GGUF; {OTHER_WAY}")
    if tokenizer.eos_token_id is None:
        raise ModelError(f"{folder}: its tokenizer names no end token (eos_token), for which llama.cpp takes another")
    if described["model"].get("byte_fallback"):
        values, notes = _sentencepiece(folder, described, rows)
    else:
        values, notes = _byte_level(folder, described, rows)
    values |= _special(folder, tokenizer, rows)
    if stripping := [token["content"] for token in described["added_tokens"] if token["lstrip"] or token["rstrip"]]:
        notes.append(f"its {stripping[0]} takes spaces beside it, which llama.cpp leaves")
    named = {f"tokenizer.ggml.{key}": value for key, value in values.items()}
    template = tokenizer.chat_template
    if isinstance(template, dict):
        template = template.get("default")
    return Vocabulary(named | ({"tokenizer.chat_template": template} if template else {}), tuple(notes))


def _byte_level(folder: Path, described: dict[str, Any], rows: int) -> tuple[dict[str, Any], list[str]]:
    model = described["model"]
    affixes = [model.get(key) for key in ("continuing_subword_prefix", "end_of_word_suffix", "dropout")]
    normalizers = [step["type"] for step in _flat(described["normalizer"], "normalizers")]
    if any(affixes) or set(normalizers) - {"NFC"}:
        raise NotHere(f"{folder}: its tokenizer changes text before cutting it, as llama.cpp cannot; {OTHER_WAY}")
    steps = tuple(_cuts(folder, described["pre_tokenizer"]))
    if not (pre := PRE.get((steps, bool(model.get("ignore_merges"))))):
        raise NotHere(f"{folder}: llama.cpp has no name for how its tokenizer cuts text, {steps}; {OTHER_WAY}")
    tokens, types = _tokens(folder, described, rows)
    # llama.cpp asks for a list of merges, and GGUF has no empty one: this pair is of no byte's letters
    merges = [" ".join(pair) for pair in _merges(model)] or [f"{SPACE} {SPACE}"]
    notes = ["its tokenizer composes letters and accents (NFC), which llama.cpp leaves as typed"] if normalizers else []
    return {"model": "gpt2", "pre": pre, "tokens": tokens, "token_type": types, "merges": merges}, notes


def _flat(step: dict[str, Any] | None, inner: str) -> list[dict[str, Any]]:
    if step is None:
        return []
    return [part for each in step[inner] for part in _flat(each, inner)] if step["type"] == "Sequence" else [step]


def _cuts(folder: Path, pre: dict[str, Any] | None) -> Iterator[str]:
    """The patterns of a byte-level pre-tokenizer, one after the other."""
    steps = _flat(pre, "pretokenizers")
    if not steps or steps[-1]["type"] != "ByteLevel" or steps[-1]["add_prefix_space"]:
        raise NotHere(f"{folder}: its BPE tokenizer does not end in bytes, as llama.cpp's does; {OTHER_WAY}")
    for step in steps:
        match step:
            case {"type": "ByteLevel", "use_regex": regex}:
                if regex:
                    yield GPT2
            case {"type": "Digits", "individual_digits": True}:
                yield DIGIT
            case {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}:
                yield pattern
            case _:
                yield json.dumps(step)


def _merges(model: dict[str, Any]) -> list[tuple[str, str]]:
    pairs = (pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"])
    return [(left, right) for left, right in pairs]


def _tokens(folder: Path, described: dict[str, Any], rows: int) -> tuple[list[str], list[int]]:
    """Text and kind of each of `rows` tokens; ids that no token has are filled up, as llama.cpp counts both."""
    tokens, types = [f"[PAD{number}]" for number in range(rows)], [UNUSED] * rows
    for text, number in described["model"]["vocab"].items():
        if number < rows:
            tokens[number], types[number] = text, NORMAL
    for token in described["added_tokens"]:
        if (number := token["id"]) < rows:
            # llama.cpp's converter takes these for control tokens whatever the file says: a chat's marks
            control = token["special"] or (token["content"].startswith("<|") and token["content"].endswith("|>"))
            tokens[number] = token["content"] if control else token["content"].replace(SPACE, " ")
            types[number] = CONTROL if control else USER_DEFINED
    if len(set(tokens)) < rows:
        twice = Counter(tokens).most_common(1)[0][0]
        raise ModelError(f"{folder}: its tokenizer has {twice!r} twice, which llama.cpp does not allow")
    return tokens, types


def _sentencepiece(folder: Path, described: dict[str, Any], rows: int) -> tuple[dict[str, Any], list[str]]:
    model = described["model"]
    normalizers = [_kind(step) for step in _flat(described["normalizer"], "normalizers")]
    cuts = [_kind(step) for step in _flat(described["pre_tokenizer"], "pretokenizers")]
    spaced = {"Replace", "Metaspace first", "Metaspace always", "Metaspace never"} & {*normalizers, *cuts}
    known = {"Prepend", "Replace"}.issuperset(normalizers) and (not cuts or cuts == ["Split"] or len(spaced) == 1)
    if not known or not spaced:
        raise NotHere(f"{folder}: its tokenizer treats spaces as llama.cpp cannot, {normalizers + cuts}; "
                         f"{OTHER_WAY}")  # fmt: skip
    cut = any(step.get("split") for step in _flat(described["pre_tokenizer"], "pretokenizers"))
    if cut and (joined := [text for text in model["vocab"] if SPACE in text[1:]]):
        raise NotHere(f"{folder}: its tokenizer cuts at every space before it joins letters (split), and llama.cpp "
                         f"would make {joined[0]!r} all the same; {OTHER_WAY}")  # fmt: skip
    prefix = bool({"Prepend", "Metaspace first", "Metaspace always"} & {*normalizers, *cuts})
    tokens, types = _tokens(folder, described, rows)
    bytes_ = {f"<0x{number:02X}>" for number in range(256)}
    if missing := bytes_ - set(model["vocab"]):
        raise ModelError(f"{folder}: its tokenizer has no {min(missing)}, which llama.cpp needs for unknown letters")
    for text in bytes_:
        types[model["vocab"][text]] = BYTE
    if (unknown := model["vocab"].get(model.get("unk_token"))) is not None:
        types[unknown] = UNKNOWN
    added = {token["id"] for token in described["added_tokens"]}
    vocabulary = {text: number for text, number in model["vocab"].items() if number < rows and number not in added}
    scores = _stored_scores(folder, vocabulary, rows) or _merge_scores(folder, model, vocabulary, rows)
    notes = []
    if prefix and "Prepend" not in normalizers:
        notes.append("its tokenizer puts no space before a text that begins with one or follows a mark, llama.cpp does")
    values = {"model": "llama", "pre": "default", "tokens": tokens, "scores": scores, "token_type": types}
    return {**values, "add_space_prefix": prefix}, notes


def _kind(step: dict[str, Any]) -> str:
    match step:
        case {"type": "Prepend", "prepend": "▁"}:
            return "Prepend"
        case {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}:
            return "Replace"
        case {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme}:
            return f"Metaspace {scheme}"
        case {"type": "Split", "pattern": {"String": " "}}:
            return "Split"  # by spaces, of which none are left: Gemma's
        case _:
            return json.dumps(step, ensure_ascii=False)


def _merge_scores(folder: Path, model: dict[str, Any], vocabulary: dict[str, int], rows: int) -> list[float]:
    """Scores (rows,) that make llama.cpp merge as the list of merges does, the earlier the higher. Raises ModelError
    where no scores do: llama.cpp joins whatever makes a token, in the order of the tokens."""
    scores, made, last = [0.0] * rows, dict[str, int](), ""
    for left, right in (merges := _merges(model)):
        text = left + right
        if text in made and text != last:
            raise NotHere(f"{folder}: its tokenizer makes {text!r} at two places of its order, as no scores can; "
                             f"{OTHER_WAY}")  # fmt: skip
        last = text
        made.setdefault(text, len(made))
    pairs = set(merges)
    for text, number in vocabulary.items():
        if text in made:
            scores[number] = -float(made[text])
        for cut in range(1, len(text)):
            pair = text[:cut], text[cut:]
            if pair not in pairs and pair[0] in vocabulary and pair[1] in vocabulary:
                raise NotHere(f"{folder}: its tokenizer never joins {pair[0]!r} and {pair[1]!r}, which llama.cpp "
                                 f"does; {OTHER_WAY}")  # fmt: skip
    for text, number in vocabulary.items():
        if text not in made:
            scores[number] = -float(len(made) + number)
    return scores


def _stored_scores(folder: Path, vocabulary: dict[str, int], rows: int) -> list[float] | None:
    """Scores (rows,) as tokenizer.model has them; None without that file, or where it is of another vocabulary."""
    file = folder / "tokenizer.model"
    if not file.exists():
        return None
    try:
        pieces = dict(_pieces(file.read_bytes()))
    except (struct.error, ValueError, IndexError):
        return None
    if not pieces.keys() >= vocabulary.keys():
        return None
    scores = [0.0] * rows
    for text, number in vocabulary.items():
        scores[number] = pieces[text]
    return scores


def _pieces(data: bytes) -> Iterator[tuple[str, float]]:
    """Text and score of every piece: field 1 of sentencepiece's ModelProto, its own fields 1 (text) and 2 (score)."""
    for field, value in _fields(data):
        if field == 1 and isinstance(value, bytes):
            piece = dict(_fields(value))
            text, score = piece.get(1, b""), piece.get(2, bytes(4))
            if isinstance(text, bytes) and isinstance(score, bytes):
                yield text.decode(), struct.unpack("<f", score)[0]


def _fields(data: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Numbers and values of a protobuf message's fields."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
            if byte < 128:
                return value

    while at < len(data):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
            continue
        length = {1: 8, 5: 4}.get(key & 7) or varint()
        yield key >> 3, data[at : at + length]
        at += length


def _special(folder: Path, tokenizer: Any, rows: int) -> dict[str, Any]:
    """Ids of the tokens with a role, and whether text begins and ends with them."""
    found: dict[str, Any] = {}
    names = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}
    for role, name in names.items():
        number = getattr(tokenizer, f"{role}_token_id")
        if number is not None and number < rows:
            found[f"{name}_token_id"] = number
    ends = [number for number in end_ids(folder) if number != tokenizer.eos_token_id and number < rows]
    found |= dict(zip(("eot_token_id", "eom_token_id"), ends, strict=False))
    ids = tokenizer("a").input_ids
    found["add_bos_token"] = tokenizer.bos_token_id is not None and ids[0] == tokenizer.bos_token_id
    found["add_eos_token"] = len(ids) > 1 and ids[-1] == tokenizer.eos_token_id
    return found
