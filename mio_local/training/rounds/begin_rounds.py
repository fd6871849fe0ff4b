"""Where a run's pairs come from: its data, or rounds with a judge of their own; and what can be wrong with these."""

from mio_local.errors import RecipeError
from mio_local.making.judging.choose import judge_of, may_run
from mio_local.objectives.losses import LOSSES
from mio_local.recipe import Recipe
from mio_local.runs.control import Control
from mio_local.training.job import Job
from mio_local.training.rounds.rounds import Rounds
from mio_local.training.steps.supply import Supply


def check_rounds(recipe: Recipe) -> None:
    """Raise MioError where the rounds of a recipe could make nothing that its objective learns from."""
    made, loss = recipe.make, recipe.loss
    if not recipe.train.rounds:
        return
    if made.answers < 2:
        raise RecipeError(f"--answers {made.answers}: a round needs two answers to a prompt, of which one is better")
    judge = judge_of(made, trusted=may_run(made), seed=recipe.train.seed)
    judge.close()
    if made.judge == "hand":
        raise RecipeError("--judge hand: rounds go on by themselves; make pairs with mio-local data make, and train on "
                          "these with --data")  # fmt: skip
    if LOSSES[loss.name].needs != "pairs" and judge.kind == "pairs":
        raise RecipeError(f"--loss {loss.name}: needs a reward for each answer, and --judge {made.judge} makes pairs "
                          "without; take a checker, a reward function or a reward model")  # fmt: skip


def supply_of(job: Job, control: Control) -> Supply:
    """What the steps of a run take. Raises MioError where its judge cannot begin."""
    if not job.recipe.train.rounds:
        return Supply(job)
    made = job.recipe.make
    judge = judge_of(made, trusted=may_run(made), seed=job.recipe.train.seed)
    return Rounds(job, control, judge, made.judge)
