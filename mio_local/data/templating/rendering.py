"""A chat template at work: messages to text, with tools and the template's own arguments, in the shapes it takes."""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from mio_local.data.messages import Message
from mio_local.data.templating.bounds import LIMITS, TookTooLong, excess, within_time
from mio_local.errors import DataError, MioError, one_line
from mio_local.storage.paths import expanded

CLOCK = re.compile(r"strftime_now\(\s*(['\"])(?P<format>.*?)\1\s*\)")
FAILURES = (
    TypeError, ValueError, AttributeError, ArithmeticError, LookupError, RecursionError, MemoryError, SyntaxError,
)  # fmt: skip
SENTINEL = "mio-local-answer-7c1d04"  # stands in for an answer, to see where a template puts one
Tools = Sequence[Mapping[str, Any]]


class Renderer:
    """The template `text` over a tokenizer, with `arguments` of the template's own (`enable_thinking`, ...).

    What the template takes is learnt by trying, once: `takes_tools` whether it writes schemas of tools,
    `takes_thoughts` whether it writes `reasoning_content`, and `parts_thoughts` whether a thought inside the text has
    to be put there: else it would stand below an empty one, or in the place of answers. Calls of tools are given in the
    first shape of which it writes name and arguments: some want arguments as an object, some as JSON text, some no
    content beside them.
    """

    def __init__(self, tokenizer: Any, text: str, arguments: Mapping[str, Any] | None = None) -> None:
        self.tokenizer = tokenizer
        self.text = text
        self.arguments = dict(arguments or {})
        self._shape: tuple[bool, bool] | None = None
        self._parts = False
        self._parts = not self._writes({"role": "assistant", "content": SENTINEL})
        asked: list[Message] = [{"role": "user", "content": "Q"}]
        beside = self._tried([*asked, {"role": "assistant", "content": "A", "reasoning_content": SENTINEL}])
        inside = self._tried([*asked, {"role": "assistant", "content": f"<think>\n{SENTINEL}\n</think>\n\nA"}])
        self.takes_thoughts = SENTINEL in beside
        self.parts_thoughts = self.takes_thoughts and inside.count("</think>") != beside.count("</think>")
        schema = {"name": SENTINEL, "description": "D", "parameters": {"type": "object", "properties": {}}}
        self.takes_tools = SENTINEL in self._tried(asked, [{"type": "function", "function": schema}])

    def render(self, messages: Sequence[Message], *, generate: bool, where: str, tools: Tools | None = None) -> str:
        """The conversation as text; `generate` adds what opens the next answer. Raises DataError naming `where`."""
        if any("tool_calls" in message for message in messages):
            messages = [self._shaped(message, *self._call_shape()) for message in messages]
        return self._render(messages, generate, where, tools)

    def _render(self, messages: Sequence[Message], generate: bool, where: str, tools: Tools | None) -> str:
        from jinja2 import TemplateError, TemplateSyntaxError
        from transformers.utils.chat_template_utils import render_jinja_template

        names = {**self.tokenizer.special_tokens_map, **self.arguments}
        if self._parts:  # templates of models that see write nothing else
            messages = [{**message, "content": [{"type": "text", "text": message["content"]}]} for message in messages]
        try:
            with within_time():
                text: str = render_jinja_template(
                    [list(messages)], tools=list(tools) if tools else None,  # pyright: ignore[reportArgumentType]
                    chat_template=self.text, add_generation_prompt=generate, **names,
                )[0][0]  # fmt: skip
        except TookTooLong:
            raise DataError(f"{where}: the chat template {LIMITS['time']}") from None
        except TemplateSyntaxError as error:
            raise DataError(f"{where}: not a Jinja template: line {error.lineno}: {one_line(error)}") from None
        except TemplateError as error:
            raise DataError(f"{where}: the chat template refuses this conversation: {one_line(error)}") from None
        except FAILURES as error:
            words = one_line(error) or type(error).__name__
            raise DataError(f"{where}: the chat template fails: {words}") from None
        bare = text.lstrip()  # a Jinja file's own blank lines before {{ bos_token }}
        return bare if self.tokenizer.bos_token and bare.startswith(self.tokenizer.bos_token) else text

    def takes_thought_of(self, message: Message) -> bool:
        """Whether a thought beside this message is written: some templates do so beside a call of a tool alone."""
        if not message.get("tool_calls"):
            return self.takes_thoughts
        asked: list[Message] = [{"role": "user", "content": "Q"}]
        thinking = self._shaped({**message, "reasoning_content": SENTINEL}, *self._call_shape())
        return SENTINEL in self._tried([*asked, thinking])

    def _tried(self, messages: Sequence[Message], tools: Tools | None = None) -> str:
        try:
            return self._render(messages, False, "", tools)
        except MioError:
            return ""

    def _writes(self, answer: Message) -> bool:
        return SENTINEL in self._tried([{"role": "user", "content": "Q"}, answer])

    def _call_shape(self) -> tuple[bool, bool]:
        """(arguments as JSON text, no content beside a call) as this template wants them."""
        if self._shape is None:
            call = {"type": "function", "function": {"name": SENTINEL, "arguments": {"town": SENTINEL[::-1]}}}
            asked: list[Message] = [{"role": "user", "content": "Q"}]
            told: list[Message] = [{"role": "tool", "content": "R", "name": SENTINEL}]
            shapes = [(text, bare) for bare in (False, True) for text in (False, True)]
            self._shape = shapes[0]
            for shape in shapes:
                answer = self._shaped({"role": "assistant", "content": "", "tool_calls": [call]}, *shape)
                texts = [self._tried([*asked, answer, *after]) for after in ([], told)]
                if any(SENTINEL in text and SENTINEL[::-1] in text for text in texts):
                    self._shape = shape
                    break
        return self._shape

    @staticmethod
    def _shaped(message: Message, text: bool, bare: bool) -> Message:
        if "tool_calls" not in message:
            return message
        calls: list[Any] = []
        for call in message["tool_calls"]:
            function = call.get("function")
            if text and isinstance(function, dict) and isinstance(function.get("arguments"), dict):
                arguments = json.dumps(function["arguments"], ensure_ascii=False)
                call = {**call, "function": {**function, "arguments": arguments}}
            calls.append(call)
        content = None if bare and not message["content"] else message["content"]
        return {**message, "content": content, "tool_calls": calls}


def template_text(tokenizer: Any, template: str, now: float) -> str | None:
    """The Jinja text of `template` (auto, none or a file) with its calls for the date answered by `now`; None to join
    texts as they are. Raises DataError for a file that cannot be read."""
    text = _read(tokenizer, template)
    if text is None:
        return None
    if beyond := excess(text):
        named = "the tokenizer's chat template" if template == "auto" else f"--template {template}: it"
        raise DataError(f"{named} {beyond}; use another with --template FILE.jinja")
    day = datetime.fromtimestamp(now)
    return CLOCK.sub(lambda call: json.dumps(day.strftime(call["format"])), text)


def _read(tokenizer: Any, template: str) -> str | None:
    if template == "none":
        return None
    if template == "auto":
        own = tokenizer.chat_template
        return own.get("default") or next(iter(own.values()), None) if isinstance(own, dict) else own
    try:
        return expanded(template, "--template").read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"--template {template}: no such file; it is auto, none, or a Jinja file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"--template {template}: cannot be read: {one_line(error)}") from None
