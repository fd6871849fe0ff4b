"""The recipe: every setting of a run, its default, its range and its help text, here and in `learning`.

The TOML file, the command-line flags, the terminal app's form and the README's table are all read from these models.
"""

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import ValidationError, field_validator

from mio_local.errors import RecipeError, one_line
from mio_local.learning import LoraSettings, LossSettings, MakeSettings, PassSize, Section, TrainSettings, setting
from mio_local.storage.plain_files import read_plain
from mio_local.validation import bytes_of, explained, shown, template_arguments


class ModelSettings(Section):
    name: str = setting("", "model folder or hub name", "--model")
    revision: str = setting("", "hub revision (branch, tag or commit)")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = setting(
        "auto", "weights' type; auto is bfloat16 on a GPU (float16 where that is faster), float32 on a CPU", "--dtype"
    )
    quantize: Literal[0, 4, 8] = setting(0, "quantise the frozen base to 4 or 8 bits while loading", "--quantize")
    trust_remote_code: bool = setting(False, "run Python code that the model repository ships", "--trust-remote-code")

    @field_validator("quantize", mode="before")
    @classmethod
    def _bits(cls, value: Any) -> Any:
        text = str(value).removesuffix("bit").removesuffix("-")
        return {"none": 0, "0": 0, "4": 4, "8": 8}.get(text, value)


class DataSettings(Section):
    source: str = setting("", "preference pairs: a file, a folder, or a hub dataset", "--data")
    split: str = setting("train", "split of a hub dataset")
    revision: str = setting("", "hub revision of the dataset")
    eval_source: str = setting("", "held-out pairs; empty takes a folder's valid file, else a fraction", "--eval-data")
    eval_split: str = setting("", "split of a hub dataset given as eval_source; empty means the same as split")
    eval_fraction: float = setting(0.05, "share of the prompts held out where there are no held-out pairs", ge=0, lt=1)
    columns: dict[str, str] = setting({}, "columns by role, as role=column,...; empty detects them", "--columns")
    ranking: Literal["best-worst", "all"] = setting(
        "best-worst", "pairs of several scored answers: the best with the worst, or all of different scores"
    )
    template: str = setting("auto", "auto (the tokenizer's chat template), none, or a Jinja file", "--template")
    template_args: dict[str, Any] = setting({}, "the template's own arguments, as enable_thinking=false,...")
    system: str = setting("", "system message put before conversations that have none")
    thoughts: Literal["keep", "drop"] = setting("keep", "score answers with their thoughts, or leave thoughts out")
    score: Literal["last", "all"] = setting("last", "turns that are scored: the last answer, or all the assistant's")
    max_tokens: int = setting(1024, "longest prompt plus answer; longer answers are cut", "--max-tokens", ge=8)
    long_prompt: Literal["error", "skip", "cut"] = setting(
        "error", "a prompt that leaves no room for an answer: stop, skip the pair, or cut the prompt's start"
    )
    bad_rows: Literal["error", "skip"] = setting("error", "a row that is no pair (an empty answer, say): stop or skip")
    limit: int = setting(0, "read at most this many pairs; 0 reads all", ge=0)

    @field_validator("template_args", mode="before")
    @classmethod
    def _values(cls, value: Any) -> Any:
        """Words that are JSON, as false and 3 are, become what they say."""
        return template_arguments(value) if isinstance(value, Mapping) else value


class EvalSettings(Section):
    every: int = setting(50, "steps between held-out evaluations; 0 evaluates at the start and the end",
                         "--eval-every", ge=0)
    pairs: int = setting(256, "held-out pairs scored at most; 0 scores all", ge=0)
    batch_size: int = setting(0, "pairs in one forward pass; 0 means as in training", ge=0)
    metric: Literal["loss", "rewards/accuracies", "rewards/margins", "logps/chosen", "reward/held_out"] = setting(
        "loss", "held-out figure that chooses the best checkpoint; the reward where samples are drawn for it"
    )
    tasks: str = setting("", "JSONL of question and answer, answered greedily before and after: exact match")
    task_tokens: int = setting(128, "longest answer to a task question", ge=1)
    forgetting: str = setting(
        "none", "plain text whose perplexity is measured too: none, shipped (thirty paragraphs), or a file",
        "--forgetting",
    )
    sample_prompt: str = setting("", "prompt answered at every evaluation; empty takes the first held-out pair's")
    sample_tokens: int = setting(96, "longest sample answer; 0 answers none", ge=0)
    patience: int = setting(0, "stop after this many evaluations without a better metric; 0 never", "--patience", ge=0)


class BackendSettings(Section):
    name: str = setting("auto", "mlx, cuda (PyTorch), or auto: MLX where it runs, else PyTorch", "--backend")
    device: str = setting("auto", "auto, gpu, cuda, cuda:N, mps or cpu", "--device")
    devices: int = setting(
        1, "devices of this machine to train on, a process each; they share each step's pairs", "--devices", ge=1
    )
    shard: bool = setting(
        False, "spread the frozen base over the devices (PyTorch's FSDP2), where one cannot hold it", "--shard"
    )
    memory_limit: str = setting(
        "auto", "memory the run may use: 12GB or 800MB, none, or auto: what is free", "--memory-limit"
    )

    @field_validator("memory_limit", mode="before")
    @classmethod
    def _gigabytes(cls, value: Any) -> Any:
        """As GB without their unit, where it is neither of the words."""
        text = str(value).strip().lower()
        if text in ("auto", "none"):
            return text
        size = bytes_of(text) / 1e9
        if not 0.001 <= size < 1e6:
            raise ValueError("must be auto, none, or a size as 12GB or 800MB")
        return f"{size:.6f}".rstrip("0").rstrip(".")


NONE_BELOW = "the first block is adapted"  # why no frozen blocks are run once for policy and reference
HAS_KERNELS = "mlx-lm's models take MLX's kernels"  # why none of its layers is fused
NONE_KNOWN = "its norms and rotary embeddings are of other kinds"  # the same
UNTOLD = (NONE_BELOW, HAS_KERNELS, NONE_KNOWN)  # reasons that say nothing of what a user chose


class SpeedSettings(Section):
    share_prompt: bool = setting(True, "feed each prompt once for both answers, where that is exact for the model")
    answer_head: bool = setting(True, "compute logits of the answers' tokens only, part by part")
    lean_adapter: bool = setting(True, "LoRA in the model's own type, without copies of its input")
    fused_layers: bool = setting(True, "norms, rotary embeddings and log-probs in fewer operations (PyTorch)")
    frozen_once: bool = setting(True, "run the blocks under the lowest adapted one once for policy and reference")
    reference_cache: bool = setting(True, "keep the reference's log-probs on disk for later epochs and runs")

    def refused(self, refusals: Mapping[str, str]) -> dict[str, str]:
        """Of reasons by lever, empty where there is none, those of the levers that are asked for."""
        return {lever: reason for lever, reason in refusals.items() if reason and getattr(self, lever)}

    def without(self, levers: Iterable[str]) -> Self:
        """The same with these levers off."""
        return self.model_copy(update=dict.fromkeys(levers, False))


PLAIN = SpeedSettings(**dict.fromkeys(SpeedSettings.model_fields, False))  # none of them


class Recipe(Section):
    """Every setting of one run. Raises `RecipeError` from `load` and `build`, naming file or flag, key and value."""

    model: ModelSettings = ModelSettings()
    data: DataSettings = DataSettings()
    lora: LoraSettings = LoraSettings()
    loss: LossSettings = LossSettings()
    train: TrainSettings = TrainSettings()
    eval: EvalSettings = EvalSettings()
    backend: BackendSettings = BackendSettings()
    speed: SpeedSettings = SpeedSettings()
    make: MakeSettings = MakeSettings()

    @property
    def held_out_pass(self) -> PassSize:
        """The most that a forward pass over held-out pairs takes."""
        return PassSize(self.eval.batch_size) if self.eval.batch_size else self.train.pass_size

    def dump(self) -> str:
        """The recipe as TOML, every key written out with its help: reading it back gives an equal recipe."""
        import tomlkit

        document = tomlkit.document()
        for section, model in self:
            table = tomlkit.table()
            for key, value in model:
                item = tomlkit.item(value)
                item.comment(type(model).model_fields[key].description or "")
                table.add(key, item)
            document.add(section, table)
        return tomlkit.dumps(document)

    def absolute(self) -> "Recipe":
        """The recipe with its local paths made absolute, so that a frozen copy works from anywhere.

        Raises RecipeError for what can be no path.
        """
        recipe = self
        for section, key in PATHS:
            table = getattr(recipe, section)
            if there := _existing(f"{section}.{key}", getattr(table, key)):
                recipe = recipe.model_copy(update={section: table.model_copy(update={key: there})})
        kind, colon, file = recipe.make.judge.partition(":")
        if colon and kind in FILE_JUDGES and (there := _existing("make.judge", file)):
            return recipe.model_copy(update={"make": recipe.make.model_copy(update={"judge": f"{kind}:{there}"})})
        return recipe


PATHS = (("model", "name"), ("data", "source"), ("data", "eval_source"), ("data", "template"),
         ("lora", "init_adapter"), ("eval", "tasks"), ("eval", "forgetting"), ("make", "prompts"),
         ("make", "judge_prompt"))

FILE_JUDGES = ("python", "json")  # judges that are a file


def _existing(key: str, value: str) -> str:
    """The whole path of what is there, else an empty string. Raises RecipeError for what can be no path."""
    try:
        path = Path(value).expanduser()
        return str(path.resolve()) if value and path.exists() else ""
    except (RuntimeError, ValueError) as error:  # no such user, a loop of links
        raise RecipeError(f"{key} = {shown(value)}: no path ({one_line(error)}); write it from / or ./") from None


def read_toml(path: Path) -> dict[str, Any]:
    """A recipe file's tables; paths written in it that exist beside it become absolute."""
    try:
        content = path.read_bytes() if path.is_relative_to("/dev") else read_plain(path)  # a shell's <(...)
        tables = tomllib.loads(content.decode("utf-8"))
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such recipe file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path}: not TOML: {error}") from None
    for section, key in PATHS:
        table = tables.get(section)
        value = table.get(key) if isinstance(table, dict) else None
        if isinstance(value, str) and value and (path.parent / value).exists():
            tables[section][key] = str((path.parent / value).resolve())
    return tables


def build(tables: Mapping[str, Any], source: str, overrides: Mapping[str, tuple[str, Any]] | None = None) -> Recipe:
    """Validate `tables` read from `source`, with `overrides` of {"section.key": (flag, value)} laid over them."""
    merged = {section: dict(table) if isinstance(table, dict) else table for section, table in tables.items()}
    origin: dict[str, str] = {}
    for key, (flag, value) in (overrides or {}).items():
        section, _, name = key.partition(".")
        if not isinstance(merged.setdefault(section, {}), dict):
            raise RecipeError(f"{source}: {section} must be a table")
        merged[section][name] = value
        origin[key] = flag
    try:
        return Recipe.model_validate(merged)
    except ValidationError as error:
        raise RecipeError(explained(error, source, origin, list(Recipe.model_fields), list(keys()))) from None


def keys() -> dict[str, Any]:
    """Every recipe key, "section.key" to its pydantic field."""
    return {
        f"{section}.{key}": field
        for section, outer in Recipe.model_fields.items()
        for key, field in outer.annotation.model_fields.items()  # type: ignore[union-attr]
    }
