"""The chat process, `python -m mio_local.chat.chat_server`: it holds the model that the app's chat screen talks to.

One JSON object a line on stdin, and answers with the same id on stdout; the process ends when stdin closes.

    {"id": 1, "do": "open", "runs": FOLDER, "start": {"names": [RUN, ...], ...}}    the fields of ChatStart
                                        progress, then {"voices": [..., "base"], "model": NAME, "system": TEXT}
    {"id": 2, "do": "answer", "voice": "base", "messages": [...], "sampling": {...}}
                                        {"text": piece} for each, then {"whole": TEXT, "end": ..., "tokens", "seconds"}
    {"id": 3, "do": "pair", "messages": [...], "better": TEXT, "worse": TEXT}    whether it can be learnt from
    {"id": 4, "do": "stop"}             ends the answer under way

What went wrong is answered as {"id": ..., "error": "one line"}.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from mio_local.chat.start import ChatStart
from mio_local.errors import DataError
from mio_local.process import preload
from mio_local.sampling import Sampling
from mio_local.services.serving import Answer, Lines, Send, answered, fields_of, serve


class Server:
    """Answers the requests in `lines` by `send`, one after the other; a stop is obeyed during an answer."""

    def __init__(self, lines: Lines, send: Send) -> None:
        self._lines = lines
        self._send = send
        self._kept: list[bytes] = []  # requests that came during an answer
        self._talker: Any = None

    def serve(self) -> None:
        """Never returns: whoever fills `lines` ends the process."""
        while True:
            identity, fields = parse(self._kept.pop(0) if self._kept else self._lines.get())
            self._send({"id": identity, **answered("the chat", partial(self._answer, identity, fields))})

    def _answer(self, identity: int, fields: Mapping[str, Any]) -> Answer:
        match fields.get("do"):
            case "open":
                return self._open(identity, fields)
            case "answer" if self._talker:
                return self._talk(identity, fields)
            case "pair" if self._talker:
                self._talker.check_pair(fields["messages"], fields["better"], fields["worse"])
                return {}
            case "stop":
                return {}
            case _:
                raise DataError("a request is a JSON object on one line, with an id and do: open, answer, pair, stop")

    def _open(self, identity: int, fields: Mapping[str, Any]) -> Answer:
        from mio_local.chat.conversation import gather, open_talker

        def report(what: str, done: int, total: int) -> None:
            self._send({"id": identity, "progress": [what, done, total]})

        report("finding the model", 0, 0)
        base, adapters = gather(Path(fields["runs"]), ChatStart(**fields["start"]))
        self._talker = open_talker(base, adapters, report=report)
        return {"voices": self._talker.voices, "model": base.model.name, "system": base.system}

    def _talk(self, identity: int, fields: Mapping[str, Any]) -> Answer:
        def told(piece: str) -> bool:
            if piece:
                self._send({"id": identity, "text": piece})
            return not self._stop_asked()

        sampling = Sampling(**fields.get("sampling", {}))
        ending = self._talker.answer(fields["messages"], fields["voice"], sampling, told)
        return {"end": ending.end, "tokens": ending.tokens, "seconds": ending.seconds, "whole": ending.text}

    def _stop_asked(self) -> bool:
        asked = False
        while not self._lines.empty():
            line = self._lines.get()
            identity, fields = parse(line)
            if fields.get("do") == "stop":
                asked = True
                self._send({"id": identity})
            else:
                self._kept.append(line)
        return asked


def parse(line: bytes) -> tuple[int, Mapping[str, Any]]:
    """A line of stdin as its id and its fields; 0 and none for one that is no request."""
    fields = fields_of(line)
    identity = fields.get("id")
    return (identity, fields) if isinstance(identity, int) else (0, {})


def main() -> None:
    """Serve until stdin closes."""
    preload()
    serve(lambda lines, send: Server(lines, send).serve())


if __name__ == "__main__":
    main()
