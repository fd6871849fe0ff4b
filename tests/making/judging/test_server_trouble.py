"""A judge on a server in trouble: what is told, what is counted, and where the key goes."""

import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from mio_local.errors import DataError, MioError, RecipeError
from mio_local.making.judging import server_judge, server_requests
from mio_local.making.judging.server_judge import ServerJudge
from tests.helpers.making.judge_server import JudgeServer, answers_to, judge_server, larger, made, message, said

KEY = "key-word-that-nobody-may-see"
TEXT = "text-that-is-in-no-message"


def unwaited(judge: ServerJudge, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Waits between two tries take no time, and are kept."""
    waits: list[float] = []
    monkeypatch.setattr(judge._server._closed, "wait", lambda seconds: waits.append(seconds) or False)
    return waits


@pytest.mark.parametrize(("url", "words"), [
    ("ftp://host", "no address of a server"), ("localhost:1234", "no address of a server"), ("", "no address"),
    ("http://", "no address"), ("http://[::1", "no address"), ("http://localhost:99999", "no address"),
    ("http://user:pass-word@localhost/v1", "a key goes into"), ("http://localhost/v1?key=pass-word", "a key goes into"),
])  # fmt: skip
def test_an_address_that_is_none(url: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words) as told:
        made(url)
    assert "pass-word" not in str(told.value)
    assert "\n" not in str(told.value)


def test_a_server_that_is_down_is_told_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as there:
        port = there.getsockname()[1]
    with pytest.raises(DataError, match=r"cannot be reached .*start the server") as told:
        made(f"http://127.0.0.1:{port}/v1")
    assert "\n" not in str(told.value)


def test_a_server_that_goes_down_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    with judge_server(larger) as server:
        judge = made(server.url)
        assert judge.judge([answers_to("1", "2")]) == [(0.0, 1.0)]
    waits = unwaited(judge, monkeypatch)
    with pytest.raises(DataError, match="the same command goes on"):
        judge.judge([answers_to(*"12345678")])
    judge.close()
    assert waits[:4]


def test_a_refusal_that_passes_is_asked_again_when_the_server_says(
    server: JudgeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = made(server.url)
    waits = unwaited(judge, monkeypatch)
    replies = iter([
        said({}, 429, Retry_After="7"), said({}, 429, Retry_After="86400"), said({}, 503, Retry_After=formatdate(0)),
        said({}, 500), message("A"), said({}, 529, Retry_After="soon"), message("B"),
    ])  # fmt: skip
    server.reply = lambda *_: next(replies)
    assert judge.judge([answers_to("1", "2")]) == [(1.0, 0.0)]
    judge.close()
    assert waits == [7.0, server_requests.LONGEST_WAIT, 0.0, 8.0, 1.0]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_refusal_that_stays_is_counted_and_then_given_up(
    status: int, server: JudgeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_judge, "IN_A_ROW", 3)
    judge = made(server.url)
    waits = unwaited(judge, monkeypatch)
    server.reply = lambda *_: said({"error": {"message": TEXT, "code": "no_such_luck"}}, status)
    assert judge.judge([answers_to("1", "2")]) == [(None, None)]
    assert waits == [1.0, 2.0, 4.0, 8.0]
    reason = next(iter(judge.unjudged))
    assert f"it answered {status} " in reason
    assert reason.endswith(", no_such_luck")
    with pytest.raises(DataError, match=f"{status} .*the same command goes on"):
        judge.judge([answers_to("1", "2"), answers_to("1", "2"), answers_to("1", "2")])
    judge.close()


def test_one_request_that_is_refused_is_counted_and_its_text_is_nowhere(
    server: JudgeServer, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    server.reply = lambda _, each: (
        said({"error": {"message": TEXT, "code": "context_length_exceeded"}}, 400)
        if TEXT in each[3]["messages"][0]["content"] else message("A")
    )  # fmt: skip
    judge = made(server.url)
    assert judge.judge([answers_to(TEXT, "2", "2")]) == [(None, None, None)]
    judge.close()
    assert judge.dropped == {"of the server, it answered 400 Bad Request, context_length_exceeded": 2,
                             "both are the same": 1}  # fmt: skip
    assert TEXT not in str(judge.unjudged)
    assert capfd.readouterr() == ("", "")
    assert caplog.text == ""


@pytest.mark.parametrize("dripping", [False, True])
def test_a_slow_server_is_not_waited_for(
    dripping: bool, server: JudgeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that says nothing, and one of which a byte comes now and then."""
    over = threading.Event()

    def slow(handler: Any, _: Any) -> None:
        if dripping:
            handler.send_response(200)
            handler.send_header("Content-Length", "100000")
            handler.end_headers()
        while not over.wait(0.05):
            if dripping:
                try:
                    handler.wfile.write(b" ")
                except OSError:
                    return

    judge = made(server.url, judge_seconds=0.3)
    monkeypatch.setattr(server_requests, "SLOW_TRIES", 1)
    server.reply = slow
    assert judge.judge([answers_to("1", "2")]) == [(None, None)]
    over.set()
    judge.close()
    assert judge.dropped == {"of the server, it took over 0.3 s": 1}


@pytest.mark.parametrize(("reply", "reason"), [
    ((200, {}, b"x" * (2 << 20)), "over 1,048,576 bytes"),
    ((200, {"Content-Length": "99999999999"}, b"x" * (2 << 20)), "over 1,048,576 bytes"),
    ((200, {}, b"no json"), "its answer is no JSON"), ((200, {}, b"[" * 100_000), "its answer is no JSON"),
    ((200, {}, b"{}"), "holds no message"), ((200, {}, b"[]"), "holds no message"),
    ((200, {}, b'{"choices": []}'), "holds no message"), ((418, {}, b""), "418"),
])  # fmt: skip
def test_nonsense_is_counted(reply: Any, reason: str, server: JudgeServer) -> None:
    judge = made(server.url)
    server.reply = lambda *_: reply
    assert judge.judge([answers_to("1", "2")]) == [(None, None)]
    judge.close()
    assert [reason in each for each in judge.dropped] == [True]


def test_a_model_that_takes_no_temperature(server: JudgeServer) -> None:
    judge = made(server.url)
    server.reply = lambda _, each: (
        said({"error": {"code": "unsupported_value"}}, 400) if "temperature" in each[3] else message("A")
    )
    server.decide = larger
    assert judge.judge([answers_to("1", "2"), answers_to("3", "4")])[0] == (None, None)
    judge.close()
    assert "the judge said otherwise in the other order" in judge.dropped
    assert set(server.calls[-1][3]) == {"model", "messages"}


def test_the_key_goes_to_the_server_that_was_named_alone(
    server: JudgeServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "other-key")
    monkeypatch.setenv("MIO_LOCAL_JUDGE_KEY", f"{KEY}\n")
    judge = made(server.url)
    judge.judge([answers_to("1", "2")])
    judge.close()
    assert {each[2].get("Authorization") for each in server.asked} == {f"Bearer {KEY}"}
    monkeypatch.delenv("MIO_LOCAL_JUDGE_KEY")
    made(server.url).close()
    assert server.asked[-1][2]["Authorization"] == "Bearer other-key"
    monkeypatch.setenv("MIO_LOCAL_JUDGE_KEY", KEY)
    untrusted = made(server.url, trusted=False)
    untrusted.close()
    assert "Authorization" not in server.asked[-1][2]
    with judge_server(larger) as elsewhere:
        for status in (301, 302, 307, 308):
            server.models = said({}, status, Location=f"{elsewhere.url}/v1/models")
            with pytest.raises(DataError, match="sends on to another address"):
                made(server.url)
        assert elsewhere.asked == []
    assert list(tmp_path.iterdir()) == []


def test_the_key_is_in_no_message(server: JudgeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.models = said({"error": {"message": f"wrong key {KEY}", "code": KEY}}, 401)
    with pytest.raises(DataError, match="wants a key; put it into MIO_LOCAL_JUDGE_KEY"):
        made(server.url)
    monkeypatch.setenv("MIO_LOCAL_JUDGE_KEY", KEY)
    told: list[str] = []
    for status, trusted in ((401, True), (403, True), (400, True), (401, False)):
        server.models = said({"error": {"message": f"wrong key {KEY}", "code": KEY}}, status)
        with pytest.raises(DataError) as wrong:
            made(server.url, trusted=trusted)
        told.append(str(wrong.value))
    assert "it refuses the key in MIO_LOCAL_JUDGE_KEY" in told[0]
    assert "names it" in told[3]
    monkeypatch.setenv("MIO_LOCAL_JUDGE_KEY", f"{KEY}\n{KEY}")
    for url, words in ((server.url, "no key has"), ("http://example.invalid/v1", "no key has")):
        with pytest.raises(RecipeError, match=words) as wrong:
            made(url)
        told.append(str(wrong.value))
    monkeypatch.setenv("MIO_LOCAL_JUDGE_KEY", KEY)
    with pytest.raises(RecipeError, match="in the clear") as wrong:
        made("http://example.invalid/v1")
    told.append(str(wrong.value))
    assert KEY not in json.dumps(told)
    assert not any("\n" in each for each in told)


def test_prompts_go_to_another_machine_only_where_the_command_line_says_so() -> None:
    with pytest.raises(RecipeError, match=r"send prompts and answers to example\.invalid; .*--judge server:"):
        made("https://example.invalid/v1", trusted=False)


def test_closing_ends_what_is_asked_just_then(server: JudgeServer) -> None:
    begun, over = threading.Event(), threading.Event()

    def hang(*_: Any) -> None:
        begun.set()
        over.wait(30)

    judge = made(server.url)
    server.reply = hang
    with ThreadPoolExecutor(1) as pool:
        judging = pool.submit(judge.judge, [answers_to(*"12345678")])
        assert begun.wait(20)
        judge.close()
        with pytest.raises(MioError, match="closed"):
            judging.result(20)
        over.set()
