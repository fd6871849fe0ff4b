"""How far apart two computations of the same numbers in float32 may be, whichever library multiplies."""

import numpy as np

EPS = float(np.finfo(np.float32).eps)
ROUNDINGS = 256  # one after the other in a forward pass of a few blocks, each of half a unit of the largest value


def same_logits(found: np.ndarray, wanted: np.ndarray) -> None:
    """AssertionError where logits differ by more than a small model's roundings add up to."""
    np.testing.assert_allclose(found, wanted, rtol=0, atol=ROUNDINGS * EPS * float(np.abs(wanted).max()))
