"""The frozen base, a share of it on each rank: its blocks by PyTorch's FSDP2, its vocabulary by rows. The adapter is
whole on every rank, as without it."""

import ctypes
import inspect
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from mio_cuda.files import is_quantised
from mio_cuda.ranks.collective import TorchCollective
from mio_cuda.ranks.sharded_vocabulary import ShardedVocabulary
from mio_local.errors import BackendError, ModelError
from mio_local.models.weights import BLOCK

M_MMAP_THRESHOLD, MAPPED = -3, 1 << 20  # of glibc's mallopt; bytes from which a block is mapped by itself


class ShardedBase:
    """`model` spread over the ranks of the collective, and on its device, but for the parameters in `adapter`, which
    are moved there. Norms and whatever else is outside of blocks and vocabulary stay whole. Raises ModelError."""

    def __init__(self, model: Any, collective: TorchCollective, adapter: Sequence[torch.nn.Parameter]) -> None:
        self.collective = collective
        self.blocks = blocks(model)
        check_blocks(model, self.blocks)
        if collective.device.type == "cpu":
            _map_large_blocks()
        # of a model that hands a view on: nothing changes it in place, and a block that missed its turn would fail
        warnings.filterwarnings("ignore", message="FSDP2-wrapped module", category=UserWarning)
        mesh = init_device_mesh(collective.device.type, (collective.size,))
        own = set(adapter)
        for parameter in adapter:
            parameter.data = parameter.data.to(collective.device)
        for block in self.blocks:
            fully_shard(block, mesh=mesh, reshard_after_forward=True, ignored_params=own)
        self.vocabulary = ShardedVocabulary(model, collective)
        spread = {id(parameter) for block in self.blocks for parameter in block.parameters()}
        rest = {parameter for parameter in model.parameters() if id(parameter) not in spread} | own
        # without parameters of its own: the blocks under one root are gathered ahead of their turn
        fully_shard(model.base_model, mesh=mesh, reshard_after_forward=True, ignored_params=rest)
        kept = (model.get_input_embeddings().weight, model.get_output_embeddings().weight, *adapter)
        for tensor in _plain(model, {id(one) for one in kept} | spread):
            tensor.data = tensor.data.to(collective.device, copy=True)  # a copy: the files are not mapped any longer


def blocks(model: torch.nn.Module) -> list[torch.nn.Module]:
    """The numbered blocks of a model, the outermost ones."""
    found: dict[str, torch.nn.Module] = {}
    for name, _ in model.named_parameters():
        if match := BLOCK.match(name):
            block = f"{match['stem']}.{match['index']}"
            found.setdefault(block, model.get_submodule(block))
    return list(found.values())


def check_blocks(model: torch.nn.Module, found: Sequence[torch.nn.Module]) -> None:
    """Raise ModelError, BackendError for a model whose blocks FSDP2 cannot spread."""
    if "ignored_params" not in inspect.signature(fully_shard).parameters:
        raise BackendError(f"--shard: PyTorch {torch.__version__} cannot leave the adapter out; it needs 2.7 or newer")
    if any(map(is_quantised, model.modules())):
        raise ModelError("--shard: this base is quantised, which cannot be spread over devices; leave --shard out, or "
                         "take a base that is not quantised")  # fmt: skip
    if not found:
        raise ModelError("--shard: this model has no numbered blocks to spread; leave --shard out")
    every = [id(parameter) for block in found for parameter in block.parameters()]
    if len(every) != len(set(every)):
        raise ModelError("--shard: blocks of this model share weights, which FSDP2 cannot spread; leave --shard out")


def _plain(model: torch.nn.Module, without: set[int]) -> Iterator[torch.Tensor]:
    """Parameters and buffers but for those."""
    for tensor in (*model.parameters(), *model.buffers()):
        if id(tensor) not in without:
            yield tensor


def _map_large_blocks() -> None:
    """On Linux, let glibc give a block back once it is free: it raises the size from which it does so to the largest
    that was freed, and a base's gathered blocks would lie in pieces in its heap, several times over."""
    if sys.platform == "linux":
        try:
            ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, MAPPED)
        except (OSError, AttributeError):  # another C library
            warnings.warn("gathered blocks may stay in memory: no mallopt here", stacklevel=2)
