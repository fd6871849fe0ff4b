"""One answer of the reference beside the policy's own, so that a person can read what the figures mean."""

from collections.abc import Iterator

from mio_local.errors import one_line
from mio_local.runs.events import Event
from mio_local.training.health import note
from mio_local.training.job import Job


class Sampler:
    """Answers the recipe's sample prompt greedily; the reference's answer is made once a session."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.off = "" if job.recipe.eval.sample_tokens else "eval.sample_tokens is 0"  # why nothing is answered
        self.base: str | None = None

    def events(self, step: int) -> Iterator[Event]:
        """A `sample` event; or a note, once, where this model cannot generate: no reason to end the training."""
        if self.off:
            return
        try:
            prompt = self._prompt()
            if self.base is None:
                self.base = self._answer(prompt, reference=True)
            answer = self._answer(prompt, reference=False)
        except Exception as error:  # caches are where models differ most
            self.off = f"this model cannot write sample answers ({one_line(error)})"
            yield note(step, "warning", "sample", f"{self.off}; training goes on without")
            return
        yield Event("sample", step, {"prompt": self._text(prompt), "base": self.base, "policy": answer})

    def _prompt(self) -> list[int]:
        if asked := self.job.recipe.eval.sample_prompt:
            return self.job.chat.generation_prompt(asked)
        return (self.job.held_out or self.job.examples)[0].prompt

    def _answer(self, prompt: list[int], *, reference: bool) -> str:
        ends = sorted(self.job.chat.end_ids)
        tokens = self.job.recipe.eval.sample_tokens
        return self._text(self.job.model.generate([prompt], tokens, ends, reference=reference)[0])

    def _text(self, ids: list[int]) -> str:
        return self.job.chat.tokenizer.decode(ids, skip_special_tokens=True)
