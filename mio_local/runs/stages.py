"""A recipe that begins with supervised training is two runs: the second continues from the first, its reference."""

from collections.abc import Sequence
from pathlib import Path

from mio_local.recipe import LossSettings, Recipe
from mio_local.runs import directory


def stages(recipes: Sequence[Recipe], folder: Path, names: Sequence[str]) -> list[tuple[Recipe, str]]:
    """The runs of `recipes`, in order, with their names. Where `train.sft_epochs` asks for it, a supervised one of the
    first recipe's settings stands before them, and all continue from its adapter.

    An empty name is chosen when its run is made. Raises RunError for a name that is taken.
    """
    train = recipes[0].train
    if not train.sft_epochs or recipes[0].loss.name == "sft":
        return list(zip(recipes, names, strict=True))
    stem = f"{Path(recipes[0].model.name).name}-{recipes[0].loss.name}"
    name = names[0] or directory.free_name(folder, stem)
    taught = directory.claim(folder, directory.free_name(folder, f"{name}-sft"))
    alone = {"sft_epochs": 0.0}
    supervised = {"epochs": train.sft_epochs, "steps": 0, "learning_rate": train.sft_learning_rate, **alone}
    first = recipes[0].model_copy(
        update={"loss": LossSettings(name="sft"), "train": train.model_copy(update=supervised)}
    )
    found = [(first, taught.name)]
    for recipe, chosen in zip(recipes, [name, *names[1:]], strict=True):
        if chosen:
            directory.claim(folder, chosen)
        lora = recipe.lora.model_copy(update={"init_adapter": str(taught.adapter.absolute())})
        then = recipe.train.model_copy(update=alone)
        found.append((recipe.model_copy(update={"lora": lora, "train": then}), chosen))
    return found
