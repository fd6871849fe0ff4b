"""`train.batch_tokens = "auto"`: the most tokens that a forward pass can feed, by the estimate, then by rehearsals."""

from mio_local.backends import Model
from mio_local.data.examples import lengths_of
from mio_local.data.stepping.passes import tokens_fed
from mio_local.errors import lacks_memory
from mio_local.memory.fitting import TIGHT
from mio_local.memory.rehearsal import DoesNotFit, Rehearsal

CLOSE = 16  # the number is found to a sixteenth of it


def bounds(room: Rehearsal, *, shared: bool) -> tuple[int, int]:
    """Tokens of the longest pair by itself, which every run feeds at once, and of a whole step of such pairs."""
    longest = int(tokens_fed(lengths_of(room.train), shared=shared).max())
    return longest, longest * min(room.recipe.train.step_pairs, len(room.train))


def by_estimate(room: Rehearsal, *, shared: bool) -> int:
    """The most tokens with which the estimate leaves some of the free memory; a whole step's, where that is unknown or
    has no bound."""
    least, most = bounds(room, shared=shared)

    def fits(tokens: int) -> bool:
        return not room.free or room.with_tokens(tokens).needed <= TIGHT * room.free

    if fits(most):
        return most
    while most - least > max(1, least // CLOSE):
        middle = (least + most) // 2
        least, most = (middle, most) if fits(middle) else (least, middle)
    return least


def largest(room: Rehearsal, model: Model, pad: int, *, shared: bool) -> int:
    """The most tokens that went through the model within its memory, none more than `by_estimate`. Raises what
    `Rehearsal.rehearse` does where the longest pair alone does not.

    From few tokens upwards, as a peak is of all that was done before it.
    """
    found, tries = bounds(room, shared=shared)[0], [by_estimate(room, shared=shared)]
    while tries[-1] // 2 > found:
        tries.append(tries[-1] // 2)
    room.with_tokens(found).rehearse(model, pad, shared=shared)
    for tokens in reversed(tries):
        if not _passes(room.with_tokens(tokens), model, pad, shared=shared):
            model.release()
            break
        found = tokens
    return found


def _passes(room: Rehearsal, model: Model, pad: int, *, shared: bool) -> bool:
    try:
        room.rehearse(model, pad, shared=shared)
    except Exception as error:
        if isinstance(error, DoesNotFit) or lacks_memory(error):
            return False
        raise
    return True
