"""What an export computes against what the app's model does: logits of a few tokens, by the library of its users."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mio_local.backends import Backend, load_backend
from mio_local.errors import BackendError, ModelError
from mio_local.evaluation.loading import Source
from mio_local.models.locate import quantised
from mio_local.models.shapes import stored_dtype

PROBE = 32  # tokens whose logits are compared
# of the largest logit: the rounding of float32, that of 16 bits, and that of 8-bit kernels, which round activations too
EXACT, ROUNDED, EIGHT = 1e-4, 0.05, 0.15
SHARE = 0.25  # of the adapter's effect on the logits: as much of it may be lost, or added, in rounding
NOISE = 4  # times the effect: in more of it the effect is not found again
ALIKE = 0.02  # of the adapter's effect: as much may lie beside it in the other library, on the same base
AT_WORK = 0.5  # where the two libraries differ on the base by itself


@dataclass(frozen=True)
class Check:
    """The largest difference of a logit between the app's model and what was exported, and the largest logit, over
    PROBE tokens; `by` says what computed it. `reason`: why nothing could be compared. `loose`: any difference was
    allowed. `share`: where the other library computes the model otherwise, how much of the adapter's effect is found
    there, else 0."""

    difference: float
    largest: float
    by: str
    reason: str = ""
    loose: bool = False
    share: float = 0.0

    @property
    def line(self) -> str:
        """In words, one line."""
        if self.reason:
            return f"! its logits were not compared with the app's: {self.reason}"
        if self.share:
            return (
                f"! its logits differ from the app's by {self.difference:.1g}, of {self.largest:.2g}: the two "
                f"libraries compute this model otherwise; it has {self.share:.0%} of the adapter's effect ({self.by})"
            )
        how = "differ from the app's by at most" if self.loose else "equal the app's to"
        return f"its logits {how} {self.difference:.1g}, the largest being {self.largest:.2g} ({self.by})"


def compare(source: Source, folder: Path, place: Path, name: str, *, adapter: bool, loose: bool) -> Check:
    """The logits of the app's model against those of the export in `folder`, loaded by the library of backend `name` as
    its users load it. Raises ModelError, which calls it `place`, where they are no numbers, differ by more than
    rounding, or have lost the adapter in it; with `loose` for the first alone."""
    try:
        library, own = load_backend(name), source.open()
    except BackendError as error:
        return Check(0.0, 0.0, "", str(error))
    if adapter and library.name != own.name:
        if quantised(source.base):
            reason = f"{source.base} is quantised, which only its own library loads; use the plain base"
            return Check(0.0, 0.0, "", reason)
        source = replace(source, model=source.model.model_copy(update={"quantize": 0}))  # each quantises in its own way
    model = source.load(own)
    vocabulary = model.logits([0]).shape[-1]
    ids = np.random.default_rng(0).integers(0, vocabulary, PROBE).tolist()
    ours = model.logits(ids)
    if not adapter and stored_dtype(folder) != "float32":
        tolerance = ROUNDED
    elif source.model.quantize == 8 and own.name == "cuda":
        tolerance = EIGHT
    else:
        tolerance = ROUNDED if model.half else EXACT
    del model
    base = source.base if adapter else folder
    settings = source.model if adapter else source.model.model_copy(update={"quantize": 0})
    theirs = library.logits(base, settings, source.device(library), ids, folder if adapter else None)
    by = ", ".join(f"{package} {number}" for package, number in library.versions.items())
    for logits, whose in ((ours, "the app's"), (theirs, "its")):
        if not np.isfinite(logits).all():
            raise ModelError(f"{place}: not published: {whose} logits are not all numbers ({by})")
    difference, largest = float(np.abs(ours - theirs).max()), float(np.abs(ours).max())
    if loose:
        return Check(difference, largest, by, loose=True)

    def bare(backend: Backend) -> np.ndarray:
        return backend.logits(source.base, source.model, source.device(backend), ids, None)

    if difference > tolerance * max(1.0, largest):
        if adapter and library.name != own.name:
            before = bare(own), bare(library)
            share = same_effect(ours - before[0], theirs - before[1], float(np.abs(before[0] - before[1]).max()),
                                tolerance * max(1.0, largest))  # fmt: skip
            if share:
                return Check(difference, largest, by, share=share)
        raise ModelError(
            f"{place}: not published: its logits differ from the app's by {difference:.2g}, of {largest:.2g} ({by})"
        )
    if tolerance > EXACT:
        before = bare(own)
        share = kept(ours - before, theirs - before, EXACT * max(1.0, largest) / SHARE)
        if abs(share - 1) > SHARE:
            raise ModelError(
                f"{place}: not published: on the logits it has {share:.0%} of the adapter's effect ({by}); where 16 "
                "bits are too coarse for so small a one, export the adapter: --to peft or --to mlx"
            )
    return Check(difference, largest, by)


def same_effect(effect: np.ndarray, found: np.ndarray, apart: float, allowed: float) -> float:
    """How much of an adapter's `effect` in one library there is in another, `found`, whose logits differ by more than
    the `allowed` rounding; 0 where it is another effect. The two differ by `apart` on the base alone: where that is
    more than rounding they compute another model each, and only that the adapter is at work can be asked for."""
    wanted, got = effect.astype(np.float64).ravel(), found.astype(np.float64).ravel()
    share = float(wanted @ got / (wanted @ wanted))
    rest = float(np.linalg.norm(got - share * wanted) / np.linalg.norm(wanted))
    if apart > allowed:
        return share if abs(share - 1) <= AT_WORK else 0.0
    return share if max(abs(share - 1), rest) <= ALIKE else 0.0


def kept(effect: np.ndarray, found: np.ndarray, least: float) -> float:
    """How much of `effect` there is in `found`, by least squares, whatever noise lies beside it; 1 for an effect that
    rounding may hide: its largest is at most `least`, or the noise is NOISE times as large."""
    wanted, got = effect.astype(np.float64).ravel(), found.astype(np.float64).ravel()
    if np.abs(wanted).max() <= least:
        return 1.0
    share = float(wanted @ got / (wanted @ wanted))
    return share if np.linalg.norm(got - share * wanted) <= NOISE * np.linalg.norm(wanted) else 1.0
