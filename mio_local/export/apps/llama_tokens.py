"""Greedy tokens by llama.cpp, in a process of its own: what it cannot do ends that process, and no export.

A JSON object on standard input: `file`, `lora` (a file or ""), `texts`, `tokens` (of an answer, at most), `ends` (ids),
`bos` (the text that begins a row already, or ""), `room` (tokens of context), `threads`. JSON lines come back: the
version, then for each text its ids and those of the answer, without the end.
"""

import json
import sys
from typing import Any


def main() -> int:
    """Answer the request on standard input; 0 once every text has its line."""
    import llama_cpp  # pyright: ignore[reportMissingImports] - a package of the user's

    asked: dict[str, Any] = json.load(sys.stdin)
    model: Any = llama_cpp.Llama(
        asked["file"], lora_path=asked["lora"] or None, n_ctx=asked["room"], n_gpu_layers=0, verbose=False,
        n_threads=asked["threads"], n_threads_batch=asked["threads"],
    )  # fmt: skip
    ends = set(asked["ends"])
    print(json.dumps(str(llama_cpp.__version__)), flush=True)
    for text in asked["texts"]:
        begun = bool(asked["bos"]) and text.startswith(asked["bos"])
        ids: list[int] = model.tokenize(text.encode(), add_bos=not begun, special=True)
        found: list[int] = []
        model.reset()
        for token in model.generate(ids, temp=0.0, repeat_penalty=1.0):
            if token in ends:
                break
            found.append(int(token))
            if len(found) == asked["tokens"]:
                break
        print(json.dumps([ids, found]), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
