"""The app's side of a chat. Imports no array library."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mio_local.child import Answer, Child
from mio_local.message import Message


class ChatClient(Child):
    """The chat process. After a death its model is gone: `open` again."""

    module = "mio_local.chatd"
    name = "the chat"

    async def open(
        self, runs: Path, names: Sequence[str], progress: Callable[[str, int, int], None]
    ) -> Answer:
        """Load the base of some runs with their adapters; the answer names the `voices` and the `model`."""
        fields: Answer = {"runs": str(runs), "names": list(names)}
        return await self.exchange("open", fields, lambda answer: progress(*answer["progress"]))

    async def answer(
        self, messages: Sequence[Message], voice: str, sampling: Mapping[str, Any], told: Callable[[str], None]
    ) -> Answer:
        """`voice`'s answer, its pieces told as they come: its `whole` text, `tokens`, `seconds`, and how it ended."""
        fields: Answer = {"messages": list(messages), "voice": voice, "sampling": dict(sampling)}
        return await self.exchange("answer", fields, lambda answer: told(answer["text"]))

    async def stop(self) -> None:
        """End the answer under way."""
        await self.exchange("stop", {})
