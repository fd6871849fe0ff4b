"""The memory that the draft would take, of what is free here: the core's estimate, and how it is shown."""

import importlib.util
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from rich.text import Text

from mio_local.errors import MioError, one_line
from mio_local.memory.estimate import estimate
from mio_local.memory.fitting import allowed, fits, remedy
from mio_local.models.hub import ModelCard
from mio_local.models.shapes import read_shape, shape_from_config
from mio_local.recipe import Recipe
from mio_tui.formatting import size

SIGNS = {"yes": "✓", "tight": "~", "no": "✗", "": "—"}
WORDS = {"yes": "fits", "tight": "fits, with little to spare", "no": "does not fit", "": ""}
DTYPES = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}
SHORTEST = 8  # tokens: what a run of any data needs at least
UNCHOSEN = "data not yet chosen"
BAR = 8  # cells of the longest bar


@dataclass(frozen=True)
class Needs:
    """Bytes by part, bytes free, whether that fits, and the smallest change that would make it fit. `bound`: the data
    is not known, so pairs are taken to be as long as the recipe lets them be, and no run needs more."""

    parts: tuple[tuple[str, int], ...] = ()
    total: int = 0
    free: int = 0
    fits: str = ""  # yes, tight, no; empty is unknown
    remedy: str = ""
    unknown: str = ""  # why there is no estimate
    bound: bool = False

    @property
    def cell(self) -> str:
        """For a table."""
        return f"{SIGNS[self.fits]} {'≤' * self.bound}{size(self.total)}" if self.total else SIGNS[""]

    @property
    def total_words(self) -> str:
        """The whole of it."""
        return f"at most {size(self.total)}, {UNCHOSEN}" if self.bound else f"~{size(self.total)}"

    @property
    def fits_words(self) -> str:
        """Whether it fits."""
        return "may not fit" if self.bound and self.fits == "tight" else WORDS[self.fits]

    @property
    def line(self) -> str:
        """In one line."""
        if not self.total:
            return f"memory unknown{f': {self.unknown}' if self.unknown else ''}"
        if not self.free:
            return f"needs {self.total_words}; how much is free here is unknown, or of no account"
        of = f"{size(self.free)} free: {self.fits_words}"
        words = f"needs {self.total_words}; {of}" if self.bound else f"needs {self.total_words} of {of}"
        return f"{words}; try {self.remedy}" if self.remedy else words

    def bars(self) -> Text:
        """By part, as bars."""
        longest = max((amount for _, amount in self.parts), default=1) or 1
        text = Text("Memory estimate\n", style="bold")
        text.no_wrap = True
        for name, amount in self.parts:
            eighths = round(8 * BAR * amount / longest)
            bar = "█" * (eighths // 8) + ("▏▎▍▌▋▊▉"[eighths % 8 - 1] if eighths % 8 else "")
            text.append(f"{name:<12}{size(amount):>8} {bar}\n", style="not bold")
        free = f" of {size(self.free)}" if self.free else ""
        text.append(f"{'needs':<11}{('≤ ' if self.bound else '~') + size(self.total):>9}{free}\n")
        text.append(f"{SIGNS[self.fits]} {self.fits_words}{f' · {UNCHOSEN}' if self.bound else ''}", style="not bold")
        return text.append(f"\ntry {self.remedy}", style="not bold") if self.remedy else text


def needs(card: ModelCard, recipe: Recipe, longest: int, pair: int = 0, answers: int = 2) -> Needs:
    """The estimate for a model; `longest` is the tokens of the longest prompt and answer, `pair` of the longest prompt
    with all its `answers`, 0 where they are unknown."""
    tokens = min(longest or recipe.data.max_tokens, recipe.data.max_tokens)
    # a bound is of answers that each fill a row beside a prompt of one token
    pair = pair * tokens // longest if longest else answers * (tokens - 1) + 1
    backend, kind = place(recipe)
    free = allowed(recipe, kind)
    try:
        if card.complete and card.folder:
            shape = read_shape(card.folder)
        else:
            shape = shape_from_config(card.config, card.size, DTYPES.get(card.quant, ""), card.name)
        found = estimate(shape, recipe, tokens, backend, kind, pair, answers)
        float(found.total)  # OverflowError where no table could show it
    except (MioError, OSError, ArithmeticError) as error:  # a config may hold any figures
        return Needs(free=free, unknown=one_line(error))
    if not free:
        return Needs(found.parts, found.total, bound=not longest)
    if not longest:
        fit = fits(found.total, free)
        if fit == "no" and estimate(shape, recipe, min(SHORTEST, tokens), backend, kind).total <= free:
            fit = "tight"  # it is for the data to say
        return Needs(found.parts, found.total, free, fit, bound=True)
    remedied = remedy(shape, recipe, tokens, backend, kind, free, pair, answers=answers)
    return Needs(found.parts, found.total, free, fits(found.total, free), remedied)


def most(card: ModelCard, recipes: list[Recipe], longest: int, pair: int = 0, answers: int = 2) -> Needs:
    """The estimate of the run that needs the most, of those that train one after the other."""
    return max((needs(card, recipe, longest, pair, answers) for recipe in recipes), key=lambda found: found.total)


def place(recipe: Recipe) -> tuple[str, str]:
    """The backend and the kind of device that the recipe means here, without loading a backend."""
    backend, device = recipe.backend.name, recipe.backend.device
    if backend == "auto":
        backend = "mlx" if importlib.util.find_spec("mlx") else "cuda"
    if device == "auto":
        return backend, "gpu" if sys.platform == "darwin" or backend == "cuda" else "cpu"
    return backend, "cpu" if device == "cpu" else "gpu"


def disk_free(folder: Path) -> int:
    """Bytes free where a folder is, or will be."""
    try:
        there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
        return shutil.disk_usage(there).free
    except OSError:
        return 0
