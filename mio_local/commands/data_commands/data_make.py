"""`mio-local data make`: prompts to answers of the model itself, to rewards, to pairs that `train` reads."""

import argparse
import hashlib
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mio_local import printing
from mio_local.adapters.adapter import SavedAdapter, inherit, read_adapter
from mio_local.backends import Backend, Device, Model, resolve_backend
from mio_local.commands.data_commands.making_shown import drawing, shown
from mio_local.data.messages import Answer, shown_text
from mio_local.data.template import Chat
from mio_local.data.tokenise import chat_of
from mio_local.errors import DataError, MioError, RecipeError, RunError
from mio_local.flags import recipe_from, words
from mio_local.learning import MakeSettings
from mio_local.making.answered import Judge
from mio_local.making.hand_review import HAND
from mio_local.making.judging.choose import check_known, cost_of, judge_of, may_run
from mio_local.making.made_figures import Figures, examples, figures, histogram, markdown
from mio_local.making.made_figures import words as told
from mio_local.making.make import Maker, Making
from mio_local.making.pair_lines import pair_lines
from mio_local.making.prompts import Prompts, askable, read_prompts
from mio_local.making.work_file import Work
from mio_local.models.locate import model_folder, pinned
from mio_local.process import without
from mio_local.progress import Report
from mio_local.recipe import DataSettings, Recipe
from mio_local.runs.directory import find, runs_folder
from mio_local.runs.naming import located
from mio_local.storage.digests import digest_of
from mio_local.storage.paths import expanded
from mio_local.storage.writing import write_atomically
from mio_local.text import visible
from mio_local.training.fingerprint import adapter_digest, weights_digest
from mio_local.training.reference_ahead import score_ahead
from mio_local.training.trainable import adapt, layers_of, load

OUT = "pairs.jsonl"
IN_REPORT = 10  # examples of the report's file


@dataclass
class Source:
    """The model that draws: the recipe as it was asked for, and with what was resolved, where the model lies, and the
    adapter on it."""

    asked: Recipe
    recipe: Recipe
    backend: Backend
    device: Device
    place: Path
    initial: SavedAdapter | None
    model: Model | None = None
    adapted: bool = False

    @property
    def drawn_by(self) -> dict[str, Any]:
        """What the answers depend on, in the words of the settings."""
        recipe, make = self.recipe, self.recipe.make
        return {
            "backend": self.backend.name, "device": self.device.kind, "dtype": recipe.model.dtype,
            "quantize": recipe.model.quantize, "adapter": adapter_digest(self.initial)[:16] if self.initial else "none",
            "answers": make.answers, "temperature": list(make.temperature), "top-p": make.top_p,
            "answer-tokens": make.answer_tokens, "make.rows": make.rows, "template": recipe.data.template,
            "data.system": recipe.data.system, "data.template_args": recipe.data.template_args,
        }  # fmt: skip

    def load(self) -> Model:
        """The model, with an adapter only where it has one to be drawn with, or scores what it drew: one that has no
        effect takes its time all the same."""
        if self.model is None:
            self.model = load(self.backend, self.recipe, self.place)
        if self.initial or self.recipe.make.negatives == "hardest":
            self.adapt()
        return self.model

    def adapt(self) -> Model:
        """The model with its adapter, or a fresh one."""
        assert self.model is not None
        if not self.adapted:
            adapt(self.model, self.recipe, layers_of(self.model, self.recipe, self.initial), self.initial)
            self.adapted = True
        return self.model


def main(arguments: argparse.Namespace) -> int:
    """Make the pairs; 0 once all prompts are asked and judged. An interrupt keeps what is there, and the same command
    goes on."""
    out, file = printing.console(), _file(arguments.out or OUT)
    if arguments.examples < 0:
        raise RecipeError(f"--examples {arguments.examples}: must not be negative")
    recipe = _recipe(arguments)
    settings, seed = recipe.make, recipe.train.seed
    judge = judge_of(settings, trusted=may_run(settings), seed=seed)
    try:
        with printing.preparing(out) as report:
            report("reading the prompts", 0, 0)
            prompts = read_prompts(settings.prompts, recipe.data, settings.limit)
            check_known(prompts, settings)
            source = _source(recipe, report)
            weights = weights_digest(source.place, report)
        depends = {"model": weights[:16], **source.drawn_by, "seed": seed}
        with Work(Path(f"{file}.work"), depends, anew=arguments.force) as work:
            _check_file(file, work, forced=arguments.force)
            chat = chat_of(source.recipe.model, recipe.data, source.place, work.created)
            prompts = askable(prompts, chat, settings.answer_tokens)
            _say_prompts(prompts, work, out)
            if cost := cost_of(settings, len(prompts.asked)):
                out.print(cost)
            with printing.preparing(out) as report:
                report("loading the model", 0, 0)
                model = source.load()
            maker = Maker(model, chat, prompts.asked, settings, judge, seed, work, key=_key(settings, judge))
            try:
                with drawing(out) as progress:
                    maker.run(progress)
            except KeyboardInterrupt:
                making = maker.making()
                _write(file, work, making, source, judge, seed)
                done = f"{len(making.made):,} of {len(prompts.asked):,} prompts done, {making.pairs:,} pairs written"
                out.print(f"stopped: {done}; the same command goes on")
                raise
            making = maker.making()
            found = _figures(making, settings, judge, chat)
            pictured = histogram(found)
            lines = told(found, making, judge.name)
            for line in shown(lines, pictured, examples(making, arguments.examples)):
                out.print(line)
            if not making.pairs and judge.name != HAND:
                raise DataError(f"{file}: no prompt makes a pair; draw more --answers, or at a higher --temperature; "
                                f"what was drawn is kept in {file.name}.work")  # fmt: skip
            _write(file, work, making, source, judge, seed)
        report_file = file.with_name(f"{file.name}.report.md")
        write_atomically(report_file, markdown(lines, pictured, examples(making, IN_REPORT)))
        out.print(f"written: {visible(str(file))}, and {visible(report_file.name)} beside it")
    finally:
        judge.close()
    if judge.name == HAND:
        out.print("no pairs yet: choose the better of two answers to each prompt in the app, by m, then ^r")
        printing.next_steps(out, "mio-local")
        return 0
    _keep_reference(source, file, out)
    printing.next_steps(out, shlex.join(["mio-local", "train", *words(_to_train(source, file))]))
    return 0


def _file(name: str) -> Path:
    file = expanded(name, "--out")
    if file.suffix not in (".jsonl", ".ndjson"):
        raise RecipeError(f"--out {name}: the pairs are written as JSONL; name a .jsonl file")
    if not file.parent.is_dir():
        raise RecipeError(f"--out {name}: no such folder {file.parent}; make it first")
    return file


def _recipe(arguments: argparse.Namespace) -> Recipe:
    """The recipe, with the model, adapter and template of a run where one is named. Raises MioError."""
    folder, recipe = runs_folder(arguments.runs), recipe_from(arguments)
    if not arguments.source_run:
        return located(recipe, folder)
    if recipe.lora.init_adapter:
        raise RecipeError(f"--from {arguments.source_run}: is an adapter already; leave --init-adapter out")
    from mio_local.evaluation.loading import of_run

    found = of_run(find(folder, arguments.source_run), arguments.checkpoint)
    own = {"template": found.template, "system": found.system, "template_args": found.template_args}
    default = DataSettings()
    own = {key: value for key, value in own.items() if getattr(recipe.data, key) == getattr(default, key)}
    model = recipe.model if recipe.model.name else found.model
    backend = recipe.backend if recipe.backend.name != "auto" else found.backend
    return recipe.model_copy(update={
        "model": model, "backend": backend, "data": recipe.data.model_copy(update=own),
        "lora": recipe.lora.model_copy(update={"init_adapter": str(found.saved.folder.absolute())}),
    })  # fmt: skip


def _source(recipe: Recipe, report: Report) -> Source:
    report("finding the device", 0, 0)
    asked = recipe
    backend, recipe, device = resolve_backend(recipe.absolute())
    without(*backend.unused)
    initial = read_adapter(Path(recipe.lora.init_adapter)) if recipe.lora.init_adapter else None
    recipe = inherit(recipe, initial) if initial else recipe
    report("finding the model", 0, 0)
    place = model_folder(recipe.model)
    train = recipe.train.model_copy(update={"grad_checkpoint": False})  # a backend draws without a cache then
    recipe = recipe.model_copy(update={"model": pinned(recipe.model, place), "train": train})
    return Source(asked, recipe, backend, device, place, initial)


def _check_file(file: Path, work: Work, *, forced: bool) -> None:
    """Raise RunError where the file is there and not what was made of this work."""
    if file.exists() and not forced and (not file.is_file() or digest_of(file) != work.wrote):
        raise RunError(f"{file}: is there, and is not what was made here; name another --out, or replace it: --force")


def _key(settings: MakeSettings, judge: Judge) -> str:
    """The judge with all that its rewards depend on: its settings, and what is in the files that they name."""
    named = [judge.name, settings.judge, settings.judge_model]
    for name in (settings.judge.partition(":")[2], settings.judge_prompt):
        path = Path(name).expanduser() if name else None
        named.append(digest_of(path) if path and path.is_file() else "")
    return hashlib.sha256("\n".join(named).encode()).hexdigest()[:16]


def _say_prompts(prompts: Prompts, work: Work, out: printing.Console) -> None:
    repeated = f", {prompts.repeated:,} repeated ones asked once" if prompts.repeated else ""
    out.print(f"{len(prompts.asked):,} prompts, {prompts.known:,} with a known answer{repeated}")
    for line in prompts.told():
        out.print(f"! {visible(line)}")
    if work.damaged:
        out.print(f"! {work.damaged:,} damaged lines of {visible(str(work.file))} are left out, and made again")


def _figures(making: Making, settings: MakeSettings, judge: Judge, chat: Chat) -> Figures:
    def length(answer: Answer) -> int:
        return len(chat.tokenizer(shown_text(answer), add_special_tokens=False, verbose=False)["input_ids"])

    lengths = [(length(pair.chosen), length(pair.rejected)) for made in making.made for pair in made.pairs]
    return figures(making, judge.threshold, settings.answers, lengths)


def _write(file: Path, work: Work, making: Making, source: Source, judge: Judge, seed: int) -> None:
    recipe = source.recipe
    origin = {"seed": seed, "model": recipe.model.name, "revision": recipe.model.revision}
    if source.initial:
        origin["adapter"] = recipe.lora.init_adapter
    text = pair_lines(making, recipe.make, judge.name, origin)
    write_atomically(file, text)
    work.add_wrote(hashlib.sha256(text.encode()).hexdigest())


def _to_train(source: Source, file: Path) -> Recipe:
    """The recipe of a run that trains on the file: it is read as itself, whatever the prompts' columns were."""
    reading = ("split", "revision", "columns", "ranking", "limit")
    own = {key: getattr(DataSettings(), key) for key in reading}
    data = source.recipe.data.model_copy(update={**own, "source": str(file)})
    return source.asked.model_copy(update={"model": source.recipe.model, "data": data, "make": MakeSettings()})


def _keep_reference(source: Source, file: Path, out: printing.Console) -> None:
    """Put the reference's log-probs of the pairs into the cache; what prevents it, training will tell."""
    recipe = _to_train(source, file).model_copy(update={"backend": source.recipe.backend, "lora": source.recipe.lora})
    if not recipe.speed.reference_cache or recipe.train.grad_checkpoint:  # which changes how the model is loaded
        return
    try:
        with printing.preparing(out) as report:
            where = source.backend, source.device, source.place, source.initial
            count = score_ahead(source.adapt(), recipe, *where, report)
    except MioError as error:
        out.print(f"! the reference's log-probs are not kept: {visible(str(error))}")
        return
    out.print(f"the reference's log-probs of {count:,} pairs are kept: training on them begins at once")
