"""Fixtures of the judges' tests."""

from collections.abc import Iterator

import pytest

from mio_local.making.judging import server_requests
from tests.helpers.making.judge_server import JudgeServer, judge_server, larger


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key of whoever runs the tests."""
    for name in server_requests.KEYS:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[JudgeServer]:
    """A server whose model takes the larger number."""
    with judge_server(larger) as served:
        yield served
