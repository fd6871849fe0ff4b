"""What a block costs on a GPU beside its products, counted without one."""

import pytest

from tests.backends.counted import SIZES, step

pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore")
# kernels, and MB that are no product, of a block for 3,900 tokens, reference and policy together, before norms, rotary
# embeddings and casts of the adapter were put together (commit d6ae9c2, counted by `step`)
BEFORE = {"8B": (264, 11_142), "1B": (264, 5_735), "1.7B": (324, 7_722)}


@pytest.mark.parametrize("size", SIZES)
def test_a_block_starts_fewer_kernels_and_moves_fewer_bytes(size, record_property):
    block = step(size, 2).less(step(size, 1))
    launches, moved = sum(block.launches.values()), sum(block.bytes.values()) / 1e6
    record_property("kernels", launches)
    record_property("MB", moved)
    assert launches <= 0.65 * BEFORE[size][0], block.launches
    assert moved <= 0.65 * BEFORE[size][1], block.bytes
    assert not block.wide  # no activations in float32
    assert block.masked == 0  # the flash kernel takes no mask


def test_a_checkpointed_block_has_no_mask_either():
    block = step("1B", 2, checkpoint=True).less(step("1B", 1, checkpoint=True))
    assert (block.masked, +block.wide) == (0, {})


def test_a_batch_is_one_copy():
    """For the reference, and for the policy."""
    assert step("1B", 1).copies == 2
