"""Drawing and judging that was stopped goes on to the same pairs, whatever it was stopped at."""

import random
import threading
from types import SimpleNamespace

import pytest

from mio_local.data.tokenise import chat_of
from mio_local.learning import MakeSettings
from mio_local.making.answered import Asked
from mio_local.making.judging.plain_judge import PlainJudge
from mio_local.making.made_figures import figures, words
from mio_local.making.make import Maker, make
from mio_local.making.pair_lines import pair_lines
from mio_local.making.work_file import Work
from mio_local.recipe import DataSettings, ModelSettings
from mio_local.text import visible_line
from tests.helpers.backends import mlx_and_slow_cuda, start

SETTINGS = MakeSettings(answers=4, rows=2, answer_tokens=12, temperature=[1.0, 1.3], pairs="all", negatives="hardest")
ASKED = [Asked(f"What is {n}?", str(n), f"line {n}") for n in range(7)]  # four chunks of two prompts


class Length(PlainJudge):
    """Rewards an answer by its length, one of seven letters not at all; fails in the judging that `fails` counts down
    to."""

    def __init__(self, fails=-1):
        super().__init__("length", 10.0)
        self.fails, self.judged = fails, []

    def judge(self, answered):
        self.judged += [one.asked.where for one in answered]
        self.fails -= 1
        if self.fails == 0:
            raise KeyboardInterrupt
        return [tuple(map(self.reward, one.answers)) for one in answered]

    def reward(self, answer):
        if len(answer) != 7:
            return float(len(answer))
        self.dropped["a tie"] += 2
        self.skip("seven letters", answer)
        return None


class Drawing:
    """A model whose draws are counted, each the same for its seed and prompts; the one numbered `fails` is killed."""

    def __init__(self, fails=-1):
        self.drawn, self.fails = [], fails

    def draw(self, prompts, draws, stop, told, *, reference):
        if len(self.drawn) == self.fails:
            raise KeyboardInterrupt
        rng = random.Random(f"{draws.seed}")
        self.drawn.append(draws.seed)
        found = [[[*rng.choices(range(97, 123), k=rng.randrange(1, 9)), *stop[:1]] for _ in range(draws.answers)]
                 for _ in prompts]  # fmt: skip
        told(draws.answers * len(prompts), 5)
        return found

    def score(self, rows, *, reference):
        return [(-float(sum(answer)), False) for _, answer in rows]


@pytest.fixture(scope="module")
def chat(tiny_model):
    found = chat_of(ModelSettings(name=str(tiny_model)), DataSettings(), tiny_model)
    found.end_ids |= set(range(200, 260))  # a random model seldom ends
    return found


def lines(making):
    return pair_lines(making, SETTINGS, "length", {"seed": 0})


def test_it_goes_on_from_any_interrupt_with_the_same_pairs_and_draws_nothing_twice(chat, tmp_path):
    whole = make(Drawing(), chat, ASKED, SETTINGS, Length(), 0)
    assert whole.pairs > 10
    for fails in range(4):
        file, first, second = tmp_path / f"{fails}", Drawing(fails), Drawing()
        with Work(file) as work:
            maker = Maker(first, chat, ASKED, SETTINGS, Length(), 0, work)
            with pytest.raises(KeyboardInterrupt):
                maker.run()
            done = maker.making()  # what is there can be written now
            assert len(done.made) <= 2 * fails
            assert lines(whole).startswith(lines(done))
        with Work(file) as work:
            made = make(second, chat, ASKED, SETTINGS, Length(), 0, work)
        assert (made, lines(made)) == (whole, lines(whole))  # with the reasons of what was judged before
        assert (len(first.drawn), len(second.drawn)) == (fails, 4 - fails)


def test_a_judge_that_fails_loses_no_answer_and_another_judges_the_same_ones(chat, tmp_path):
    with Work(tmp_path / "work") as work, pytest.raises(KeyboardInterrupt):
        make(Drawing(), chat, ASKED, SETTINGS, Length(fails=2), 0, work)
    model, judge, other = Drawing(), Length(), Length()
    with Work(tmp_path / "work") as work:
        made = make(model, chat, ASKED, SETTINGS, judge, 0, work)
        assert len(model.drawn) + len(made.made) < 11  # 4 chunks, some of which were drawn before
        assert "line 0" not in judge.judged
        again = Drawing()
        assert make(again, chat, ASKED, SETTINGS, other, 0, work, key="another") == made
        assert (len(other.judged), again.drawn) == (7, [])


def test_a_changed_prompt_costs_its_chunk_alone_and_more_prompts_keep_the_others(chat):
    model, work = Drawing(), Work()
    make(model, chat, ASKED[:6], SETTINGS, Length(), 0, work)
    changed = [*ASKED[:2], Asked("Another?", "1", "line 2"), *ASKED[3:]]
    make(model, chat, changed, SETTINGS, Length(), 0, work)
    assert len(model.drawn) == 3 + 2


def test_pairs_of_a_judge_and_the_hardest_by_the_models_own_likelihood(chat):
    gold = SimpleNamespace(
        name="gold", threshold=1.0, kind="pairs", unjudged={}, dropped={},
        judge=lambda answered: [(0.0,) * 4 for _ in answered],
        pairs=lambda answered, rewards: [[("known", text) for text in one.answers] for one in answered],
    )  # fmt: skip
    one = SETTINGS.model_copy(update={"pairs": "one"})
    made = make(Drawing(), chat, ASKED, one, gold, 0)
    for each in made.made:
        sums = {text: sum(ids) for text, ids in zip(each.answered.answers, each.ids, strict=True) if text.strip()}
        assert [(pair.chosen, pair.rejected) for pair in each.pairs] == [("known", min(sums, key=lambda t: sums[t]))]


@mlx_and_slow_cuda
def test_a_work_file_that_is_cut_anywhere_gives_the_same_lines(backend, chat, tiny_model, tmp_path):
    """As a kill leaves it, on a real model: with the answers whole, torn, and without rewards."""
    model = start(backend, tiny_model)
    with Work(tmp_path / "work") as work:
        expected = lines(make(model, chat, ASKED, SETTINGS, Length(), 3, work))
    assert expected.count("\n") > 10
    content = (tmp_path / "work").read_bytes()
    ends = [place + 1 for place, letter in enumerate(content) if letter == 10]
    for cut in (ends[0], ends[2] - 7, ends[-2]):
        (tmp_path / "work").write_bytes(content[:cut])
        with Work(tmp_path / "work") as work:
            assert lines(make(model, chat, ASKED, SETTINGS, Length(), 3, work)) == expected


def test_an_interrupt_ends_what_the_judge_is_at(chat):
    closed = threading.Event()
    judge = Length()
    judge.judge, judge.close = lambda answered: closed.wait(60) and 1 / 0, closed.set
    with pytest.raises(KeyboardInterrupt):
        make(Drawing(fails=1), chat, ASKED, SETTINGS, judge, 0)  # while the first chunk is judged
    assert closed.is_set()


def test_what_a_judge_did_not_decide_is_told_of_each_making_alone(chat):
    judge = Length()
    settings = SETTINGS.model_copy(update={"negatives": "worst"})
    for _ in range(2):
        making = make(Drawing(), chat, ASKED, settings, judge, 0)
        told = words(figures(making, judge.threshold, 4, []), making, judge.name)
        seven = [text for each in making.made for text in each.answered.answers if len(text) == 7]
        assert len(seven) > 1
        assert f"  comparisons that decided nothing: {2 * len(seven)} a tie" in told
        assert f"  answers without a reward: {len(seven)} seven letters (the first: {visible_line(seven[0])})" in told
