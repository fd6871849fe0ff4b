"""A process that is asked by JSON lines: whoever asked may be gone before it runs, and it ends all the same."""

import asyncio
from typing import Any

import pytest

from mio_local.services.child import Child


class Sleeper(Child):
    """Answers nothing."""

    name = "the sleeper"

    def command(self) -> tuple[str, ...]:
        return ("-c", "import time; time.sleep(600)")


async def test_a_process_whose_start_was_given_up_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """The app is left while it starts: the process stayed, and its pipes were closed by nobody."""
    made: list[asyncio.subprocess.Process] = []
    start = asyncio.create_subprocess_exec

    async def slow(*words: Any, **options: Any) -> asyncio.subprocess.Process:
        made.append(await start(*words, **options))
        await asyncio.sleep(0.2)
        return made[0]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", slow)
    child = Sleeper()
    asked = asyncio.create_task(child.start())
    while not made:
        await asyncio.sleep(0.01)
    asked.cancel()
    await asyncio.wait([asked])
    await child.close()
    assert made[0].returncode is not None
