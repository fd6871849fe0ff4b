"""JSON to and from an OpenAI-compatible server: bounded in time and size, again after a refusal that passes.

No redirect is followed, so that the key goes to the host that was named and no other. What a server says is in no
message of ours but for its status and a short code: it may repeat what it was asked.
"""

import contextlib
import email.utils
import http.client
import json
import os
import re
import socket
import ssl
import threading
import time
from typing import Any
from urllib.parse import urlsplit

from mio_local.errors import DataError, RecipeError, one_line
from mio_local.making.judging.plain_judge import CLOSED
from mio_local.storage.json_files import parse

KEYS = ("MIO_LOCAL_JUDGE_KEY", "OPENAI_API_KEY")  # of the environment; the first that is set
LARGEST = 1 << 20  # bytes of an answer
TRIES, SLOW_TRIES = 5, 2  # of one request, and of one that takes too long
LONGEST_WAIT = 60.0  # seconds between two tries, whatever the server asks for
AGAIN = (408, 409, 425, 429, 500, 502, 503, 504, 529)
LOCAL = ("localhost", "127.0.0.1", "::1")


class NoAnswer(Exception):
    """What came of one request in the end, in words."""

    def __init__(self, words: str, status: int = 0, code: str = "") -> None:
        super().__init__(words)
        self.status, self.code = status, code


class Down(NoAnswer):
    """Nobody listens there."""


class Late(NoAnswer):
    """It took too long."""


class _Call:
    """A request on its way, which another thread may end: the socket's own time begins anew with each byte. It is kept
    here, as a connection lets go of it before the answer is read."""

    def __init__(self) -> None:
        self.socket: socket.socket | None = None
        self.ended = threading.Event()

    def end(self) -> None:
        self.ended.set()
        if self.socket:
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)


class Server:
    """The server at `url`, asked with the environment's key where there is one and it is `trusted` with it.

    Raises RecipeError for an address that is none, one with a password in it, one on another machine that is not
    `trusted` with prompts and answers, and a key that would go there in the clear. Threads may ask at the same time.
    """

    def __init__(self, said: str, url: str, seconds: float, *, trusted: bool) -> None:
        self.said, self.seconds = said, seconds
        try:
            parts = urlsplit(url)
            self._host, self._port = parts.hostname or "", parts.port
        except ValueError as error:
            raise RecipeError(f"{said}: no address ({one_line(error)})") from None
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise RecipeError(f"--judge server:{self._host or '...'}: an address alone; a key goes into {KEYS[0]}")
        if parts.scheme not in ("http", "https") or not self._host:
            raise RecipeError(f"{said}: no address of a server; write it as server:http://localhost:1234/v1")
        if not trusted and self._host not in LOCAL:
            raise RecipeError(f"{said}: the recipe asks to send prompts and answers to {self._host}; to have it so, "
                              f"name it on the command line: {said}")  # fmt: skip
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._path = parts.path.rstrip("/") or "/v1"
        self._key = _key() if trusted else ""
        if self._key and not self._tls and self._host not in LOCAL:
            raise RecipeError(f"{said}: the key in the environment would go there in the clear; use https://, or unset "
                              f"{' and '.join(KEYS)}")  # fmt: skip
        self._closed, self._answered = threading.Event(), False
        self._open: set[_Call] = set()

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON that the server answers. Raises NoAnswer, Down where nobody listens, and DataError where it wants a
        key, or another one. Until it has answered once, nobody is waited for who does not listen."""
        for attempt in range(1, TRIES + 1):
            wait = min(2.0 ** (attempt - 1), LONGEST_WAIT)
            try:
                status, asked_wait, content = self._once(method, path, body)
            except NoAnswer as error:
                if attempt == (SLOW_TRIES if isinstance(error, Late) else TRIES) or error.status == 200:
                    raise
                if isinstance(error, Down) and not self._answered:
                    raise
                trouble: NoAnswer = error
            else:
                self._answered = True
                if status == 200:
                    return _parsed(content)
                trouble = self._refusal(status, content)
                if status not in AGAIN or attempt == TRIES:
                    raise trouble
                wait = wait if asked_wait is None else min(max(asked_wait, 0.0), LONGEST_WAIT)
            if self._closed.wait(wait):
                raise NoAnswer(CLOSED) from trouble
        raise AssertionError

    def close(self) -> None:
        """Let go of what is asked just now, and ask nothing more."""
        self._closed.set()
        for call in list(self._open):
            call.end()

    def _once(self, method: str, path: str, body: Any) -> tuple[int, float | None, bytes]:
        """(status, seconds after which the server wants to be asked again, content)."""
        if self._closed.is_set():
            raise NoAnswer(CLOSED)
        headers = {"Accept": "application/json", "Content-Type": "application/json", "User-Agent": "mio-local"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        content = None if body is None else json.dumps(body).encode()
        connection = (
            http.client.HTTPSConnection(self._host, self._port, timeout=self.seconds, context=self._tls) if self._tls
            else http.client.HTTPConnection(self._host, self._port, timeout=self.seconds)
        )  # fmt: skip
        call = _Call()
        timer = threading.Timer(self.seconds, call.end)
        timer.daemon = True
        self._open.add(call)
        timer.start()
        try:
            connection.connect()
            call.socket = connection.sock
            if call.ended.is_set() or self._closed.is_set():  # before there was a socket to end it by
                raise TimeoutError
            connection.request(method, f"{self._path}{path}", content, headers)
            with contextlib.closing(connection.getresponse()) as answer:
                read = answer.read(LARGEST + 1)
            if len(read) > LARGEST:
                raise NoAnswer(f"it answered over {LARGEST:,} bytes", 200)
            if call.ended.is_set():
                raise TimeoutError
            return answer.status, _seconds(answer.getheader("Retry-After")), read
        except TimeoutError:
            raise Late(f"it took over {self.seconds:g} s") from None
        except (OSError, http.client.HTTPException) as error:
            if call.ended.is_set():
                raise Late(f"it took over {self.seconds:g} s") from None
            if isinstance(error, ConnectionRefusedError | socket.gaierror | ssl.SSLError):
                raise Down(f"it cannot be reached ({one_line(error, 100)})") from None
            raise NoAnswer(f"the connection broke ({type(error).__name__})") from None
        finally:
            timer.cancel()
            self._open.discard(call)
            connection.close()

    def _refusal(self, status: int, content: bytes) -> NoAnswer:
        name = http.client.responses.get(status, "no status of HTTP")
        if status in (401, 403):
            remedy = f"it refuses the key in {_named()}" if self._key else f"it wants a key; put it into {KEYS[0]}"
            if not self._key and _named():
                remedy = f"it wants a key, which it gets where the command line names it: {self.said}"
            raise DataError(f"{self.said}: {status} {name}: {remedy}")
        if 300 <= status < 400:
            raise DataError(f"{self.said}: {status} {name}: it sends on to another address; name that one")
        code = _code(content)
        return NoAnswer(f"it answered {status} {name}{f', {code}' if code else ''}", status, code)


def _parsed(content: bytes) -> Any:
    try:
        return parse(content)
    except ValueError:
        raise NoAnswer("its answer is no JSON") from None


def _code(content: bytes) -> str:
    """The short code of an error, as context_length_exceeded."""
    with contextlib.suppress(ValueError, AttributeError, TypeError, LookupError):
        error = parse(content)["error"]
        for key in ("code", "type"):
            if isinstance(word := error.get(key), str) and re.fullmatch(r"[a-z][a-z_]{2,50}", word):
                return word
    return ""


def _seconds(header: str | None) -> float | None:
    """Retry-After: seconds, or a date (RFC 9110, 10.2.3)."""
    if not header:
        return None
    if re.fullmatch(r"\d{1,9}(?:\.\d+)?", header.strip()):
        return float(header)
    try:
        return email.utils.parsedate_to_datetime(header).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return None


def _named() -> str:
    return next((name for name in KEYS if os.environ.get(name, "").strip()), "")


def _key() -> str:
    """The environment's key, "" for none. Raises RecipeError for one that no header can have."""
    key = os.environ.get(_named(), "").strip()
    if not (key.isascii() and key.isprintable()):
        raise RecipeError(f"{_named()}: has characters that no key has; set it again")
    return key
