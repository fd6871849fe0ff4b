"""The recipe's tables that say how is learnt: the adapter, the objective, the optimiser, the pairs that are made.

Names of objectives are checked against their registry, so that adding one edits that file alone.
"""

import re
from typing import Any, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from mio_local.errors import nearest
from mio_local.objectives.losses import LOSSES
from mio_local.objectives.optimizers import OPTIMIZERS, Name, arguments_of


class Section(BaseModel):
    """A table of the recipe: frozen, and closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)


def setting(default: Any, help: str, flag: str | None = None, beside: str = "", **rule: Any) -> Any:
    """One recipe key: its default, its help and, where it has one, its flag and its range. `beside`: the key of its
    table on whose value it depends what it takes."""
    more: dict[str, Any] = ({"flag": flag} if flag else {}) | ({"beside": beside} if beside else {})
    return Field(default, description=help, json_schema_extra=more or None, **rule)


def is_pattern(target: str) -> bool:
    """Whether a target is a regular expression: it has what no layer's name has."""
    return re.search(r"[^\w.-]", target) is not None


def _compiled(pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern} is no regular expression ({error})") from None


class LoraSettings(Section):
    rank: int = setting(16, "rank of the adapter", "--rank", ge=1)
    alpha: float = setting(32.0, "numerator of the adapter's scale: alpha / rank", "--alpha", gt=0)
    dropout: float = setting(0.0, "dropout before the adapter", ge=0, lt=1)
    layers: int = setting(0, "adapt the last N blocks; 0 adapts all", "--layers", ge=0)
    targets: list[str] = setting(
        ["all-linear"], "linear layers by name (q_proj, mlp.down_proj, ...), by a regular expression for whole names "
        "(.*self_attn.*), or all-linear", "--targets", min_length=1
    )  # fmt: skip
    rank_pattern: dict[str, int] = setting({}, "other ranks, by PEFT's patterns for names: q_proj=8,.*mlp.*=4")
    alpha_pattern: dict[str, float] = setting({}, "other alphas, by PEFT's patterns for names: q_proj=8,.*mlp.*=4")
    rslora: bool = setting(False, "rank-stabilised: scale alpha / sqrt(rank) (arXiv 2312.03732)", "--rslora")
    dora: bool = setting(False, "weight-decomposed LoRA (arXiv 2402.09353)", "--dora")
    init_adapter: str = setting(
        "", "run, or adapter's folder, to continue from, its rank, alpha and layers kept; the reference too",
        "--init-adapter",
    )

    @field_validator("targets", mode="before")
    @classmethod
    def _one(cls, value: Any) -> Any:
        """As PEFT's target_modules may be: a text by itself."""
        return [value] if isinstance(value, str) else value

    @field_validator("targets")
    @classmethod
    def _sound(cls, value: list[str]) -> list[str]:
        for target in filter(is_pattern, value):
            _compiled(target)
        return value

    @field_validator("rank_pattern", "alpha_pattern")
    @classmethod
    def _above_zero(cls, value: dict[str, float]) -> dict[str, float]:
        for pattern, each in value.items():
            _compiled(pattern)
            if each <= 0:
                raise ValueError(f"{pattern} has {each:g}; it must be above 0")
        return value

    @property
    def words(self) -> str:
        """The adapter in a line."""
        others = {"rank": self.rank_pattern, "alpha": self.alpha_pattern}
        more = [f", {key} {value:g} for {name}" for key, table in others.items() for name, value in table.items()]
        return f"{self.kind} of rank {self.rank}, alpha {self.alpha:g}{''.join(more)}"

    @property
    def kind(self) -> str:
        """What such an adapter is called."""
        return f"{'rs' * self.rslora}{'DoRA' if self.dora else 'LoRA'}"


def _other_data() -> str:
    """Which objectives want other data than pairs: the tail of a help."""
    words = {"rewards": "pairs with rewards", "samples": "rewarded samples", "labels": "good and bad answers"}
    kinds = {wanted: [name for name, loss in LOSSES.items() if loss.needs == kind] for kind, wanted in words.items()}
    return "".join(f"; {', '.join(names)}: of {wanted}" for wanted, names in kinds.items())


class LossSettings(Section):
    name: str = setting("mio", f"objective: {', '.join(LOSSES)}{_other_data()}", "--loss")
    beta: float = setting(0.1, "strength of the tie to the reference; MIO's target is ln 2 / beta nats", "--beta", gt=0)
    reduction: Literal["auto", "sum", "mean"] = setting(
        "auto", "log-prob of an answer: summed, or per token; auto is each objective's published form", "--reduction"
    )
    label_smoothing: float = setting(
        0.0, "share of the pairs taken to be the wrong way round: dpo becomes conservative DPO, robust corrects for it",
        "--label-smoothing", beside="name", ge=0, lt=0.5,
    )  # fmt: skip
    negatives: int = setting(1, "rejected answers of a group", "--negatives", ge=1)
    reference: Literal["start", "previous"] = setting(
        "start", "what a round is tied to: the model before the first one, or before this one"
    )

    @property
    def smoothing(self) -> str:
        """`label_smoothing` in words, where there is any: the tail of a line."""
        return f", label smoothing {self.label_smoothing:g}" if self.label_smoothing else ""

    @field_validator("name")
    @classmethod
    def _registered(cls, name: str) -> str:
        if name not in LOSSES:
            raise ValueError(f"no such objective{nearest(name, LOSSES)}; there are {', '.join(LOSSES)}")
        return name

    @field_validator("label_smoothing")
    @classmethod
    def _taken(cls, value: float, info: ValidationInfo) -> float:
        known = LOSSES.get(info.data.get("name", ""))
        if value and known and not known.smoothed:
            others = " or ".join(f"--loss {name}" for name, loss in LOSSES.items() if loss.smoothed)
            raise ValueError(f"{info.data['name']} has no form for wrong labels; use {others}")
        return value

    @model_validator(mode="after")
    def _published_form(self) -> Self:
        if self.reduction == "auto":
            object.__setattr__(self, "reduction", LOSSES[self.name].reduction)
        return self


class PassSize(NamedTuple):
    """The most that one forward pass takes: pairs, and tokens with their padding, 0 for any number."""

    pairs: int
    tokens: int = 0

    def over(self, ranks: int) -> "PassSize":
        """The most that so many ranks take together, each as much."""
        return PassSize(self.pairs * ranks, self.tokens * ranks)


class TrainSettings(Section):
    epochs: float = setting(1.0, "passes over the data; ignored when steps is given", "--epochs", gt=0)
    steps: int = setting(0, "optimiser steps; 0 counts them from epochs", "--steps", ge=0)
    rounds: int = setting(
        0, "rounds of making pairs by the policy of now, as [make] says, and training on them; 0 trains on --data",
        "--rounds", ge=0,
    )  # fmt: skip
    sft_epochs: float = setting(0.0, "supervised epochs first; their result is the reference", "--sft-epochs", ge=0)
    sft_learning_rate: float = setting(1e-4, "peak learning rate of that run", "--sft-learning-rate", gt=0)
    batch_size: int = setting(4, "pairs in one forward pass", "--batch-size", ge=1)
    accumulate: int = setting(1, "forward passes in one optimiser step", "--accumulate", ge=1)
    batch_tokens: int | Literal["auto"] = setting(
        0, "cut the step's pairs, batch_size x accumulate, into passes of at most so many tokens, padding included; 0 "
        "cuts by batch_size, auto takes what fits", "--batch-tokens",
    )  # fmt: skip
    learning_rate: float = setting(1e-5, "peak learning rate (TRL's advice for LoRA is 1e-5)", "--learning-rate", gt=0)
    schedule: Literal["constant", "linear", "cosine"] = setting("cosine", "decay after the warm-up", "--schedule")
    warmup: float = setting(0.1, "warm-up: a share of the steps below 1, else a number of steps", "--warmup", ge=0)
    optimizer: Name = setting(
        "adamw", "adamw; adamw_8bit (bitsandbytes: moments of a byte each); lion (wants a third of the rate or less); "
        "muon (wants a higher one)", "--optimizer"
    )  # fmt: skip
    optimizer_args: dict[str, float] = setting(
        {}, "the optimiser's own: lion's beta1=0.9,beta2=0.99, muon's momentum=0.95", beside="optimizer"
    )
    loraplus_lr_ratio: float = setting(
        1.0, "LoRA+ (arXiv 2402.12354): B's learning rate over A's, as 16; 1 is plain", "--loraplus-lr-ratio", ge=1
    )
    weight_decay: float = setting(0.0, "share of the weights, times the rate, that a step takes away", "--weight-decay",
                                  ge=0)
    adam_beta1: float = setting(0.9, "AdamW first moment", beside="optimizer", ge=0, lt=1)
    adam_beta2: float = setting(0.999, "AdamW second moment", beside="optimizer", ge=0, lt=1)
    adam_eps: float = setting(1e-8, "AdamW epsilon", beside="optimizer", gt=0)
    clip: float = setting(1.0, "largest gradient norm; 0 does not clip", "--clip", ge=0)
    grad_checkpoint: bool = setting(
        False, "recompute activations in the backward pass: less memory, about a third more time", "--grad-checkpoint"
    )
    seed: int = setting(0, "seed of the adapter, the order and the dropout", "--seed", ge=0, lt=2**31)
    save_every: int = setting(100, "steps between checkpoints; 0 saves only at the end", "--save-every", ge=0)
    keep: int = setting(2, "checkpoints kept beside the best one", ge=1)
    track: Literal["none", "trackio", "wandb", "mlflow", "tensorboard"] = setting(
        "none", "mirror the figures to this tracker, by its own library and login; nothing of the data", "--track"
    )

    @property
    def step_pairs(self) -> int:
        """Pairs of an optimiser step, however they are cut into passes."""
        return self.batch_size * self.accumulate

    @property
    def pass_size(self) -> PassSize:
        """The most that a forward pass takes. Until `auto` is found it is the least: one pair."""
        if not self.batch_tokens:
            return PassSize(self.batch_size)
        return PassSize(self.step_pairs, 1 if self.batch_tokens == "auto" else self.batch_tokens)

    @property
    def cutting(self) -> str:
        """The passes in words, where they are cut by tokens: the tail of a line."""
        many = f"up to {self.batch_tokens:,} tokens" if self.batch_tokens != "auto" else "as many tokens as fit"
        return f" in passes of {many}" if self.batch_tokens else ""

    @property
    def stepping(self) -> str:
        """The optimiser in words, where it is not plain AdamW: the tail of a line."""
        ratio = f", LoRA+ ratio {self.loraplus_lr_ratio:g}" if self.loraplus_lr_ratio != 1 else ""
        return (f", {self.optimizer}" if self.optimizer != "adamw" else "") + ratio

    @field_validator("batch_tokens", mode="before")
    @classmethod
    def _tokens(cls, value: Any) -> Any:
        text = str(value).strip().lower()
        if text != "auto" and not (text.isascii() and text.isdigit() and len(text) < 16):
            raise ValueError("must be auto, or a number of tokens")
        return text if text == "auto" else int(text)

    @field_validator("optimizer_args")
    @classmethod
    def _its_own(cls, value: dict[str, float], info: ValidationInfo) -> dict[str, float]:
        if "optimizer" in info.data:
            arguments_of(info.data["optimizer"], value)
        return value

    @field_validator("adam_beta1", "adam_beta2", "adam_eps")
    @classmethod
    def _adams(cls, value: float, info: ValidationInfo) -> float:
        """A frozen recipe has the defaults written out, for any optimiser."""
        name, key = info.data.get("optimizer"), str(info.field_name)
        if name and not OPTIMIZERS[name].adam and value != cls.model_fields[key].default:
            own = " and ".join(OPTIMIZERS[name].arguments)
            raise ValueError(f"{name} does not read it; its own are {own}, by --set train.optimizer_args={own[:5]}=...")
        return value


class MakeSettings(Section):
    prompts: str = setting("", "prompts to draw answers to: a file, a folder, or a hub dataset", "--prompts")
    answers: int = setting(8, "answers drawn to each prompt", "--answers", ge=1)
    temperature: list[float] = setting(
        [1.0], "temperature of the answers; several are taken in turn: 0.7,1.0,1.3", "--temperature", min_length=1
    )
    top_p: float = setting(1.0, "draw from the likeliest tokens of this probability", "--top-p", gt=0, le=1)
    answer_tokens: int = setting(256, "longest answer", "--answer-tokens", ge=1)
    rows: int = setting(32, "answers drawn at once: more are faster, and take more memory; they change what is drawn",
                        ge=1)
    judge: str = setting(
        "last-number", "who rewards an answer: last-number, boxed, letter, exact, regex:P, json:FILE, gold, mismatch, "
        "hand, tests, python:FILE, reward-model:NAME, server:URL", "--judge",
    )  # fmt: skip
    limit: int = setting(0, "ask at most this many prompts; 0 asks all", "--limit", ge=0)
    pairs: Literal["one", "all"] = setting("one", "pairs of a prompt: one, or every better answer with every worse one")
    negatives: Literal["worst", "hardest"] = setting(
        "worst", "the rejected answer: the one of the lowest reward, or of the worse ones the likeliest to the model"
    )
    margin: float = setting(0.0, "least difference of two rewards; 0 takes any above it", "--margin", ge=0)
    length_ratio: float = setting(0.0, "most that one answer may be longer than the other, as 2; 0 for any", ge=0)
    per_round: int = setting(
        0, "prompts of a round of training; 0 takes all, for rloo as many as a step has", ge=0
    )
    kl_stop: float = setting(
        1.0, "stop a run of rounds that is this far from its reference, nats a token of its answers; 0 never", ge=0
    )
    judge_prompt: str = setting("", "file of the words that a server judges by; empty takes the shipped ones")
    judge_model: str = setting("", "model that a server judges with; empty takes its first")
    judge_seconds: float = setting(
        0.0, "longest that an answer's code, or a server's verdict, may take; 0 means 10 s, or a server's 120", ge=0
    )
    judge_memory: str = setting("1GB", "memory of the process that a named file runs in")

    @field_validator("temperature")
    @classmethod
    def _warm(cls, value: list[float]) -> list[float]:
        for each in value:
            if not 0 <= each <= 5:
                raise ValueError(f"{each:g} is no temperature from 0 to 5")
        return value
