"""Whether what a run rests on is still what it was when the run began: its settings, its base, its pairs, and the
adapter it began with."""

import os
import shlex
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mio_local.adapters.adapter import SavedAdapter, read_adapter
from mio_local.data.stepping.step_order import ORDER
from mio_local.errors import MioError, RunError
from mio_local.models.locate import weights_sizes
from mio_local.progress import Report, silent
from mio_local.recipe import build, read_toml
from mio_local.runs.directory import RECIPE_DIGEST, Run
from mio_local.runs.recipe_digest import recipe_digest
from mio_local.storage.digests import fault_of
from mio_local.text import visible
from mio_local.training.checkpoint import verify
from mio_local.training.fingerprint import adapter_digest, weights_digest
from mio_local.training.inputs import tokenised


def check_info(run: Run, info: Mapping[str, Any]) -> None:
    """Raise RunError where run.json lacks what the run needs to go on, or its pairs came in another order."""
    if missing := [key for key in ("data_digest", "adapted_layers", "facts") if key not in info]:
        raise RunError(f"{run.info}: damaged: it lacks {missing[0]}; start a new run from {run.recipe}")
    if info.get("order") != ORDER:
        raise RunError(f"run {run.name}: a version that took pairs in another order began it, so it cannot go on "
                       f"exactly; start a new run from {run.recipe}")  # fmt: skip


def check_recipe(run: Run) -> None:
    """Raise RunError where recipe.toml is not what the run was made with."""
    known = run.read_info().get(RECIPE_DIGEST)
    try:
        same = known is None or recipe_digest(run.recipe_text()) in known
    except (OSError, ValueError):
        same = False
    if not same:
        raise RunError(
            f"{run.recipe}: not what the run was made with; put that back, or train it as a new run: "
            f"mio-local train {visible(shlex.quote(str(run.recipe)))}"
        )


def check_links(run: Run) -> None:
    """Raise RunError where the run's folder holds a link: what is written to the run would go elsewhere."""
    for entry in (*run.path.glob("*"), *run.checkpoints.glob("*")):
        if entry.is_symlink():
            where = f"is a link, to {os.readlink(entry)}"
            raise RunError(f"{entry}: {where}; a run writes to its own folder alone: put that in its place")


def check_base(run: Run, info: Mapping[str, Any], place: Path, report: Report = silent, *, anew: bool = False) -> None:
    """Raise RunError where the weights in `place` are others than run.json says; one without a digest goes by sizes.

    `report` hears of the bytes read, where they are not known yet, or read `anew`."""
    same = info.get("weights") == weights_sizes(place)
    if same and (known := info.get("weights_digest")):
        same = known == weights_digest(place, report, anew=anew)
    if not same:
        raise RunError(f"run {run.name}: the weights in {place} are not those it was trained on; restore them first")


def check_data(run: Run, info: Mapping[str, Any], digest: str) -> None:
    """Raise RunError where the tokens of the pairs are others than run.json says; one without a digest passes."""
    if info.get("data_digest", digest) != digest:
        raise RunError(f"run {run.name}: its data or tokenizer changed since it began; restore them first")


def check_start(run: Run, info: Mapping[str, Any], initial: SavedAdapter) -> None:
    """Raise RunError where `initial` is another adapter than the run began with, as far as run.json tells."""
    known = info.get("init_adapter")
    if known and known != adapter_digest(initial):
        raise RunError(f"run {run.name}: the adapter in {initial.folder} is not the one it began with, its reference; "
                       "restore that first")  # fmt: skip


def examine(run: Run, report: Report = silent) -> Iterator[tuple[str, str]]:
    """All that a run consists of and rests on, each with what is wrong with it: "" where nothing is. Reads all files of
    the run, the base's weights and the pairs."""
    try:
        info = run.read_info()
        check_recipe(run)
        recipe = build(read_toml(run.recipe), str(run.recipe))
        if not info.get("waiting"):
            check_info(run, info)
    except MioError as error:
        yield "settings", str(error)
        return
    yield "settings", ""
    for folder in run.saved():
        yield folder.name, _fault(verify, run, folder)
    for folder in (run.checkpoints / "best", run.adapter):
        if folder.exists():
            yield str(folder.relative_to(run.path)), fault_of(folder) or _fault(read_adapter, folder)
    if not info.get("waiting"):
        place = Path(info["model_folder"])
        yield "base model", _fault(check_base, run, info, place, report, anew=True)
        yield "pairs", _fault(lambda: check_data(run, info, tokenised(recipe, info["created"], report).tokens.digest))


def _fault(check: Callable[..., Any], *arguments: Any, **named: Any) -> str:
    """The line in which a check ends; "" where it passes."""
    try:
        check(*arguments, **named)
    except MioError as error:
        return str(error)
    return ""
