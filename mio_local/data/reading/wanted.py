"""What is read of a dataset's answers: what the objective learns from."""

from dataclasses import dataclass

from mio_local.learning import LossSettings
from mio_local.objectives.losses import LOSSES, Needs


@dataclass(frozen=True)
class Wanted:
    """`negatives`: the most rejected answers of a group. `needs`: pairs of a better and a worse answer, such with a
    reward for each, all the answers that a row has with their rewards (samples), or answers that are good or bad by
    themselves (labels)."""

    negatives: int = 1
    needs: Needs = "pairs"

    @property
    def rewarded(self) -> bool:
        """Whether every answer needs a reward."""
        return self.needs in ("rewards", "samples")

    @property
    def groups(self) -> bool:
        """Whether more of a row is read than a pair: what is beside its own chosen and rejected answer."""
        return self.rewarded or self.negatives > 1


PAIRS = Wanted()


def wanted_of(loss: LossSettings) -> Wanted:
    """What this objective learns from."""
    needs = LOSSES[loss.name].needs
    return Wanted(1 if needs == "samples" else loss.negatives, needs)
