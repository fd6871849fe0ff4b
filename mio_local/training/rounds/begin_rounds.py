"""Where a run's pairs come from: its data, or rounds with a judge of their own."""

from mio_local.making.judging.choose import judge_of, may_run
from mio_local.runs.control import Control
from mio_local.training.job import Job
from mio_local.training.rounds.rounds import Rounds
from mio_local.training.steps.supply import Supply


def supply_of(job: Job, control: Control) -> Supply:
    """What the steps of a run take. Raises MioError where its judge cannot begin."""
    if not job.recipe.train.rounds:
        return Supply(job)
    made = job.recipe.make
    judge = judge_of(made, trusted=may_run(made), seed=job.recipe.train.seed)
    return Rounds(job, control, judge, made.judge)
