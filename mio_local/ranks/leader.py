"""Rank 0's model: each call is the other ranks' too, or is shared among them. The mathematics is that of one process:
gradients are summed over the ranks before their norm is taken, and every rank takes the same step."""

import atexit
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mio_local.adapters.adapter import Adapter, Slot
from mio_local.arrays import Scored
from mio_local.backends import Backend, Memory, Model
from mio_local.data.collate import Batch, joined
from mio_local.data.loglikelihood import Row, Score
from mio_local.errors import BackendError
from mio_local.launched.rank_place import Collective
from mio_local.objectives.losses import Objective
from mio_local.ranks.follower import loaded
from mio_local.ranks.link import Link
from mio_local.ranks.link_speed import LinkSpeed, link_speed
from mio_local.ranks.rendezvous import lead
from mio_local.ranks.shares import parts, spread
from mio_local.recipe import LoraSettings, Recipe, SpeedSettings, TrainSettings
from mio_local.sampling import Draws, Sampling, Told

_led: dict[tuple[str, str, int], tuple[Link, Collective, str]] = {}  # a library's ranks come together once in a process


def load_on_ranks(backend: Backend, recipe: Recipe, place: Path, limit: int) -> "RankedModel":
    """The base model in `place` on each of the recipe's devices, within `limit` bytes of each where it is above 0."""
    settings, train = recipe.backend, recipe.train
    key = (backend.name, settings.device, settings.devices)
    if key not in _led:
        _led[key] = lead(backend, settings.device, settings.devices)
        atexit.register(_led[key][0].close)
    link, collective, device = _led[key]
    shard, checkpoint, seed = settings.shard, train.grad_checkpoint, train.seed
    asked = ("load", place, recipe.model, checkpoint, seed, limit, shard)

    def load() -> Model:
        return loaded(backend, place, recipe.model, device, collective, checkpoint, seed, shard=shard)

    own = link.exchange(dict.fromkeys(link.others, asked), load)[0]
    return RankedModel(own, link, collective, shard=shard)


class RankedModel:
    """`mio_local.backends.Model` on several ranks, of which this process is the first. With `shard` each has a share of
    the base, and they wait for each other in every pass: all make each call, whatever there is to do for them."""

    def __init__(self, own: Model, link: Link, collective: Collective, *, shard: bool = False) -> None:
        self.own, self.link, self.collective, self.shard = own, link, collective, shard
        self.half = own.half
        self.ranks = len(link.others) + 1
        self._fed: tuple[Batch, list[Batch | None]] | None = None
        self._others = Memory(0, 0)  # the most that another rank had in use

    def add_lora(self, settings: LoraSettings, train: TrainSettings, names: Sequence[str]) -> list[Slot]:
        return self._alike("add_lora", settings, train, names)

    def use(self, speed: SpeedSettings) -> dict[str, str]:
        return self._alike("use", speed)

    def linear_layers(self) -> list[str]:
        return self.own.linear_layers()

    def left_out(self) -> dict[str, str]:
        return self.own.left_out()

    def set_adapter(self, adapter: Adapter, *, reference: bool = True) -> None:
        self._alike("set_adapter", adapter, reference=reference)

    def get_adapter(self) -> Adapter:
        return self.own.get_adapter()

    def save_adapter(self, folder: Path) -> None:
        self.own.save_adapter(folder)

    def share(self, collective: Collective) -> None:
        raise BackendError("these ranks have their collective already")

    def accumulate(self, batch: Batch, reference: np.ndarray, objective: Objective, scale: float) -> Scored:
        given = self._feed(batch)
        ends = np.cumsum([part.size if part else 0 for part in given])[:-1]
        references = [rows.ravel() for rows in np.split(reference.reshape(batch.answers, -1), ends, axis=1)]
        asked = [
            ("accumulate", own, objective, scale) if part else ("accumulate", references[0], objective, 0.0)
            for part, own in zip(given, references, strict=True)
        ]
        return _summed(batch, self._parts(given, asked, lambda own: self.own.accumulate(
            own, references[0], objective, scale
        )))  # fmt: skip

    def rehearse(self, batch: Batch, objective: Objective) -> Scored:
        asked = [("rehearse", objective)] * self.ranks
        return _summed(batch, self._parts(self._feed(batch), asked, lambda own: self.own.rehearse(own, objective)))

    def logps(self, batch: Batch, *, reference: bool) -> np.ndarray:
        asked = [("logps", reference)] * self.ranks
        found = self._parts(self._feed(batch), asked, lambda own: self.own.logps(own, reference=reference))
        return joined(found, batch.answers)

    def apply(self, learning_rate: float) -> float:
        asked = dict.fromkeys(self.link.others, ("apply", learning_rate))
        given = self.link.exchange(asked, lambda: self.own.apply(learning_rate), together=True)
        norm, self._fed = given.pop(0), None
        found = list(given.values())
        self._others = Memory(*(max(getattr(memory, key) for _, memory in found) for key in ("active", "peak")))
        if off := [other for other, _ in found if other != norm and not (np.isnan(other) and np.isnan(norm))]:
            raise BackendError(f"the ranks do not agree on the gradient's norm: {norm:g} here, {off[0]:g} elsewhere")
        return norm

    def generate(
        self, prompts: Sequence[Sequence[int]], max_tokens: int, stop: Sequence[int], *, reference: bool,
        temperature: float = 0.0, seed: int = 0, ends: bool = False,
    ) -> list[list[int]]:  # fmt: skip
        more: dict[str, Any] = {"reference": reference, "temperature": temperature, "seed": seed, "ends": ends}
        if self.shard:
            return self._alike("generate", prompts, max_tokens, stop, **more)
        if temperature:  # what is drawn goes by the rows that are drawn together
            return self.own.generate(prompts, max_tokens, stop, **more)
        return self._shared("generate", prompts, (max_tokens, stop), more)

    def draw(
        self, prompts: Sequence[Sequence[int]], draws: Draws, stop: Sequence[int], told: Told, *, reference: bool
    ) -> list[list[list[int]]]:
        if not self.shard:
            return self.own.draw(prompts, draws, stop, told, reference=reference)
        asked = ("call", "draw", (prompts, draws, stop, untold), {"reference": reference})
        return self._exchange(
            dict.fromkeys(self.link.others, asked),
            lambda: self.own.draw(prompts, draws, stop, told, reference=reference),
        )[0]

    def draw_each(
        self, asked: Sequence[tuple[Sequence[Sequence[int]], Draws]], stop: Sequence[int], told: Told,
        *, reference: bool,
    ) -> list[list[list[list[int]]]]:  # fmt: skip
        """What `draw` gives for each of some prompts with their draws, of which there are no more than ranks: what is
        drawn goes by the rows that are drawn together, so that each rank draws as one process would."""
        if not asked or self.shard:
            return [self.draw(*given, stop, told, reference=reference) for given in asked]
        more = {"reference": reference}
        others = {rank: ("call", "draw", (*given, stop, untold), more) for rank, given in enumerate(asked) if rank}
        given = self.link.exchange(others, lambda: self.own.draw(*asked[0], stop, told, reference=reference))
        found = list(given.values())
        every = [answer for prompts in found for answers in prompts for answer in answers]
        told(len(every), sum(map(len, every)))
        return found

    def score(self, rows: Sequence[Row], *, reference: bool) -> list[Score]:
        if self.shard:
            return self._alike("score", rows, reference=reference)
        return self._shared("score", rows, (), {"reference": reference})

    def stream(
        self, prompt: Sequence[int], sampling: Sampling, stop: Sequence[int], told: Callable[[int], bool],
        *, reference: bool,
    ) -> None:  # fmt: skip
        self.own.stream(prompt, sampling, stop, told, reference=reference)

    def logits(self, ids: Sequence[int]) -> np.ndarray:
        return self._alike("logits", ids) if self.shard else self.own.logits(ids)

    def release(self) -> None:
        self._alike("release")

    def save_state(self, folder: Path) -> None:
        self.own.save_state(folder)

    def restore_state(self, folder: Path) -> None:
        state = {file.name: file.read_bytes() for file in folder.glob("state.*")}
        self.link.exchange(dict.fromkeys(self.link.others, ("restore", state)), lambda: self.own.restore_state(folder))

    def memory(self) -> Memory:
        own = self.own.memory()
        return Memory(max(own.active, self._others.active), max(own.peak, self._others.peak))

    def link_speed(self) -> LinkSpeed:
        """What a sum of the adapter's gradient takes, and a question."""
        return link_speed(self.link, self.collective, sum(value.size for value in self.get_adapter().values()))

    def _alike(self, what: str, *given: Any, **more: Any) -> Any:
        """The same on all ranks; what it gives here."""
        asked = dict.fromkeys(self.link.others, ("call", what, given, more))
        return self._exchange(asked, lambda: getattr(self.own, what)(*given, **more))[0]

    def _shared(self, what: str, items: Sequence[Any], given: Sequence[Any], more: dict[str, Any]) -> list[Any]:
        """Each rank's results for its share of the items, in their order."""
        shares = [[items[number] for number in own] for own in spread(len(items), self.ranks)]
        asked = {rank: ("call", what, [own, *given], more) for rank, own in enumerate(shares) if rank and own}
        own = (lambda: getattr(self.own, what)(shares[0], *given, **more)) if shares[0] else None
        return [one for found in self.link.exchange(asked, own).values() for one in found]

    def _feed(self, batch: Batch) -> list[Batch | None]:
        """Each rank's part of the batch, which each has from here on: the policy's pass over what the reference just
        scored is over the very same parts. Of a shared base, a rank without one computes the first's too."""
        if self._fed is None or self._fed[0] is not batch:
            given = parts(batch, self.ranks)
            self._fed = batch, given
            spare = given[0] if self.shard else None
            self.link.exchange({rank: ("feed", given[rank] or spare) for rank in self.link.others})
        return self._fed[1]

    def _parts(
        self, given: Sequence[Batch | None], asked: Sequence[Sequence[Any]], work: Callable[[Batch], Any]
    ) -> list[Any]:  # fmt: skip
        """What the ranks that have a part found for it, in order: the others as `asked`, this one by `work`."""
        own = given[0]
        others = {rank: asked[rank] for rank, part in enumerate(given) if rank and (part or self.shard)}
        found = self._exchange(others, None if own is None else lambda: work(own))
        return [one for rank, one in found.items() if given[rank]]

    def _exchange(
        self, asked: Mapping[int, Sequence[Any]], own: Callable[[], Any] | None = None
    ) -> dict[int, Any]:  # fmt: skip
        return self.link.exchange(asked, own, together=self.shard)


def _summed(batch: Batch, found: Sequence[Scored]) -> Scored:
    return Scored(sum(one.loss for one in found), joined([one.logps for one in found], batch.answers))


def untold(_done: int, _tokens: int) -> None:
    """For the other ranks, of whose answers nobody hears."""
