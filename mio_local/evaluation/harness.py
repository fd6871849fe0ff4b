"""Benchmark tasks of lm-evaluation-harness: base, adapter and their difference, with standard errors."""

import contextlib
import io
import logging
import math
from collections.abc import Generator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from mio_local.backends import Model
from mio_local.data.template import Chat
from mio_local.errors import BackendError, DataError, HubError, MioError, is_full_disk, nearest, one_line
from mio_local.evaluation.held_out import Result
from mio_local.process import installing
from mio_local.progress import Report
from mio_local.runs.events import is_number
from mio_local.storage.paths import expanded

CLOSE = 1e-6  # relative: a task's figure that differs more from its documents' mean is not that mean


class Tasks:
    """The chosen tasks, those of YAML files in `folder` among them. Raises BackendError where lm-eval is missing,
    DataError for a task that is not there."""

    def __init__(self, names: Sequence[str], folder: str, limit: int = 0, *, chat_template: bool = False) -> None:
        try:
            import_module("lm_eval.evaluator")
            manager: Any = import_module("lm_eval.tasks").TaskManager
        except ImportError as error:
            lack = f"no module {error.name}" if isinstance(error, ModuleNotFoundError) else one_line(error, 160)
            raise BackendError(
                f"--tasks: lm-evaluation-harness is not installed ({lack}); install it with: "
                f"{installing('eval')}"
            ) from None
        place = expanded(folder, "--tasks-folder") if folder else None
        if place and not place.is_dir():
            raise DataError(f"--tasks-folder {folder}: no such folder")
        logging.getLogger("lm_eval").setLevel(logging.ERROR)
        self.names, self.limit, self.chat_template = list(names), limit or None, chat_template
        with _explained():
            # the harness's own tasks are thousands of files: they are read only where the folder does not have all
            self.manager = manager(include_path=str(place), include_defaults=False) if place else manager()
            if place and not set(names) <= set(self.manager.all_tasks):
                self.manager = manager(include_path=str(place))
            known = self.manager.all_tasks
        for name in names:
            if name not in known:
                if place:
                    _check_folder(place)
                raise DataError(f"--tasks {name}: the harness has no such task{nearest(name, known)}")

    def run(
        self, model: Model, chat: Chat, folder: Path, seed: int, report: Report, *, adapted: bool
    ) -> list[Result]:
        """Run them on the base in `folder` and, with `adapted`, on the policy. Raises HubError for data that cannot be
        had, DataError for a task that cannot be run."""
        if self.chat_template and not chat.template:
            raise DataError("--apply-chat-template: there is none; data.template is none, or the model has none")
        base = self._evaluate(model, chat, folder, seed, _named(report, "base"), reference=True)
        policy = base
        if adapted:
            policy = self._evaluate(model, chat, folder, seed, _named(report, "policy"), reference=False)
        found: list[Result] = []
        for name in base["results"]:
            for key in base["results"][name]:
                if "," in key and "_stderr," not in key and is_number(base["results"][name][key]):
                    found += _compared(name, key, base, policy, adapted=adapted)
        return found

    def _evaluate(
        self, model: Model, chat: Chat, folder: Path, seed: int, report: Report, *, reference: bool
    ) -> dict[str, Any]:
        from mio_local.evaluation.harness_model import HarnessModel

        asked = HarnessModel(
            model, chat.tokenizer, folder, report, reference=reference, seed=seed, template=chat.template
        )
        report("building requests", 0, 0)
        with _explained(), contextlib.redirect_stderr(io.StringIO()):  # bars of its own
            return import_module("lm_eval").simple_evaluate(
                model=asked, tasks=list(self.names), limit=self.limit, task_manager=self.manager,
                apply_chat_template=self.chat_template, bootstrap_iters=1000,
            )  # fmt: skip


@contextlib.contextmanager
def _explained() -> Generator[None]:
    """Whatever the harness, or what a task's author wrote, comes to grief over, in one line."""
    try:
        yield
    except MioError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"--tasks: a task's data is not there: {one_line(error)}") from None
    except OSError as error:  # a ConnectionError too
        if is_full_disk(error):
            raise
        raise HubError(f"--tasks: a data set cannot be had ({one_line(error)}); go online once") from None
    except Exception as error:
        said = f"{type(error).__name__}: {one_line(error)}"
        raise DataError(f"--tasks: the harness cannot run a task: {said}") from error


def _check_folder(folder: Path) -> None:
    """Raise DataError for a file that is no YAML: the harness passes it over, and its task is not known."""
    import yaml

    for file in sorted(folder.rglob("*.yaml")):
        try:
            yaml.compose(file.read_text(encoding="utf-8"), yaml.SafeLoader)
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            problem, mark = getattr(error, "problem", None), getattr(error, "problem_mark", None)
            said = f"line {mark.line + 1}: {problem}" if problem and mark else one_line(error)
            raise DataError(f"--tasks-folder {file}: not readable YAML: {said}") from None


def _named(report: Report, of: str) -> Report:
    return lambda what, done, total: report(f"tasks, {of}: {what}", done, total)


def _compared(name: str, key: str, base: Any, policy: Any, *, adapted: bool) -> list[Result]:
    """A figure of one task or group: of the base and, with `adapted`, of the policy, and their difference."""
    metric, _, kept = key.partition(",")
    label = metric if kept == "none" else f"{metric}/{kept}"
    sides = {"base": base, "policy": policy} if adapted else {"base": base}
    figures = {of: float(side["results"][name][key]) for of, side in sides.items()}
    errors = {of: _number(side["results"][name].get(f"{metric}_stderr,{kept}")) for of, side in sides.items()}
    scores = {of: _scores(side, name, metric, kept) for of, side in sides.items()}
    count = int(base["n-samples"].get(name, {}).get("effective", 0)) or sum(
        int(base["n-samples"].get(task, {}).get("effective", 0)) for task in base["group_subtasks"].get(name, ())
    )
    found = [Result(name, label, of, figures[of], count, stderr=errors[of]) for of in sides]
    if adapted:
        paired = all(_is_mean(scores[of], figures[of]) for of in sides) and len(scores["base"]) > 1
        if paired:
            between = scores["policy"] - scores["base"]
            error = float(np.std(between, ddof=1) / math.sqrt(len(between)))
        else:
            error = _together(errors["base"], errors["policy"])
        difference = figures["policy"] - figures["base"]
        found.append(Result(name, label, "difference", difference, count, stderr=error, paired=paired))
    return found


def _scores(side: Any, name: str, metric: str, kept: str) -> np.ndarray:
    """The documents' own scores, in order; none where a score is no number, or there are no documents."""
    documents = [one for one in (side.get("samples") or {}).get(name, ()) if one.get("filter") == kept]
    documents.sort(key=lambda one: one["doc_id"])
    values = [one.get(metric) for one in documents]
    if not all(isinstance(value, int | float | np.number | np.bool_) for value in values):
        return np.zeros(0)
    return np.array(values, np.float64)


def _is_mean(scores: np.ndarray, figure: float) -> bool:
    return bool(len(scores)) and math.isclose(float(scores.mean()), figure, rel_tol=CLOSE, abs_tol=CLOSE)


def _together(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else math.hypot(one, other)


def _number(value: object) -> float | None:
    return float(value) if is_number(value) else None
