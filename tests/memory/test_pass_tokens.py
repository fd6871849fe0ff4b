"""`train.batch_tokens`: its estimate against that by pairs, its remedy, and the number that `auto` finds."""

import tomllib
from types import SimpleNamespace

import pytest

from mio_local.data.examples import Example
from mio_local.errors import RecipeError
from mio_local.memory.estimate import estimate
from mio_local.memory.fitting import TIGHT, remedy
from mio_local.memory.pass_tokens import bounds, by_estimate, largest
from mio_local.memory.rehearsal import Rehearsal
from mio_local.recipe import build
from tests.helpers.estimates import SHAPE
from tests.helpers.tiny_model import write_tiny_model

LONG = Example([1] * 60, [2] * 40, [3] * 30, False, False, False, "")
SHORT = Example([1] * 6, [2] * 4, [3] * 3, False, False, False, "")
PAIR = 128  # tokens fed of LONG with its prompt shared: 60 + 39 + 29


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("room") / "tiny")


def settings(limit="auto", **train):
    return build({"train": train, "backend": {"memory_limit": limit}}, "test")


def needed(kind="gpu", longest=257, backend="cuda", **train):
    return estimate(SHAPE, settings(**train), longest, backend, kind, 400).total


@pytest.mark.parametrize("backend", ["mlx", "cuda"])
@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_tokens_of_so_many_longest_pairs_need_what_these_need(backend, kind):
    """A row of 398 tokens is fed as 416. One step of 8 pairs, however it is cut."""
    cut = {8: 8 * 416, 4: 4 * 416, 2: 2 * 416, 1: 416}
    by_pairs = [needed(kind, backend=backend, batch_size=size, accumulate=8 // size) for size in cut]
    by_tokens = [needed(kind, backend=backend, batch_size=8, batch_tokens=tokens) for tokens in cut.values()]
    assert by_tokens == by_pairs
    assert needed(kind, backend=backend, batch_size=8, batch_tokens=10**9) == by_pairs[0]  # no more than the step
    assert needed(kind, backend=backend, batch_size=8, batch_tokens=1) == by_pairs[-1]  # no less than a pair
    assert needed(kind, backend=backend, batch_size=8, batch_tokens="auto") == by_pairs[-1]  # until it is found
    assert kind == "cpu" or by_tokens == sorted(by_tokens, reverse=True)


def test_held_out_pairs_by_their_own_size_where_it_is_given():
    own = build({"train": {"batch_size": 8, "batch_tokens": 416}, "eval": {"batch_size": 64}}, "test")
    assert own.held_out_pass == (64, 0)
    assert build({"train": {"batch_size": 8, "batch_tokens": 416}}, "test").held_out_pass == (8, 416)
    assert estimate(SHAPE, own, 257, "cuda", "gpu", 400).total > needed(batch_size=8, batch_tokens=416)


def test_fewer_tokens_come_first_among_the_changes():
    wanted = settings(batch_size=64, batch_tokens=8192)
    half = needed(batch_size=64, batch_tokens=4096)
    assert remedy(SHAPE, wanted, 257, "cuda", "gpu", half, 400) == "batch_tokens 8192 -> 4096"
    assert remedy(SHAPE, wanted, 257, "cuda", "gpu", half - 1, 400) == "batch_tokens 8192 -> 2048"
    assert not remedy(SHAPE, wanted, 257, "cuda", "gpu", needed(batch_size=64, batch_tokens=8192), 400)


class Full:
    """A model whose peak is so many bytes a token of the largest pass so far, above which it runs out of memory."""

    def __init__(self, each=0, memory=10**15):
        self.each, self.most, self.fed, self.released = each, memory, [], 0

    def rehearse(self, batch, objective):
        self.fed.append(batch.inputs.size)
        if self.each * batch.inputs.size > self.most:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    def memory(self):
        return SimpleNamespace(active=0, peak=self.each * max(self.fed))

    def release(self):
        self.released += 1


def room(folder, free, limit="auto", kind="gpu", **train):
    made = settings(limit, batch_tokens="auto", **{"batch_size": 16, **train})
    return Rehearsal(made, "mlx", kind, folder, [*[SHORT] * 20, *[LONG] * 20], [], free)


def test_the_estimate_bounds_the_number(folder):
    least, most = bounds(room(folder, 0), shared=True)
    assert (least, most) == (PAIR, 16 * PAIR)
    assert bounds(room(folder, 0, accumulate=5), shared=True)[1] == 40 * PAIR  # there are no more pairs
    assert by_estimate(room(folder, 0), shared=True) == most  # no bound that is known
    assert by_estimate(room(folder, 10**12), shared=True) == most
    assert by_estimate(room(folder, 1), shared=True) == least
    between = room(folder, 0).with_tokens(1000).needed / TIGHT
    found = by_estimate(room(folder, round(between)), shared=True)
    assert 900 <= found <= 1000 + PAIR // 16
    assert room(folder, 0).with_tokens(found).needed <= TIGHT * round(between)


def test_the_number_went_through_the_model(folder):
    """From one pair on, twice as many each time; what runs out of memory ends the search."""
    full = Full()
    assert largest(room(folder, 10**12), full, 0, shared=True) == 16 * PAIR
    assert full.fed == [PAIR, 2 * PAIR, 4 * PAIR, 8 * PAIR, 16 * PAIR]
    full = Full(each=1, memory=5 * PAIR)
    assert largest(room(folder, 10**12), full, 0, shared=True) == 4 * PAIR
    assert full.fed[-1] == 8 * PAIR
    assert full.released == 4  # three times after a pass, and once after the one that failed
    assert largest(room(folder, 10**12, kind="cpu"), Full(), 0, shared=True) == 16 * PAIR  # nothing can be tried there


def test_a_limit_makes_it_smaller(folder):
    """By the peak, which is of all that was done before: the tries go upwards."""
    allowed = 10**9
    limited = room(folder, allowed, "1")
    assert largest(limited, Full(each=allowed // (16 * PAIR)), 0, shared=True) == 16 * PAIR
    assert largest(limited, Full(each=allowed // (5 * PAIR)), 0, shared=True) == 4 * PAIR
    with pytest.raises(RecipeError, match=r"a step over the longest pairs took .*, and --memory-limit allows 1.00 GB"):
        largest(limited, Full(each=allowed // PAIR + 1), 0, shared=True)


@pytest.mark.parametrize("typed", ["", "-1", "many", "8k", True, "1.5", "9" * 20])
def test_what_is_no_number_of_tokens_is_refused(typed):
    with pytest.raises(RecipeError, match=r"train.batch_tokens = .*: must be auto, or a number of tokens$"):
        settings(batch_tokens=typed)


@pytest.mark.parametrize(("typed", "kept"), [("auto", "auto"), (" Auto", "auto"), ("8192", 8192), (8192, 8192), (0, 0)])
def test_a_number_or_a_word_is_kept(typed, kept):
    found = settings(batch_tokens=typed)
    assert found.train.batch_tokens == kept
    assert build(tomllib.loads(found.dump()), "test") == found
