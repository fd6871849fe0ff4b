"""Libraries that compile functions while they are imported, without the time that PyTorch's compiler takes."""

import functools
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def compiling_later() -> Generator[None]:
    """Let torch.compile wait for the first call of what it is given meanwhile. bitsandbytes, which PEFT imports, hands
    it functions of its CPU path, and importing PyTorch's compiler takes longer than all the rest of PEFT."""
    compile_now = torch.compile

    def later(function: Callable[..., Any] | None = None, **options: Any) -> Any:
        if function is None:
            return compile_now(**options)
        compiled = functools.cache(lambda: compile_now(function, **options))

        @functools.wraps(function)
        def call(*given: Any, **named: Any) -> Any:
            return compiled()(*given, **named)

        return call

    torch.compile = later
    try:
        yield
    finally:
        torch.compile = compile_now
