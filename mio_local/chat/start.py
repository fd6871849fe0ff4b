"""What a chat begins with: who answers, from which weights, and how answers are drawn."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field

from mio_local.errors import RecipeError
from mio_local.flags import section_from
from mio_local.sampling import Sampling

BASE = "base"  # what the model without an adapter is called
WHO = ("adapter", BASE, "both")
BESIDE = 2  # adapters beside the base: more sides do not fit into a terminal


@dataclass(frozen=True)
class ChatStart:
    """`names`: runs and adapters' folders of one base, or a model. An empty text leaves it to the run."""

    names: Sequence[str]
    sampling: Sampling = field(default_factory=Sampling)
    who: str = "both"
    system: str = ""
    checkpoint: str = "final"
    model: str = ""
    template: str = ""
    device: str = ""

    def check_sides(self) -> None:
        """Raise RecipeError for more adapters than are shown side by side."""
        if len(self.names) > BESIDE:
            raise RecipeError(f"{' '.join(self.names)}: a chat shows {BESIDE} of them beside their base; name {BESIDE}")


def start_from(arguments: argparse.Namespace) -> ChatStart:
    """The start that a command line asks for. Raises RecipeError for a value that cannot be."""
    if arguments.who not in WHO:
        raise RecipeError(f"--with {arguments.who}: it is {', '.join(WHO)}")
    return ChatStart(
        arguments.run, section_from(arguments, Sampling), arguments.who, clean(arguments.system, "--system"),
        arguments.checkpoint, arguments.model, arguments.template, arguments.device,
    )  # fmt: skip


def clean(text: str, where: str) -> str:
    """`text`, which no tokenizer could read where it came in as other bytes than UTF-8. Raises RecipeError."""
    if not text.isascii() and any("\ud800" <= sign <= "\udfff" for sign in text):
        raise RecipeError(f"{where}: is not UTF-8 text; convert it first")
    return text
