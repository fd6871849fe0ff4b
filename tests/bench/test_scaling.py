"""What several devices bring, by what passes between them."""

import pytest

from mio_local.bench.scaling import Between, ring_seconds, speedup


def simulated(size: float, ranks: int, rate: float, latency: float) -> float:
    """A ring's sum, message by message: a rank sends on what it has heard, one message at a time."""
    ready = [0.0] * ranks  # when each has its next piece
    for _ in range(2 * (ranks - 1)):
        sent = [begin + latency + size / ranks / rate for begin in ready]
        ready = [max(sent[rank], sent[rank - 1]) for rank in range(ranks)]
    return max(ready)


@pytest.mark.parametrize("ranks", [2, 3, 8, 64])
def test_a_rings_sum_takes_as_long_as_message_by_message(ranks: int) -> None:
    given = (168e6, ranks, 1.25e8, 5e-5)
    assert ring_seconds(*given) == pytest.approx(simulated(*given), rel=1e-12)


def test_what_was_measured_between_two_foretells_what_more_would_take() -> None:
    size, rate = 168e6, 1.25e9
    between = Between(2, int(size), ring_seconds(size, 2, rate, 0), 1e-4, 3)
    assert between.seconds == pytest.approx(size / rate + 3e-4)
    for ranks in (2, 4, 8):
        assert between.of(ranks) == pytest.approx(ring_seconds(size, ranks, rate, 0) + 3e-4 * (ranks - 1))


def test_devices_pay_as_far_as_they_compute() -> None:
    assert speedup(8.0, 8, 0.0) == 8
    assert speedup(8.0, 8, 1.0) == 4  # as long between them as each computes
    assert speedup(8.0, 2, 100.0) < 1
