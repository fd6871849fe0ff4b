"""A model's name to a folder of safetensors on this disk."""

import json
import re
from pathlib import Path
from typing import Any

from mio_local.data.formats.hub_reach import reachable
from mio_local.errors import HubError, ModelError, one_line
from mio_local.models.tensors import open_tensors
from mio_local.models.weights import INDEX, weight_files
from mio_local.process import check_trust
from mio_local.recipe import ModelSettings
from mio_local.storage.json_files import read_json
from mio_local.storage.paths import expanded

WANTED = ["*.json", "*.safetensors", "*.jinja", "*.txt", "*.model", "*.tiktoken", "LICENSE*"]
GIT_LFS = b"version https://git-lfs"
WHOLE = ("I8", "I16", "I32", "I64", "U8", "U16", "U32", "U64", "BOOL")
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


def model_folder(settings: ModelSettings) -> Path:
    """The folder that holds the model: a local one, or the hub's, downloaded into its cache.

    Raises ModelError for a folder without a config or without safetensors weights, HubError for a failed download.
    """
    if not settings.name:
        raise ModelError("no model given; add --model FOLDER or --model HUB/NAME")
    check_trust(settings.name, settings.trust_remote_code)
    local = expanded(settings.name, "--model")
    if local.is_dir():
        folder = local.resolve()
    elif local.exists():
        raise ModelError(f"--model {settings.name}: is a file; give the folder that holds config.json")
    elif settings.name.startswith(("/", ".", "~")) or settings.name.count("/") > 1:
        raise ModelError(f"--model {settings.name}: no such folder")
    else:
        folder = _download(settings)
    return _checked(folder, settings)


def _download(settings: ModelSettings) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    patterns = [*WANTED, "*.py"] if settings.trust_remote_code else WANTED
    name = f"--model {settings.name}"
    try:
        return Path(
            snapshot_download(
                settings.name, revision=settings.revision or None, allow_patterns=patterns,
                local_files_only=not reachable(),
            )
        )
    except GatedRepoError as error:
        raise hub_error(error, name) from None
    except RepositoryNotFoundError:
        raise HubError(f"{name}: no such folder here, and no such model on the hub (or it is private)") from None
    except LocalEntryNotFoundError as error:
        if isinstance(error.__cause__, (HfHubHTTPError, OfflineModeIsEnabled)):
            raise hub_error(error, name, settings.revision) from None
        raise HubError(f"{name}: no such folder here, not in the cache, and the hub is unreachable") from None
    except Exception as error:
        raise hub_error(error, name, settings.revision) from None


def hub_error(error: Exception, name: str, revision: str = "", kind: str = "model") -> HubError:
    """What to tell the user about an exception of the hub's client. An error of this disk is raised again."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if isinstance(error, LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        return hub_error(error.__cause__, name, revision, kind)
    match error:
        case GatedRepoError():
            return HubError(f"{name}: gated; accept its terms on its page, then run: hf auth login")
        case RepositoryNotFoundError():
            return HubError(f"{name}: no such {kind} on the hub (or it is private)")
        case RevisionNotFoundError():
            return HubError(f"{name}: no revision {revision or 'main'} on the hub; see model.revision")
        case OfflineModeIsEnabled():
            return HubError(f"{name}: not asked for, because HF_HUB_OFFLINE is set; unset it to reach the hub")
        case HfHubHTTPError() if error.response.status_code == 429:
            return HubError(f"{name}: the hub limits requests; {_wait(error)}, or log in with: hf auth login")
        case HfHubHTTPError():
            status = error.response.status_code
            remedy = "; log in with: hf auth login" if status == 401 else "; try again later" if status >= 500 else ""
            return HubError(f"{name}: the hub answered: {one_line(error)}{remedy}")
        case HFValidationError():
            return HubError(f"{name}: no name that a {kind} on the hub can have: {one_line(error)}")
        case json.JSONDecodeError():
            return HubError(f"{name}: the answer is not the hub's (a proxy's page?); check the network and HF_ENDPOINT")
        case OSError() if error.errno:
            raise error
        case _:  # the client's transport errors differ between its releases
            return HubError(f"{name}: the hub is unreachable ({one_line(error)}); give a local folder")


def _wait(error: Any) -> str:
    """How long a 429 asks to wait: Retry-After in seconds, or the hub's own `RateLimit: "api";r=0;t=55`."""
    headers = error.response.headers
    seconds = re.search(r"^(\d+)$|;\s*t=(\d+)", headers.get("Retry-After") or headers.get("RateLimit", ""))
    return f"wait {seconds[1] or seconds[2]} s" if seconds else "wait a few minutes"


def _checked(folder: Path, settings: ModelSettings) -> Path:
    config = read_config(folder)
    if not any(folder.glob("*.safetensors")):
        pickles = sorted(file.name for pattern in PICKLES for file in folder.glob(pattern))
        if pickles:
            raise ModelError(
                f"{folder}: its weights are pickles ({pickles[0]}), which can run code; convert them to safetensors"
            )
        raise ModelError(f"{folder}: no weights (*.safetensors) in this model folder")
    _check_weights(folder, is_quantised=any("quantization" in key for key in config))
    if "model_file" in config and not settings.trust_remote_code:
        raise ModelError(
            f"{folder}: this model needs Python code from its repository ({config['model_file']}); "
            "if you trust it, add --trust-remote-code"
        )
    return folder


def _check_weights(folder: Path, *, is_quantised: bool) -> None:
    """Read every file's header: a cut download is named here, and not by whatever a backend makes of it."""
    from safetensors import SafetensorError

    if missing := [file for file in weight_files(folder) if not file.exists()]:
        raise ModelError(f"{folder}: {missing[0].name}, named in {INDEX}, is missing; download the model again")
    for file in sorted(folder.glob("*.safetensors")):
        try:
            with file.open("rb") as head:
                if head.read(len(GIT_LFS)) == GIT_LFS:
                    raise ModelError(f"{file}: a git-lfs pointer, not the weights; get them with: git lfs pull")
            with open_tensors(file) as tensors:
                for key in () if is_quantised else tensors.keys():
                    if key.endswith(".weight") and (kind := tensors.get_slice(key).get_dtype()) in WHOLE:
                        raise ModelError(
                            f"{file}: {key} holds whole numbers ({kind}), and config.json names no quantisation; cast "
                            "the weights to float, or get the model again"
                        )
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{file}: cut or damaged ({one_line(error)}); download the model again") from None


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a model folder. Raises ModelError."""
    file = folder / "config.json"
    try:
        config = read_json(file)
    except FileNotFoundError:
        raise ModelError(f"{folder}: no config.json, so this is no model folder") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{file}: not readable JSON: {one_line(error)}") from None
    if not isinstance(config, dict) or "model_type" not in config:
        raise ModelError(f"{file}: names no model_type")
    return config


def quantised(folder: Path) -> bool:
    """Whether a model's files hold quantised weights."""
    return not {"quantization", "quantization_config"}.isdisjoint(read_config(folder))


def end_ids(folder: Path) -> list[int]:
    """The tokens that end this model's text, by its generation_config.json or, without that, its config.json."""
    for file in (folder / "generation_config.json", folder / "config.json"):
        try:
            found = read_json(file).get("eos_token_id")
        except (OSError, ValueError, AttributeError):
            continue
        return [number for number in (found if isinstance(found, list) else [found]) if isinstance(number, int)]
    return []


def weights_sizes(folder: Path) -> dict[str, int]:
    """The model's weight files and their bytes."""
    return {file.name: file.stat().st_size for file in sorted(folder.glob("*.safetensors"))}


def pinned(settings: ModelSettings, place: Path) -> ModelSettings:
    """The settings with the commit that `place` is of, where it is the hub's: a frozen recipe names this very one."""
    return settings.model_copy(update={"revision": place.name}) if place.parent.name == "snapshots" else settings
