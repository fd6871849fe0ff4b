"""Questions answered greedily: did the model get better at the task, or only at the pairs?"""

from collections.abc import Iterator, Sequence

from mio_local.backends import Model
from mio_local.data.detect import with_system
from mio_local.data.task_questions import Question, Rule, last_number
from mio_local.data.template import Chat

BATCH = 32  # questions answered together


def greedy_answers(
    model: Model, chat: Chat, questions: Sequence[Question], max_tokens: int, *, reference: bool,
    part: Rule = last_number, system: str = "",
) -> Iterator[bool]:  # fmt: skip
    """Whether each question's greedy answer is right by its `part`, in order; answered BATCH at a time. `system` is put
    before a question as before a prompt in training. A correct answer in which there is no such part counts whole,
    unless numbers are compared."""
    for first in range(0, len(questions), BATCH):
        asked = questions[first : first + BATCH]
        prompts = [chat.generation_prompt(with_system(item.question, system)) for item in asked]
        answers = model.generate(prompts, max_tokens, sorted(chat.end_ids), reference=reference)
        for item, answer in zip(asked, answers, strict=True):
            wanted = part(item.answer)
            if wanted is None and part is not last_number:
                wanted = item.answer.strip()
            yield wanted is not None and part(chat.tokenizer.decode(answer, skip_special_tokens=True)) == wanted
