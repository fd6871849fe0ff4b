"""Safetensors files opened for numpy."""

from pathlib import Path
from typing import Any


def open_tensors(file: Path) -> Any:
    """The file's handle, a context manager: its tensors are numpy arrays of the type they are stored in."""
    import ml_dtypes
    from safetensors import safe_open

    assert ml_dtypes.bfloat16  # to import it teaches numpy the name by which the reader asks for that type
    return safe_open(str(file), "numpy")
