"""An OpenAI-compatible server that compares answers as a test says, and keeps what it was asked."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from mio_local.learning import MakeSettings
from mio_local.making.answered import Answered
from mio_local.making.answered import Asked as Prompt
from mio_local.making.judging.choose import judge_of
from mio_local.making.judging.server_judge import ServerJudge

Asked = tuple[str, str, dict[str, str], Any]  # method, path, headers, body
Reply = tuple[int, dict[str, str], bytes]


class JudgeServer:
    """`decide(A, B)` is what its model says of two answers; `reply`, where it is set, what the server does instead: it
    gets the handler, and gives a reply or None, for what it has sent itself."""

    def __init__(self, decide: Callable[[str, str], Any]) -> None:
        self.decide = decide
        self.reply: Callable[[Any, Asked], Reply | None] | None = None
        self.models: Reply = said({"data": [{"id": "small"}, {"id": "large"}]})
        self.asked: list[Asked] = []
        self.url = ""

    @property
    def calls(self) -> list[Asked]:
        """The comparisons that were asked for."""
        return [each for each in self.asked if each[1].endswith("/chat/completions")]

    def answer(self, handler: Any, asked: Asked) -> Reply | None:
        self.asked.append(asked)
        if asked[1].endswith("/models"):
            return self.models
        if self.reply:
            return self.reply(handler, asked)
        return message(self.decide(*shown(asked[3])))


def shown(body: Any) -> tuple[str, str]:
    """The two answers that a request shows, by the shipped words."""
    text = body["messages"][0]["content"]
    first, second = (re.search(rf"<answer-{name}>\n(.*?)\n</answer-{name}>", text, re.DOTALL) for name in "AB")
    assert first
    assert second
    return first[1], second[1]


def said(content: Any, status: int = 200, **headers: str) -> Reply:
    """A reply of JSON."""
    return status, {name.replace("_", "-"): text for name, text in headers.items()}, json.dumps(content).encode()


def message(text: Any) -> Reply:
    """A reply with the model's message."""
    return said({"choices": [{"message": {"role": "assistant", "content": text}}]})


@contextmanager
def judge_server(decide: Callable[[str, str], Any]) -> Iterator[JudgeServer]:
    """One that runs, on a port of its own."""
    served = JudgeServer(decide)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            reply = served.answer(self, (self.command, self.path, dict(self.headers), body))
            if reply is None:
                return
            status, headers, content = reply
            try:
                self.send_response(status)
                for name, text in {"Content-Length": str(len(content)), **headers}.items():
                    self.send_header(name, text)
                self.end_headers()
                self.wfile.write(content)
            except OSError:  # it had enough
                pass

        do_POST = do_GET

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    served.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def larger(first: str, second: str) -> str:
    """The verdict for the larger of two numbers."""
    return f"It is larger.\n{'A' if int(first) > int(second) else 'B'}"


def made(url: str, *, trusted: bool = True, **more: Any) -> ServerJudge:
    """The judge at an address."""
    judge = judge_of(MakeSettings(judge=f"server:{url}", **more), trusted=trusted)
    assert isinstance(judge, ServerJudge)
    return judge


def answers_to(*answers: str, prompt: Any = "Which?") -> Answered:
    """A prompt with answers."""
    return Answered(Prompt(prompt, None, "here line 1"), answers, (False,) * len(answers))
