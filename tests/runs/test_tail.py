"""Reading events.jsonl while it grows, tears, shrinks and is replaced."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from mio_local.runs.events import rewind
from mio_local.runs.tail import Tail


def line(step: int, **values: object) -> bytes:
    return json.dumps({"type": "step", "step": step, **values}).encode() + b"\n"


def write(path, *lines: bytes) -> None:
    with path.open("ab") as file:
        file.write(b"".join(lines))


def steps(polled: tuple[bool, list[dict]]) -> list[int]:
    again, events = polled
    assert again is False
    return [event["step"] for event in events]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "events.jsonl"


def test_each_event_is_read_once(path):
    tail = Tail(path)
    write(path, line(1), line(2))
    assert steps(tail.poll()) == [1, 2]
    assert steps(tail.poll()) == []
    write(path, line(3))
    assert steps(tail.poll()) == [3]
    assert (tail.bad, tail.behind) == (0, False)


def test_a_file_that_is_not_there_has_nothing_new_until_it_is(path):
    tail = Tail(path)
    assert steps(tail.poll()) == []
    write(path, line(1))
    assert steps(tail.poll()) == [1]


@pytest.mark.parametrize("cut", range(1, len(line(2, text="é")) + 1))
def test_a_torn_line_waits_for_its_rest(path, cut):
    whole = line(2, text="é").replace(b"\\u00e9", "é".encode())  # the tear may go through a character
    tail = Tail(path)
    write(path, line(1), whole[:cut])
    assert steps(tail.poll()) == ([1, 2] if cut >= len(whole) else [1])
    write(path, whole[cut:], line(3))
    assert steps(tail.poll()) == ([3] if cut >= len(whole) else [2, 3])
    assert tail.bad == 0


def test_a_resumed_run_is_read_again_from_its_start(path):
    tail = Tail(path)
    write(path, line(1), line(2), line(3))
    tail.poll()
    rewind(path, len(line(1)))  # as a resume from the checkpoint of step 1 does
    write(path, line(2), line(3), line(4))  # more bytes than were read: its size alone would not tell
    again, events = tail.poll()
    assert again
    assert [event["step"] for event in events] == [1, 2, 3, 4]
    assert steps(tail.poll()) == []


def test_a_file_that_got_shorter_is_read_again(path):
    tail = Tail(path)
    write(path, line(1), line(2), b'{"type": "st')
    tail.poll()
    path.write_bytes(line(7))
    again, events = tail.poll()
    assert again
    assert [event["step"] for event in events] == [7]


def test_what_is_no_event_is_counted_and_passed_over(path):
    bad = [
        b"{not json}\n", b"[1, 2]\n", b'"text"\n', b"7\n", b"null\n", b'{"step": 1}\n', b'{"type": "step"}\n',
        b'{"type": 3, "step": 1}\n', b'{"type": "step", "step": "1"}\n', b'{"type": "step", "step": 1.0}\n',
        b'{"type": "step", "step": true}\n', b'{"type": "step", "step": null}\n', b"\xff\xfe\x00\n",
        b"[" * 100_000 + b"\n", b'{"type": "step", "step": ' + b"9" * 5000 + b"}\n",
    ]  # fmt: skip
    write(path, line(1), *bad, b"\n", b"   \n", line(2))
    tail = Tail(path)
    assert steps(tail.poll()) == [1, 2]
    assert tail.bad == len(bad)  # empty lines are nothing


def test_types_and_keys_of_a_later_version_are_handed_on(path):
    record = {"type": "weather", "step": 3, "sky": {"clouds": [1, None]}}
    write(path, json.dumps(record).encode() + b"\n")
    assert Tail(path).poll() == (False, [record])


def test_a_line_longer_than_what_is_read_at_once(path):
    long = line(2, text="x" * 200_000)
    write(path, line(1), long, line(3))
    tail, found, polls = Tail(path), [], 0
    while not polls or tail.behind:
        found += steps(tail.poll(10_000))
        polls += 1
    assert found == [1, 2, 3]
    assert polls == -(-path.stat().st_size // 10_000)


def test_50_000_events_within_a_second(path):
    values = {f"figure/{number}": number / 7 for number in range(10)}
    write(path, *(line(step, **values) for step in range(50_000)))
    tail, count, began = Tail(path), 0, time.process_time()
    while not count or tail.behind:
        count += len(tail.poll()[1])
    assert count == 50_000
    assert time.process_time() - began < 1.5  # measured 0.35 s on a slow core
    began = time.process_time()
    for _ in range(1000):
        tail.poll()
    assert time.process_time() - began < 0.5  # nothing new costs next to nothing


WRITER = """
import sys
from pathlib import Path
from mio_local.runs.events import Event, EventWriter
writer = EventWriter(Path(sys.argv[1]))
step = 0
while True:
    step += 1
    writer.write(Event("step", step, {"text": "x" * (step % 3000)}))
"""


def test_a_writer_that_is_killed_leaves_whole_events(path):
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)])
    try:
        tail, found, ends = Tail(path), [], time.monotonic() + 20
        while len(found) < 3000 and time.monotonic() < ends:
            found += steps(tail.poll())
        os.kill(process.pid, signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    found += steps(tail.poll())
    while tail.behind:
        found += steps(tail.poll())
    assert found == list(range(1, len(found) + 1))
    assert len(found) >= 3000
    assert tail.bad == 0
