"""A loaded model as lm-evaluation-harness (arXiv 2405.14782) asks for one: what its `hf` model answers to the same
requests, to rounding. Imports lm_eval, so it is imported only where tasks are run."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lm_eval import utils  # pyright: ignore[reportMissingImports] - an extra, as the next
from lm_eval.api.model import TemplateLM  # pyright: ignore[reportMissingImports]

from mio_local.backends import Model
from mio_local.data.loglikelihood import Row, Score
from mio_local.errors import DataError
from mio_local.models.locate import end_ids, read_config
from mio_local.progress import Report

LONGEST = 2048  # tokens of a model that does not say; the harness's own default
ANSWER = 256  # tokens of an answer where the task does not say; as in the harness
TOKENS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")  # by which a task says it
KNOWN = ("until", "do_sample", "temperature", *TOKENS)
DRAWING = ("top_p", "top_k", "min_p", "typical_p")  # of no effect on a greedy answer
OFF = (("num_beams", 1), ("repetition_penalty", 1.0), ("top_p", 1.0))  # of no effect at all
TOGETHER = 32  # rows between two reports


class HarnessModel(TemplateLM):  # pyright: ignore[reportUntypedBaseClass]
    """The policy or, with `reference`, the base, behind the harness's interface. `folder` is the base model's.

    `template` is the chat template, the tokenizer's own where it is None. Prompts that are too long lose their start.
    Answers are greedy, or drawn at a task's temperature with `seed`.
    """

    def __init__(
        self, model: Model, tokenizer: Any, folder: Path, report: Report, *, reference: bool, seed: int = 0,
        template: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.model, self.tokenizer, self.report, self.reference, self.seed = model, tokenizer, report, reference, seed
        self.folder = folder
        self.template = template or tokenizer.chat_template
        config = read_config(folder)
        self.stop = sorted({tokenizer.eos_token_id, *end_ids(folder)} - {None})
        self.longest = _longest(config, tokenizer)
        self._openings: dict[str, set[int]] = {}

    @property
    def eot_token_id(self) -> int:
        return self.tokenizer.eos_token_id

    @property
    def prefix_token_id(self) -> int:
        begin = self.tokenizer.bos_token_id
        return self.eot_token_id if begin is None else begin

    @property
    def tokenizer_name(self) -> str:
        return str(self.folder).replace("/", "__")

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        return self.tokenizer.apply_chat_template(
            chat_history, tokenize=False, add_generation_prompt=add_generation_prompt,
            continue_final_message=not add_generation_prompt, chat_template=self.template,
        )  # fmt: skip

    def chat_template(self, chat_template: bool | str = False) -> str:
        return self.template or ""

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs: Any) -> list[int]:
        if add_special_tokens is None and string.startswith(self.tokenizer.decode(self.prefix_token_id)):
            add_special_tokens = False
        options = {} if add_special_tokens is None else {"add_special_tokens": add_special_tokens}
        return list(self.tokenizer.encode(string, **options))

    def _loglikelihood_tokens(self, requests: Any, **kwargs: Any) -> list[Score]:
        rows: list[Row] = []
        for _, context, answer in requests:
            if len(answer) > self.longest:
                raise DataError(f"a task asks for {len(answer)} tokens to be scored; this model takes {self.longest}")
            rows.append(((context[-(self.longest + 1 - len(answer)) :]), answer))
        order = sorted(range(len(rows)), key=lambda i: -len(rows[i][0]) - len(rows[i][1]))
        found: list[Score] = [(0.0, False)] * len(rows)
        for first in range(0, len(rows), TOGETHER):
            some = order[first : first + TOGETHER]
            scored = self.model.score([rows[number] for number in some], reference=self.reference)
            for number, score in zip(some, scored, strict=True):
                found[number] = score
            self.report("scoring answers", first + len(some), len(rows))
        return found

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = True) -> list[float]:
        windows: list[tuple[None, list[int], list[int]]] = []
        owners: list[int] = []
        for number, request in enumerate(requests):
            ids = self.tok_encode(request.args[0])
            for window in utils.get_rolling_token_windows(ids, self.prefix_token_id, self.longest, 1):
                windows.append((None, *utils.make_disjoint_window(window)))
                owners.append(number)
        found = [0.0] * len(requests)
        for owner, (logp, _) in zip(owners, self._loglikelihood_tokens(windows), strict=True):
            found[owner] += logp
        return found

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = True) -> list[str]:
        prompts = [self.tok_encode(request.args[0]) for request in requests]
        kinds: dict[str, list[int]] = {}  # by the settings, as JSON: answers of the same settings are made together
        for number, request in enumerate(requests):
            kinds.setdefault(json.dumps(request.args[1], sort_keys=True, default=str), []).append(number)
        found = [""] * len(requests)
        done = 0
        for numbers in kinds.values():
            until, tokens, temperature = self._settings(requests[numbers[0]].args[1])
            stop = [*self.stop, *self._opening(until)]
            numbers.sort(key=lambda number: len(prompts[number]))
            for first in range(0, len(numbers), TOGETHER):
                some = numbers[first : first + TOGETHER]
                answers = self.model.generate(
                    [prompts[number][-(self.longest - tokens) :] for number in some], tokens, stop,
                    reference=self.reference, temperature=temperature, seed=self.seed + done,
                )  # fmt: skip
                for number, answer in zip(some, answers, strict=True):
                    text = self.tokenizer.decode(answer, skip_special_tokens=True)
                    for end in until:
                        text = text.split(end)[0]
                    found[number] = text
                done += len(some)
                self.report("answering", done, len(requests))
        return found

    def _settings(self, asked: dict[str, Any]) -> tuple[list[str], int, float]:
        """The texts that end an answer, its tokens at most, and the temperature. Raises DataError."""
        until = asked.get("until") or []
        until = [str(text) for text in ([until] if isinstance(until, str) else until) if text]
        tokens = int(next((asked[key] for key in TOKENS if asked.get(key) is not None), ANSWER))
        if tokens >= self.longest:
            raise DataError(f"a task asks for answers of {tokens} tokens; this model takes {self.longest} in all")
        temperature = float(asked.get("temperature") or 0.0)
        draws = bool(asked.get("do_sample", temperature > 0))
        odd = sorted(key for key in set(asked) - set(KNOWN) if (key, asked[key]) not in OFF)
        if draws and odd:
            raise DataError(f"a task draws its answers by {odd[0]}, which is not done here; only by temperature")
        if odd := [key for key in odd if key not in DRAWING]:
            raise DataError(f"a task sets {odd[0]} for its answers, which is not done here; leave it out of its "
                            "generation_kwargs")  # fmt: skip
        return until, tokens, (temperature or 1.0) if draws else 0.0

    def _opening(self, until: Sequence[str]) -> list[int]:
        """The tokens whose text begins with one of `until`: an answer may end before them, as all from there is cut."""
        new = [text for text in until if text not in self._openings]
        if new:
            (anchor, *_), before = self.tokenizer.encode("a", add_special_tokens=False), "a"
            known = range(len(self.tokenizer))
            texts = self.tokenizer.batch_decode([[anchor, token] for token in known], skip_special_tokens=True)
            for end in new:
                self._openings[end] = {
                    token for token, text in zip(known, texts, strict=True) if text.startswith(before + end)
                }
        return sorted({token for text in until for token in self._openings[text]})


def _longest(config: dict[str, Any], tokenizer: Any) -> int:
    """Tokens that the model takes at once; the keys are those that the harness looks at."""
    for table in (config.get("text_config") or {}, config):
        for key in ("n_positions", "max_position_embeddings", "n_ctx"):
            if isinstance(table.get(key), int):
                return table[key]
    length = getattr(tokenizer, "model_max_length", LONGEST)
    return length if length < 10**9 else LONGEST  # transformers writes a huge number for none
