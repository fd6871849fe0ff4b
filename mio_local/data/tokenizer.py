"""Loading a tokenizer, with every way in which that fails said in one line."""

import contextlib
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

from mio_local.data.formats.hub_reach import reachable
from mio_local.errors import HubError, ModelError, one_line
from mio_local.process import check_trust, installing, uncollected, with_all
from mio_local.recipe import ModelSettings
from mio_local.storage.json_files import read_json
from mio_local.storage.paths import expanded

FILES = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json", "vocab.txt", "tekken.json")
EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "word_embeddings.weight", "tok_embeddings.weight", "embed_in.weight")
UNREACHABLE = {"LocalEntryNotFoundError", "OfflineModeIsEnabled", "ConnectError", "ConnectTimeout", "ReadTimeout"}


@uncollected()
def load_tokenizer(model: ModelSettings) -> Any:
    """The transformers tokenizer of a model folder or hub name; its remote code runs only when the settings allow it.

    Raises `ModelError` for a folder without a usable tokenizer, `HubError` for what the hub cannot give.
    """
    name = model.name
    if not name:
        raise ModelError("no model given: pass --model with a model folder or a hub name")
    folder = expanded(name, "--model")
    local = folder.is_dir()
    if not local and (folder.exists() or name[0] in "./~\\" or name.count("/") > 1):
        raise ModelError(f"{name}: {'not a model folder' if folder.exists() else 'no such model folder'}")
    if local and not any((folder / file).exists() for file in FILES):
        raise ModelError(f"{name}: no tokenizer in this folder (tokenizer.json or tokenizer.model)")
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # its threads die badly when a data loader forks
    try:
        from transformers import AutoTokenizer, logging
    except ImportError as error:
        raise ModelError(f"transformers cannot be imported ({one_line(error)}); {installing()}") from None
    logging.set_verbosity_error()
    check_trust(model.name, model.trust_remote_code)
    if model.trust_remote_code:
        with_all()
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            str(folder) if local else name,
            revision=model.revision or None,
            trust_remote_code=model.trust_remote_code,
            local_files_only=not local and not reachable(),
        )
        tokenizer("a")  # some of what is strange in its settings is met only here
        return tokenizer
    except Exception as error:  # transformers raises whatever its readers meet: OSError, ValueError, KeyError, pyo3
        raise _explained(name, model, local, error) from None


@contextlib.contextmanager
def parallel() -> Generator[None]:
    """Let the tokenizers library use all cores meanwhile."""
    before = os.environ.get("TOKENIZERS_PARALLELISM")
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    try:
        yield
    finally:
        os.environ["TOKENIZERS_PARALLELISM"] = before or "false"


def embedding_rows(folder: Path) -> int:
    """Rows of the embedding table of the model in `folder`, by the headers of its weights, else by its config; 0 where
    neither says."""
    from safetensors import SafetensorError, safe_open

    for file in sorted(folder.glob("*.safetensors")):
        with contextlib.suppress(SafetensorError, OSError), safe_open(str(file), "numpy") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - a handle, not a dict
                if name.endswith(EMBEDDINGS):
                    return int(tensors.get_slice(name).get_shape()[0])
    with contextlib.suppress(OSError, ValueError):
        config = read_json(folder / "config.json")
        tables = [config, config.get("text_config")] if isinstance(config, dict) else []
        sizes = [table["vocab_size"] for table in tables if isinstance(table, dict) and "vocab_size" in table]
        return next((size for size in sizes if isinstance(size, int)), 0)
    return 0


def _explained(name: str, model: ModelSettings, local: bool, error: Exception) -> ModelError | HubError:
    text = " ".join(str(error).split())
    if "trust_remote_code" in text:
        return ModelError(f"{name}: its tokenizer is Python code of its own; read it, then pass --trust-remote-code")
    if local:
        return ModelError(f"{name}: the tokenizer cannot be loaded: {one_line(error)}")
    kinds = {type(cause).__name__ for cause in _causes(error)}
    asked = f"{name} at revision {model.revision}" if model.revision else name
    if "GatedRepoError" in kinds or "gated" in text.lower():
        return HubError(f"{name}: gated on the hub; accept its terms there and log in (hf auth login)")
    if kinds & {"RepositoryNotFoundError", "RevisionNotFoundError"} or "not a valid model identifier" in text:
        return HubError(f"{asked}: no such folder, and no such model on the hub")
    if kinds & UNREACHABLE or "connect" in text:
        return HubError(f"{name}: no such folder, and the hub is unreachable; pass a model folder, or go online once")
    return ModelError(f"{asked}: the tokenizer cannot be loaded: {one_line(error)}")


def _causes(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found
