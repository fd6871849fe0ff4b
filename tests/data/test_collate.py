"""Batches written out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from mio_local.arrays import PAD_MULTIPLE
from mio_local.data.collate import collate, joined, padded
from mio_local.data.examples import Example


def example(prompt, chosen, rejected, *others):
    return Example(prompt, chosen, rejected, False, False, False, "here", None, others)


def test_a_batch_written_out():
    """Pair 0: 5 6 | 7 8 and 5 6 | 9; pair 1: 3 | 4 and 3 | 4 5 6. Chosen rows first, each without its last token, which
    predicts nothing. A prompt's last position, 1 or 0 in its row of 16, predicts the answer's first token."""
    batch = collate([example([5, 6], [7, 8], [9]), example([3], [4], [4, 5, 6])], [0, 1], pad=0)
    zeros = [0] * (PAD_MULTIPLE - 3)
    assert batch.inputs.tolist() == [[5, 6, 7, *zeros], [3, 0, 0, *zeros], [5, 6, 0, *zeros], [3, 4, 5, *zeros]]
    assert batch.spans is None
    assert batch.where.tolist() == [1, 2, 16, 32 + 1, 48, 49, 50]
    assert batch.targets.tolist() == [7, 8, 4, 9, 4, 5, 6]
    assert batch.mask.tolist() == MASK
    assert batch.tokens.tolist() == [2, 1, 1, 3]
    assert (batch.size, batch.pairs, batch.real_tokens) == (2, (0, 1), 4 + 2 + 3 + 4)
    integers = (batch.inputs, batch.where, batch.targets)
    assert [array.dtype for array in (*integers, batch.mask, batch.tokens)] == [np.int32] * 3 + [np.float32] * 2


MASK = [[1, 1, 0, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0, 0], [0, 0, 0, 0, 1, 1, 1]]


def test_a_shared_batch_written_out():
    """The same pairs, a row each: 5 6 | 7 | and 3 | | 4 5. Scored tokens as before; a prompt's last position predicts
    the first token of both answers."""
    batch = collate([example([5, 6], [7, 8], [9]), example([3], [4], [4, 5, 6])], [0, 1], pad=0, shared=True)
    zeros = [0] * (PAD_MULTIPLE - 3)
    assert batch.inputs.tolist() == [[5, 6, 7, *zeros], [3, 4, 5, *zeros]]
    assert [ends.tolist() for ends in batch.spans.ends] == [[2, 1], [3, 1], [3, 3]]
    assert batch.where.tolist() == [1, 2, 16, 1, 16, 17, 18]
    assert batch.targets.tolist() == [7, 8, 4, 9, 4, 5, 6]
    assert batch.mask.tolist() == MASK
    assert batch.tokens.tolist() == [2, 1, 1, 3]
    assert (batch.size, batch.pairs, batch.real_tokens) == (2, (0, 1), 4 + 2 + 3 + 4)
    assert {ends.dtype for ends in batch.spans.ends} == {np.dtype(np.int32)}


def test_a_group_written_out():
    """5 6 | 7 8 | 9 | 4 4 4, and 3 | | 4 5 without a chosen answer and with one less: its absent ones have no token,
    and the prompt as their row."""
    whole, short = example([5, 6], [7, 8], [9], [4, 4, 4]), example([3], [], [4, 5])
    found = [replace(whole, rewards=(1.0, 0.5, -2.0)), replace(short, rewards=(0.0, 3.0))]
    plain, shared = (collate(found, [0, 1], pad=0, shared=shared) for shared in (False, True))
    zeros = [0] * (PAD_MULTIPLE - 4)
    assert plain.inputs.tolist() == [
        [5, 6, 7, 0, *zeros], [3, 0, 0, 0, *zeros], [5, 6, 0, 0, *zeros], [3, 4, 0, 0, *zeros], [5, 6, 4, 4, *zeros],
        [3, 0, 0, 0, *zeros],
    ]  # fmt: skip
    assert plain.where.tolist() == [1, 2, 33, 48, 49, 65, 66, 67]
    assert shared.inputs.tolist() == [[5, 6, 7, 4, 4, *zeros[1:]], [3, 4, 0, 0, 0, *zeros[1:]]]
    assert shared.spans.ends.tolist() == [[2, 1], [3, 1], [3, 2], [5, 2]]
    assert shared.where.tolist() == [1, 2, 1, 16, 17, 1, 3, 4]
    for batch in (plain, shared):
        assert batch.targets.tolist() == [7, 8, 9, 4, 5, 4, 4, 4]
        assert batch.tokens.tolist() == [2, 0, 1, 2, 3, 0]
        assert (batch.mask @ np.ones(8)).tolist() == [2, 0, 1, 2, 3, 0]
        assert (batch.size, batch.answers, batch.real_tokens) == (2, 3, 3 * 2 + 2 + 1 + 3 + 1 + 2)
        assert batch.rewards.tolist() == [[1, 0], [0.5, 3], [-2, 0]]
        assert batch.rewards.dtype == np.float32
        assert [part.rewards.tolist() for part in batch.split(1)] == [[[1], [0.5], [-2]], [[0], [3], [0]]]
    assert collate([found[0], example([1], [2], [3])], [0, 1], 0).rewards is None


def random_examples(count=20, longest=40, seed=0, answers=2):
    """Groups of so many answers; above two, some of them are absent, the chosen ones too."""
    rng = np.random.default_rng(seed)
    draw = lambda least=1: rng.integers(0, 9, max(0, rng.integers(least, longest))).tolist()  # noqa: E731
    if answers == 2:
        return [example(draw(), draw(), draw()) for _ in range(count)]
    made = [example(draw(), *(draw(-9) if k % 2 else draw() for k in range(answers))) for _ in range(count)]
    return [replace(each, chosen=each.chosen * (n % 3 > 0)) for n, each in enumerate(made)]


def answer_of(each, number):
    return each.answers[number] if number < len(each.answers) else []


def sequences(batch):
    """By scored token: what its position can have seen, as the rows and spans tell, and the token itself."""
    length = batch.inputs.shape[1]
    found = []
    for number, (place, target) in enumerate(zip(batch.where, batch.targets, strict=True)):
        row, column = divmod(int(place), length)
        if batch.spans:
            prompt, *ends = batch.spans.ends[:, row].tolist()
            answer = int(np.flatnonzero(batch.mask[:, number])[0]) // batch.size
            kept = [*range(prompt), *range([prompt, *ends][answer], ends[answer])]
        else:
            kept = range(length)
        found.append([*(int(batch.inputs[row, k]) for k in kept if k <= column), int(target)])
    return found


def answers_of(examples, answers):
    """By answer, chosen first: the prompt and each of its beginnings."""
    whole = [(e.prompt, answer_of(e, number)) for number in range(answers) for e in examples]
    return [[prompt + answer[: k + 1] for k in range(len(answer))] for prompt, answer in whole]


@pytest.mark.parametrize("answers", [2, 3, 6])
@pytest.mark.parametrize("shared", [False, True])
def test_every_token_of_every_answer_is_predicted_from_what_came_before(shared, answers):
    """Also where the pad is a real token: it is scored nowhere, and nobody sees it."""
    examples, picked = random_examples(answers=answers), [7, 3, 19]
    batch = collate(examples, picked, pad=4, shared=shared)
    found = sequences(batch)
    rows = [[found[t] for t in np.flatnonzero(mask)] for mask in batch.mask]
    assert rows == answers_of([examples[i] for i in picked], answers)
    assert (batch.mask.sum(0) == 1).all()
    counts = batch.tokens.reshape(answers, -1).sum(1).astype(int)
    for where in np.split(batch.where, np.cumsum(counts)[:-1]):
        assert len(set(where.tolist())) == len(where)  # the heads' gradients rely on it


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(("rows", "sizes"), [(1, [1] * 5), (2, [2, 2, 1]), (4, [4, 1]), (9, [5])])
@pytest.mark.parametrize("answers", [2, 4])
def test_a_split_batch_holds_the_same_answers(shared, rows, sizes, answers):
    """`most` tokens that are so many pairs; each part as long as its own longest row asks."""
    rng = np.random.default_rng(3)
    draw = [rng.integers(0, 9, rng.integers(1, 40)).tolist() for _ in range(5 * (1 + answers))]
    examples = [example(*draw[i * (1 + answers) : (i + 1) * (1 + answers)]) for i in range(5)]
    batch = collate(examples, range(5), 0, shared=shared)
    parts = batch.split(rows * batch.inputs.size // 5)
    assert [part.size for part in parts] == sizes
    first = 0
    for part, size in zip(parts, sizes, strict=True):
        alone = collate(examples, range(first, first + size), 0, shared=shared)
        for key in ("inputs", "where", "targets", "mask", "tokens"):
            assert np.array_equal(getattr(part, key), getattr(alone, key)), key
        assert part.pairs == alone.pairs
        assert not shared or np.array_equal(part.spans.ends, alone.spans.ends)
        first += size
    numbered = np.arange(5 * answers, dtype=np.float32)
    cut = np.split(numbered.reshape(answers, 5), np.cumsum(sizes)[:-1], axis=1)
    assert joined([part.ravel() for part in cut], answers).tolist() == numbered.tolist()


@pytest.mark.parametrize("answers", [2, 5])
@pytest.mark.parametrize("window", [0, 1, 5])
def test_spans_against_a_definition_token_by_token(window, answers):
    """Each fed token as (sequence, position): a prompt's is of both sequences, an answer's of its own. A token sees
    those of a sequence that it is in itself, at most `window` positions back."""
    short = [([1, 2], [3], [4]), ([1], [2, 3, 4], [5]), ([1], [2], [3, 4])]
    examples = [*random_examples(4, 7, answers=answers), *(example(*ids) for ids in short)]
    batch = collate(examples, range(len(examples)), 0, shared=True)
    spans, length = batch.spans, batch.inputs.shape[1]
    places, visible = spans.places(length), spans.visible(length, window)
    index, own, again = spans.rows(length)
    assert (places.dtype, visible.dtype, visible.shape) == (np.int32, bool, (len(examples), length, length))
    for n, e in enumerate(examples):
        fed = [(set(range(answers)), k) for k in range(len(e.prompt))]
        for name, answer in enumerate(e.answers):
            fed += [({name}, len(e.prompt) + k) for k in range(len(answer) - 1)]
        count = len(fed)
        assert places[n, :count].tolist() == [place for _, place in fed]
        seen = [[j <= i and fed[i][0] <= fed[j][0] and not 0 < window <= fed[i][1] - fed[j][1] for j in range(count)]
                for i in range(count)]  # fmt: skip
        assert visible[n, :count, :count].tolist() == seen
        for name in range(answers):
            mine = [n * length + k for k in range(count) if name in fed[k][0]]
            row = index[name * len(examples) + n].tolist()
            assert row[: len(mine)] == mine
            assert len(row) > len(mine)
            assert set(row[len(mine) :]) <= set(range(n * length, n * length + count))  # filled up with its pair's
        for k in range(length):
            names = sorted(fed[k][0]) if k < count else []
            homes = [(name * len(examples) + n) * index.shape[1] + fed[k][1] for name in names]
            filled = {row * index.shape[1] + index.shape[1] - 1 for row in range(len(index))}
            assert own[n, k] == homes[0] if homes else int(own[n, k]) in filled
            others = again[:, n, k].tolist()
            assert others == homes[1:] if len(homes) > 1 else set(others) <= filled


@pytest.mark.parametrize(("longest", "length"), [(17, 16), (18, 32), (2, 16), (130, 144), (258, 288), (1026, 1152)])
def test_rows_are_padded_to_a_multiple(longest, length):
    """n tokens make n - 1 predictions. Above 128 in eight steps to a doubling: of 16, of 32, of 128."""
    assert collate([example([1], [1] * (longest - 1), [1])], [0], 0).inputs.shape == (2, length)


def test_few_shapes_and_little_growth():
    """Multiples of 16, eight at most in every doubling, never shorter, and above 128 at most an eighth longer."""
    found = [padded(n) for n in range(1, 9000)]
    assert all(length % PAD_MULTIPLE == 0 and length >= n for n, length in enumerate(found, 1))
    assert all(length <= 1.125 * n for n, length in enumerate(found, 1) if n > 128)
    assert all(length - n < PAD_MULTIPLE for n, length in enumerate(found[:128], 1))
    for low in (2**k for k in range(4, 13)):
        assert len({length for length in found if low < length <= 2 * low}) <= 8
    assert found == sorted(found)
