"""Many framed pairs tokenised at once, on all cores; of a prompt only what may merge with an answer is repeated."""

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any

from mio_local.data.templating.framing import Framed
from mio_local.data.templating.insertion import is_checked
from mio_local.data.tokenizer import parallel

Joint = Sequence[list[int]]  # ids of a prompt, and of it with each answer; none of an answer that is not there
NEAR = 64  # characters from a prompt's end, where its last added token is looked for
ENDINGS = 32  # of a template: one for a prompt, and few more


class Batches:
    """Tokenises texts together. A tokenizer splits a text at its added tokens before all else, so what follows the last
    of them in a prompt (`<|im_start|>assistant`, say) becomes the same tokens without what precedes it. That is checked
    as often as `QuickFraming` checks; `misled` tells that it proved wrong: from then on texts are tokenised whole."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        names = sorted(filter(None, map(str, tokenizer.added_tokens_decoder.values())), key=len, reverse=True)
        self._added = re.compile("|".join(map(re.escape, names))) if names else None
        self._endings: dict[str, list[int] | None] = {}
        self._done = 0
        self.misled = False

    def joint(self, framed: Sequence[Framed]) -> Iterator[Joint | None]:
        """Of each the ids of the prompt, and of the prompt with each answer; None for frames of more parts."""
        simple = [len(each.prompt) == 1 and all(len(parts) <= 1 for parts in each.answers) for each in framed]
        asked: list[tuple[Framed, str, list[str]]] = []  # the ending, and the answers that are there
        texts: list[str] = []
        for each in itertools.compress(framed, simple):
            before = each.prompt[0].text
            ending, said = self._ending(before), [part.text for parts in each.answers for part in parts]
            asked.append((each, ending, said))
            texts += [before, *((ending or before) + text for text in said)]
        ids = iter(self._ids(texts))
        found: list[Joint] = []
        for each, ending, said in asked:
            prompt, *sides = itertools.islice(ids, 1 + len(said))
            if ending:
                known = self._endings[ending] or []
                kept = prompt[: len(prompt) - len(known)]
                whole = [[*kept, *side] for side in sides]
                self._done += 1
                if prompt[len(kept) :] != known or is_checked(self._done):
                    checked = self._ids([each.prompt[0].text + text for text in said])
                    self.misled, whole = self.misled or checked != whole, checked
                sides = whole
            coming = iter(sides)
            found.append((prompt, *(next(coming) if parts else [] for parts in each.answers)))
        made = iter(found)
        return iter([next(made) if each else None for each in simple])

    def _ending(self, before: str) -> str:
        """What of a prompt is tokenised with its answers: from the last added token on; empty for all of it."""
        if self._added is None or self.misled:
            return ""
        matches = list(self._added.finditer(before, max(0, len(before) - NEAR)))
        if not matches:
            return ""
        last = matches[-1]
        ending = before[last.start() :]
        if ending not in self._endings:
            if len(self._endings) == ENDINGS:
                return ""
            ids, token = self._ids([ending])[0], self._tokenizer.convert_tokens_to_ids(last.group())
            self._endings[ending] = ids if ids[:1] == [token] else None
        return ending if self._endings[ending] else ""

    def _ids(self, texts: list[str]) -> list[list[int]]:
        if not texts:
            return []
        if not self._tokenizer.is_fast:
            return self._tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
        rules = self._tokenizer.backend_tokenizer  # what the call above goes to, at some cost for each text
        rules.no_truncation()
        rules.no_padding()
        with parallel():
            return [each.ids for each in rules.encode_batch_fast(texts, add_special_tokens=False)]
