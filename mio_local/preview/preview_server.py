"""The data preview process, `python -m mio_local.preview.preview_server`.

It reads and tokenises for the app, which imports neither datasets nor transformers.

One JSON object a line on stdin, and answers with the same id on stdout; the process ends when stdin closes.

    {"id": 1, "do": "open", "data": {...}, "model": {...}, "seed": 0}    the recipe's keys, of "loss": {...} too, by
                                                                         which groups are read; without a model's name,
                                                                         pairs are shown as text
    {"id": 2, "do": "pair", "row": 0}                                    one pair exactly as it will be tokenised
    {"id": 3, "do": "summary"}                                           progress, then statistics over all pairs

Requests are answered in order, except that a pair is answered while a summary is under way, and that the next open or
summary cancels one. What went wrong is answered as {"id": ..., "error": "one line"}. Of the texts, `columns` and
`available` are as in the source, to be sent back; all others have no control characters and a bounded length.
"""

import contextlib
import dataclasses
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from mio_local.data.check import examine
from mio_local.data.detect import SYNONYMS, ColumnsError
from mio_local.data.formats import hub_reach
from mio_local.data.layouts import LAYOUTS
from mio_local.data.pairs import Pair, Pairs, load_pairs
from mio_local.data.reading.wanted import Wanted, wanted_of
from mio_local.data.template import Chat
from mio_local.data.tokenise import chat_with
from mio_local.data.tokenizer import load_tokenizer
from mio_local.errors import DataError
from mio_local.preview.shown import reasons, text_parts, token_parts
from mio_local.process import claim, trust, without
from mio_local.recipe import DataSettings, ModelSettings, Recipe, build
from mio_local.services.serving import Answer, Lines, Send, answered, fields_of, serve
from mio_local.storage.paths import expanded
from mio_local.text import visible_line

PROGRESS_GAP = 0.1  # seconds
# the settings that change no pair; whether the template is `none` does
NOT_OF_PAIRS = {"max_tokens", "long_prompt", "bad_rows", "eval_source", "eval_split", "eval_fraction", "template",
                "template_args", "thoughts", "score"}


@dataclasses.dataclass(frozen=True)
class Request:
    """One line of stdin; `do` is empty for a line that is no request."""

    id: int | str | None
    do: str
    fields: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Opened:
    """What the last open gave: the pairs, and how they are tokenised where there is a model."""

    pairs: Pairs
    settings: DataSettings
    chat: Chat | None
    seed: int
    wanted: Wanted


class Superseded(Exception):
    """Another request makes the summary under way useless."""


class Watched(Pairs):
    """Pairs that call `watch(number)` before each one they give, so that long work over them can be broken off."""

    def __init__(self, pairs: Pairs, watch: Callable[[int], None]) -> None:
        super().__init__(pairs, pairs.layout, pairs.columns, pairs.rows, pairs.skipped)
        vars(self).update(vars(pairs))
        self._watch = watch

    def __iter__(self) -> Iterator[Pair]:
        for number, pair in enumerate(super().__iter__()):
            self._watch(number)
            yield pair


class Previewer:
    """Answers the requests in `lines` by `send`; keeps the last pairs and tokenizer, for the opens that change neither.

    `serve` never returns: whoever fills `lines` ends the process.
    """

    def __init__(self, lines: Lines, send: Send) -> None:
        self._lines = lines
        self._send = send
        self._next: Request | None = None
        self._opened: Opened | None = None
        self._pairs: tuple[object, Pairs] | None = None
        self._tokenizer: tuple[object, Any] | None = None

    def serve(self) -> None:
        while True:
            request, self._next = self._next or parse(self._lines.get()), None
            self._reply(request)

    def _reply(self, request: Request) -> None:
        self._send({"id": request.id, **answered("the preview", partial(self._answer, request))})

    def _answer(self, request: Request) -> Answer:
        match request.do:
            case "open":
                try:
                    return self._open(request.fields)
                except ColumnsError as error:  # with what is needed to name other columns
                    told = visible_line(str(error))
                    return {"error": told, "available": list(error.found), "roles": list(SYNONYMS)}
            case "pair":
                return self._pair(request.fields.get("row"))
            case "summary":
                return self._summary(request)
            case _:
                raise DataError("a request is a JSON object on one line, with an id and do: open, pair or summary")

    def _open(self, fields: Mapping[str, Any]) -> Answer:
        self._opened = None
        tables = {name: fields[name] for name in ("data", "model", "loss") if name in fields}
        recipe = build({**tables, "train": {"seed": fields["seed"]}} if "seed" in fields else tables, "preview")
        with hub_asked_anew():
            wanted = wanted_of(recipe.loss)
            pairs = self._load_pairs(recipe.data, wanted)
            chat = self._chat(recipe) if recipe.model.name else None
        self._opened = Opened(pairs, recipe.data, chat, recipe.train.seed, wanted)
        return {
            "source": visible_line(recipe.data.source),
            "layout": pairs.layout,
            "shows": next(layout.shows for layout in LAYOUTS if layout.name == pairs.layout),
            "columns": pairs.columns,
            "roles": list(SYNONYMS),
            "available": list(pairs.found),
            "unused": pairs.unused,
            "pairs": len(pairs),
            "rows": pairs.rows,
            "skipped": reasons(pairs.skipped),
            "problem": visible_line(pairs.problem),
            "tokens": chat is not None,
        }

    def _load_pairs(self, settings: DataSettings, wanted: Wanted) -> Pairs:
        files = stamps(settings.source, "**/*")
        key = (wanted, settings.model_dump(exclude=NOT_OF_PAIRS), settings.template == "none", files)
        if self._pairs is None or self._pairs[0] != key:
            self._pairs = None  # two large datasets may not fit
            skipping = settings.model_copy(update={"bad_rows": "skip"})
            self._pairs = key, load_pairs(settings.source, skipping, wanted=wanted)
        return self._pairs[1]

    def _chat(self, recipe: Recipe) -> Chat:
        return chat_with(self._load_tokenizer(recipe.model), recipe.data, expanded(recipe.model.name, "--model"))

    def _load_tokenizer(self, model: ModelSettings) -> Any:
        key = (model.name, model.revision, model.trust_remote_code, stamps(model.name, "*"))
        if self._tokenizer is None or self._tokenizer[0] != key:
            self._tokenizer = key, load_tokenizer(model)
        return self._tokenizer[1]

    def _current(self) -> Opened:
        if self._opened is None:
            raise DataError("no pairs are open; send an open that succeeds first")
        return self._opened

    def _pair(self, row: Any) -> Answer:
        opened = self._current()
        if type(row) is not int or not 0 <= row < len(opened.pairs):
            raise DataError(f"row {row}: there are rows 0 to {len(opened.pairs) - 1}")
        pair = opened.pairs[row]
        if opened.chat:
            parts = token_parts(opened.chat, opened.chat.encode(pair, opened.settings.max_tokens, "cut"),
                                sampled=pair.sampled)
        else:
            parts = text_parts(pair)
        return {"row": row, "where": visible_line(pair.where), "parts": parts}

    def _summary(self, request: Request) -> Answer:
        opened = self._current()
        if opened.chat is None:
            raise DataError("no model is chosen, so nothing can be tokenised")
        total = len(opened.pairs)
        told, told_at = 0, time.monotonic()

        def watch(number: int) -> None:
            nonlocal told, told_at
            self._look_up()
            if number > told and time.monotonic() - told_at > PROGRESS_GAP:
                told, told_at = number, time.monotonic()
                self._send({"id": request.id, "progress": [number, total]})

        try:
            watched = Watched(opened.pairs, watch)
            found = examine(watched, opened.chat, opened.settings, opened.seed, wanted=opened.wanted)
        except Superseded:
            return {"cancelled": True}
        summary = dataclasses.asdict(found.summary) | {
            "skipped": reasons(found.summary.skipped),
            "truncated_share": found.summary.truncated_share,
            "longer_share": found.summary.longer_share,
        }
        return {"summary": summary, "warnings": list(map(visible_line, found.warnings)),
                "stops": visible_line(found.stops)}

    def _look_up(self) -> None:
        """See to the requests that came during a summary."""
        while not self._lines.empty():
            request = parse(self._lines.get())
            if request.do in ("open", "summary"):
                self._next = request
                raise Superseded
            self._reply(request)


def parse(line: bytes) -> Request:
    """A line of stdin as a request."""
    fields = fields_of(line)
    identity, do = fields.get("id"), fields.get("do")
    known = isinstance(identity, int | str) and isinstance(do, str)
    return Request(identity if isinstance(identity, int | str) else None, str(do) if known else "", fields)


def stamps(name: str, pattern: str) -> list[tuple[str, int, int]]:
    """(path, size, time of change) of a file, or of those in a folder; empty for what is on the hub."""
    with contextlib.suppress(OSError, ValueError, RuntimeError):  # nothing there: whoever reads it says so
        path = Path(name).expanduser()
        files = [path] if path.is_file() else path.glob(pattern) if name and path.is_dir() else []
        return [(str(file), stat.st_size, stat.st_mtime_ns) for file in files for stat in [file.stat()]]
    return []


@contextlib.contextmanager
def hub_asked_anew() -> Generator[None]:
    """Undo what `rows` does where the hub does not answer: go offline for the rest of the process."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    try:
        yield
    finally:
        hub_reach.forget()
        constants.HF_HUB_OFFLINE = before
        if loaded := sys.modules.get("datasets.config"):
            loaded.HF_HUB_OFFLINE = before  # pyright: ignore[reportAttributeAccessIssue] - a module, by its name


def main() -> None:
    """Serve until stdin closes."""
    claim()
    trust()  # the form asks for remote code where the user allowed it by hand
    without("torch")
    serve(lambda lines, send: Previewer(lines, send).serve())


if __name__ == "__main__":
    main()
