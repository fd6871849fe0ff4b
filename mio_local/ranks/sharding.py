"""Whether the frozen base can be spread over the devices of a run, told before anything is loaded."""

from mio_local.errors import BackendError
from mio_local.recipe import Recipe


def check_shard(recipe: Recipe) -> None:
    """Raise BackendError where a recipe whose backend was found asks for what cannot be."""
    given = recipe.backend
    if not given.shard:
        return
    if given.name == "mlx":
        raise BackendError("--shard: mlx has no way to spread a base over devices; use --backend cuda (PyTorch), or "
                           "leave it out")  # fmt: skip
    if given.devices == 1:
        raise BackendError("--shard: one device has nobody to share the base with; add --devices N, or leave it out")
    if bits := recipe.model.quantize:
        raise BackendError(f"--shard: a base of {bits} bits cannot be spread over devices; leave out --shard or "
                           "--quantize")  # fmt: skip


def whole_on_one(recipe: Recipe) -> Recipe:
    """The recipe, which asks one device for the whole base: of a run that goes on with one."""
    if recipe.backend.devices > 1:
        return recipe
    return recipe.model_copy(update={"backend": recipe.backend.model_copy(update={"shard": False})})
