"""Where a run's pairs come from: its data, or rounds with a judge of their own; and what can be wrong with these."""

from mio_local.errors import RecipeError
from mio_local.making.hand_review import HAND
from mio_local.making.judging.choose import Judge, judge_of, may_run
from mio_local.objectives.losses import LOSSES
from mio_local.recipe import Recipe
from mio_local.runs.control import Control
from mio_local.training.job import Job
from mio_local.training.measured.held_out_reward import REWARD
from mio_local.training.rounds.rounds import Rounds
from mio_local.training.steps.supply import Supply


def judge_for(recipe: Recipe) -> Judge | None:
    """The judge of a recipe's rounds; None where it has none. Raises MioError where it cannot begin, or they could make
    nothing that the objective learns from."""
    made, loss = recipe.make, recipe.loss
    by_reward = recipe.eval.metric == REWARD
    if by_reward and not recipe.train.rounds:
        raise RecipeError(f"eval.metric = {REWARD}: rewards are given in rounds alone; add --rounds and --judge, or "
                          "take another metric")  # fmt: skip
    if not recipe.train.rounds:
        return None
    if made.answers < 2:
        raise RecipeError(f"--answers {made.answers}: a round needs two answers to a prompt, of which one is better")
    if made.judge == HAND:
        raise RecipeError("--judge hand: rounds go on by themselves; make pairs with mio-local data make, and train on "
                          "these with --data")  # fmt: skip
    judge = judge_of(made, trusted=may_run(made), seed=recipe.train.seed)
    if by_reward and judge.kind == "pairs" and judge.threshold is None:
        judge.close()
        raise RecipeError(f"eval.metric = {REWARD}: --judge {made.judge} makes pairs and rewards no answer; take "
                          "another metric, or a judge that does")  # fmt: skip
    if LOSSES[loss.name].needs != "pairs" and judge.kind == "pairs":
        judge.close()
        raise RecipeError(f"--loss {loss.name}: needs a reward for each answer, and --judge {made.judge} makes pairs "
                          "without; take a checker, a reward function or a reward model")  # fmt: skip
    return judge


def supply_of(job: Job, control: Control) -> Supply:
    """What the steps of a run take, by the judge that it was prepared with, or one that begins now. Raises MioError
    where that cannot."""
    judge = job.judge or judge_for(job.recipe)
    return Rounds(job, control, judge, job.recipe.make.judge) if judge else Supply(job)
