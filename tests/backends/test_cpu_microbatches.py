"""Parts of a batch on threads of their own: results in which order, and what a failure leaves behind."""

import json
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mio_cuda import cpu_microbatches
from mio_local.memory.estimate import PART
from mio_local.recipe import PLAIN
from tests.helpers.backends import LORA, MIO, batch_of, refusals, start
from tests.helpers.families import VOCABULARY, pairs_of, rows_of_logits, write_family

SIZES = (3, 9, 5, 9, 1)
PARTS = [SimpleNamespace(inputs=np.zeros(size)) for size in SIZES]
pytestmark = pytest.mark.usefixtures("two_lanes")


def test_parts_run_at_the_same_time_and_come_in_an_order_of_their_own():
    """Two meet at a barrier, which one thread alone would never pass; the longest part comes first."""
    meet = threading.Barrier(2, timeout=20)

    def work(number):
        if SIZES[number] == 9:
            meet.wait()
        return SIZES[number]

    assert list(cpu_microbatches.Lanes(single=False).each(PARTS, work)) == [(1, 9), (3, 9), (2, 5), (0, 3), (4, 1)]


@pytest.mark.parametrize("single", [False, True])
def test_a_lane_has_its_callers_gradient_mode_and_its_share_of_the_cores(single):
    before = torch.get_num_threads()
    for wanted in (True, False):
        with torch.set_grad_enabled(wanted):
            lanes = cpu_microbatches.Lanes(single=single)
            found = lanes.each(PARTS, lambda _: (torch.is_grad_enabled(), torch.get_num_threads()))
            assert {result for _, result in found} == {(wanted, before if single else 1)}
    assert torch.get_num_threads() == before


def test_a_failure_waits_for_what_has_begun_and_begins_nothing_more():
    begun, ended = [], []

    def work(number):
        begun.append(number)
        if number == 1:
            raise MemoryError("no room")
        time.sleep(0.2)
        ended.append(number)

    with pytest.raises(MemoryError, match="no room"):
        list(cpu_microbatches.Lanes(single=False).each(PARTS, work))
    seen = list(begun)
    assert sorted(ended) == sorted(number for number in seen if number != 1)
    time.sleep(0.3)
    assert begun == seen
    assert len(begun) < len(PARTS)


def test_what_holds_here_is_told_by_thread():
    """Another thread sees the only value there is: autograd's, on a GPU."""
    here, seen = cpu_microbatches.Here(), []
    with here.put(1):
        thread = threading.Thread(target=lambda: seen.append(here.get()))
        thread.start()
        thread.join()

        def put():
            with here.put(2):
                seen.append(here.get())

        thread = threading.Thread(target=put)
        thread.start()
        thread.join()
        assert [*seen, here.get()] == [1, 2, 1]


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(("options", "rope", "count"), [
    ({}, "", 2), ({"lora": LORA.model_copy(update={"dropout": 0.1})}, "", 1), ({"checkpoint": True}, "", 1),
    ({}, "dynamic", 1),
])  # fmt: skip
def test_who_has_lanes(options, rope, count, tmp_path):
    """Not what draws random numbers in the order of the threads, what must keep few activations, and what changes its
    own frequencies as it goes."""
    folder = write_family(tmp_path, "llama", "cuda")
    if rope:
        config = json.loads((folder / "config.json").read_text())
        place = {"rope_parameters": {"rope_type": rope, "factor": 2.0, "rope_theta": 10000.0}}
        (folder / "config.json").write_text(json.dumps(config | place))
    assert start("cuda", folder, **options).lanes.count == count


def test_the_same_bits_every_time(tmp_path):
    model = start("cuda", write_family(tmp_path, "llama", "cuda"))
    batch = batch_of(pairs_of())
    model.most = batch.inputs.size // batch.size * 2
    assert len(model._parts(batch)) > 2
    first, *others = ([model.logps(batch, reference=on) for on in (True, False)] for _ in range(5))
    for other in others:
        np.testing.assert_array_equal(other, first)


def test_lanes_share_the_logits_of_one_part(tiny_model):
    """Else two would keep twice as many alive as the estimate counts, and a large vocabulary would show it."""
    model = start("cuda", tiny_model)
    assert model.lanes.count == 2
    assert model.head.size * 2 == PART["cuda"]["cpu"]


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("checkpoint", [False, True])
def test_few_logits_are_alive_at_once(checkpoint, tmp_path):
    """Answers of 74 tokens, 37 logits in one part: as many rows at once for twice the pairs. Without the lever, all
    rows of the padded batch and more."""
    upper = LORA.model_copy(update={"layers": 2})
    model = start("cuda", write_family(tmp_path, "llama", "cuda"), lora=upper, checkpoint=checkpoint)
    model.head.size, model.most = 37 * VOCABULARY, 10**6
    most = {}
    for name, speed in (("plain", PLAIN), ("lever", PLAIN.model_copy(update={"answer_head": True}))):
        assert refusals(model, speed) == {}
        for pairs in (pairs_of(), pairs_of() * 2):
            batch = batch_of(pairs)
            with rows_of_logits() as rows:
                reference = model.logps(batch, reference=True)
                model.accumulate(batch, reference, MIO, 1.0)
            most[name, len(pairs)] = rows[0]
    assert most["lever", 5] == most["lever", 10] <= 4 * 37
    assert most["plain", 10] == 2 * most["plain", 5] > 2 * 10 * 48
