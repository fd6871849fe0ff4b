"""Which rank this process is, where a launcher started several: torchrun, mlx.launch or mpirun say it by variables."""

import json
import os
from pathlib import Path

from mio_local.errors import BackendError
from mio_local.launched.rank_place import Place

TORCHRUN, MLX, MPI = "WORLD_SIZE", "MLX_RANK", "OMPI_COMM_WORLD_SIZE"
PMI = "PMI_SIZE"  # of an MPI that says no more
LIBRARY = {TORCHRUN: "cuda", MLX: "mlx", MPI: "mlx"}  # the backend whose launcher sets it


def launcher() -> str:
    """The variable by which a launcher tells of several ranks; "" where this process is the only one."""
    return next((name for name in LIBRARY if _size(name) > 1), "")


def place_of(name: str) -> Place:
    """This process among the ranks that the launcher of `name` started. Raises BackendError."""
    try:
        if name == MLX:
            rank, hosts = int(os.environ["MLX_RANK"]), _hosts()
            if not hosts:  # by another of MLX's ways than its ring
                return Place(rank, _size(name), 0, 1, os.environ.get("MLX_JACCL_COORDINATOR", "").partition(":")[0])
            local = [number for number, host in enumerate(hosts) if host == hosts[rank]]
            return Place(rank, len(hosts), local.index(rank), len(local), hosts[0])
        if name == MPI:
            more = [int(os.environ[f"OMPI_COMM_WORLD_{key}"]) for key in ("RANK", "SIZE", "LOCAL_RANK", "LOCAL_SIZE")]
            return Place(*more, address="")
        more = [int(os.environ[key]) for key in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")]
        return Place(*more, address=os.environ["MASTER_ADDR"])
    except (KeyError, ValueError, IndexError) as error:
        raise BackendError(f"{name} is set, and {error} does not say which rank this is; start the ranks by torchrun "
                           "or mlx.launch, or one process with --devices") from None  # fmt: skip


def check_alone(devices: int = 1) -> None:
    """Raise BackendError where a launcher started several of this process, and not to train on as many devices."""
    for name in (*LIBRARY, PMI):
        if _size(name) not in (1, devices):
            raise BackendError(f"{name}={os.environ[name]}: a launcher started several processes, which train alone "
                               "can share a run")  # fmt: skip


def _size(name: str) -> int:
    """How many ranks the launcher of `name` started; 1 where it does not tell."""
    if name not in os.environ:
        return 1
    if name == MLX and (hosts := _hosts()):
        return len(hosts)
    value = os.environ.get("MLX_WORLD_SIZE" if name == MLX else name, "")
    return int(value) if value.isdecimal() else 1


def _hosts() -> list[str]:
    """Each rank's address, by the file that mlx.launch writes for its ring; none where there is no such file."""
    try:
        ranks = json.loads(Path(os.environ["MLX_HOSTFILE"]).read_text(encoding="utf-8"))
        return [str(rank[0]).rpartition(":")[0] for rank in ranks]
    except (KeyError, OSError, ValueError, IndexError, TypeError):
        return []
