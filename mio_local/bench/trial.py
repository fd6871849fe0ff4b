"""One setting of a run, measured in a process of its own: its peak of memory is its own, and running out ends it alone.

The process is told on its standard input what to measure, and answers in lines of JSON: `done`, then `result`, or
`memory` or `error` in one line.
"""

import json
import statistics
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, cast

from mio_local.adapters.adapter import read_adapter
from mio_local.backends import load_backend
from mio_local.bench import measure
from mio_local.bench.scaling import Between
from mio_local.data.examples import Example
from mio_local.errors import BackendError, MioError, is_out_of_memory, one_line
from mio_local.models.shapes import known_shape
from mio_local.process import preload
from mio_local.ranks.leader import RankedModel
from mio_local.recipe import Recipe
from mio_local.training.optimizations import settle
from mio_local.training.trainable import adapt, layers_of, load

SAYS = "mio-local trial: "  # how a line of the process's begins


@dataclass(frozen=True)
class Trial:
    """`groups` of pairs to take a step over each, the first of them the longest. `reference`: it is computed in every
    step, as in a first epoch; else it is known. `rate`: the device's matrix-product rate is measured too."""

    recipe: Recipe
    place: Path
    groups: Sequence[Sequence[Example]]
    pad: int
    reference: bool = False
    rate: bool = False


@dataclass(frozen=True)
class Result:
    """Medians per second of pairs, of tokens (a prompt counted twice) and of the FLOP that the mathematics needs; peak
    bytes; the levers that were used, and why others were not; what passed between several ranks. 0 where it is not
    known."""

    pairs: float
    tokens: float
    work: float
    matrix_rate: float
    peak: int
    on: list[str]
    refused: dict[str, str]
    between: Between | None = None


def run(trial: Trial) -> Generator[tuple[int, int], None, Result | str]:
    """Measure it in a new process; yields (steps done, steps), and returns the result, or how memory ran out.

    Raises BackendError for what stops a run for another reason.
    """
    with TemporaryFile("w+") as complaints:  # a pipe that nobody reads fills up
        answer, code = yield from _answer(trial, complaints)
        if given := answer.get("result"):
            between = given.pop("between")
            return Result(**given, between=Between(**between) if between else None)
        if "memory" in answer:
            return f"memory ran out: {answer['memory']}"
        if code < 0:  # Linux ends what takes the last memory with signal 9
            return f"ended by signal {-code}" + ", as where memory runs out" * (code == -9)
        complaints.seek(0)
        raise BackendError(
            answer.get("error") or (complaints.read().strip().splitlines() or ["the process ended without a word"])[-1]
        )


def _answer(trial: Trial, complaints: IO[str]) -> Generator[tuple[int, int], None, tuple[dict[str, Any], int]]:
    """The process's last line, and its exit code."""
    words = [sys.executable, "-P", "-W", "ignore", "-m", "mio_local.bench.trial"]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints, text=True)
    tell, hear = cast("IO[str]", process.stdin), cast("IO[str]", process.stdout)
    answer: dict[str, Any] = {}
    try:
        with suppress(BrokenPipeError):  # it says why
            tell.write(_written(trial))
            tell.close()
        for line in hear:
            if not line.startswith(SAYS):  # a library's
                continue
            answer = json.loads(line.removeprefix(SAYS))
            if "done" in answer:
                yield answer["done"], len(trial.groups)
        return answer, process.wait()
    finally:
        process.kill()
        process.wait()
        hear.close()


def _written(trial: Trial) -> str:
    groups = [[(e.prompt, *e.answers) for e in group] for group in trial.groups]
    recipe, place = trial.recipe.model_dump(mode="json"), str(trial.place)
    found = {"recipe": recipe, "place": place, "groups": groups, "pad": trial.pad}
    return json.dumps({**found, "reference": trial.reference, "rate": trial.rate})


def _read(text: str) -> Trial:
    found = json.loads(text)
    groups = [
        [
            Example(prompt, chosen, rejected, False, False, False, "", others=tuple(others))
            for prompt, chosen, rejected, *others in group
        ]
        for group in found["groups"]
    ]
    recipe = Recipe.model_validate(found["recipe"])
    return Trial(recipe, Path(found["place"]), groups, found["pad"], found["reference"], found["rate"])


def main() -> None:
    """Measure what standard input says."""
    preload()
    try:
        trial = _read(sys.stdin.read())
        _say(result=asdict(_measured(trial)))
    except MioError as error:
        _say(error=str(error))
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        _say(memory=one_line(error, 120))


def _measured(trial: Trial) -> Result:
    recipe = trial.recipe
    backend, device, lora = load_backend(recipe.backend.name), recipe.backend.device, recipe.lora
    shape = known_shape(trial.place)
    dtype = shape.dtype(recipe.model.dtype, device) if shape else ""
    rate = max(backend.matrix_rates(device, dtype)) if trial.rate and dtype else 0.0
    initial = read_adapter(Path(lora.init_adapter)) if lora.init_adapter else None
    model = load(backend, recipe, trial.place)
    adapt(model, recipe, layers_of(model, recipe, initial), initial)
    levers = settle(model, recipe.speed, [example for group in trial.groups for example in group], trial.pad)
    ranked = model if isinstance(model, RankedModel) else None
    work = [measure.needed(shape, lora, group) if shape else 0.0 for group in trial.groups]
    last = None
    size = recipe.train.pass_size
    steps = measure.steps(model, levers.speed, trial.groups, trial.pad, work, reference=trial.reference, size=size,
                          asked=lambda: ranked.link.questions if ranked else 0)  # fmt: skip
    for done, found in enumerate(steps, 1):
        _say(done=done)
        last = found
    assert last is not None
    questions = statistics.mean(last.questions)
    between = Between(**asdict(ranked.link_speed()), questions=questions) if ranked else None
    return Result(
        last.per_second(last.pairs), last.per_second(last.tokens), last.per_second(last.work), rate, last.peak,
        levers.on, levers.refused, between,
    )  # fmt: skip


def _say(**found: object) -> None:
    print(f"\n{SAYS}{json.dumps(found)}", flush=True)


if __name__ == "__main__":
    main()
