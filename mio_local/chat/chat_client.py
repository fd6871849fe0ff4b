"""The app's side of a chat. Imports no array library."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from mio_local.chat.start import ChatStart
from mio_local.data.messages import Message
from mio_local.sampling import Sampling
from mio_local.services.child import Answer, Child


class ChatClient(Child):
    """The chat process. After a death its model is gone: `open` again."""

    module = "mio_local.chat.chat_server"
    name = "the chat"

    async def open(self, runs: Path, start: ChatStart, progress: Callable[[str, int, int], None]) -> Answer:
        """Load the base of some runs with their adapters; the answer names the `voices` and the `model`, and has the
        `system` message that conversations begin with."""
        asked = {key: value for key, value in asdict(start).items() if key != "sampling"}  # told with each question
        fields: Answer = {"runs": str(runs), "start": asked}
        return await self.exchange("open", fields, lambda answer: progress(*answer["progress"]))

    async def answer(
        self, messages: Sequence[Message], voice: str, sampling: Sampling, told: Callable[[str], None]
    ) -> Answer:
        """`voice`'s answer, its pieces told as they come: its `whole` text, `tokens`, `seconds`, and how it ended."""
        fields: Answer = {"messages": list(messages), "voice": voice, "sampling": sampling.model_dump()}
        return await self.exchange("answer", fields, lambda answer: told(answer["text"]))

    async def check_pair(self, messages: Sequence[Message], better: str, worse: str) -> None:
        """Raise DataError where nothing could be learnt from the two answers."""
        await self.exchange("pair", {"messages": list(messages), "better": better, "worse": worse})

    async def stop(self) -> None:
        """End the answer under way."""
        await self.exchange("stop", {})
