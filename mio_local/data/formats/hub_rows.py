"""Rows of a hub dataset, by the datasets library."""

import re
from collections.abc import Iterator

from mio_local.data.formats.hub_reach import reachable
from mio_local.data.formats.row import Row
from mio_local.errors import HubError, nearest, one_line


def read_hub(source: str, split: str, revision: str) -> Iterator[Row]:
    """The rows of one split; `source` is `org/name` or `org/name:config`. Raises HubError."""
    import datasets
    from datasets.exceptions import DatasetNotFoundError

    name, _, config = source.partition(":")
    asked = f"{source} at revision {revision}" if revision else source
    _go_offline_unless_reachable()
    try:
        dataset = datasets.load_dataset(name, config or None, split=split, revision=revision or None)
    except DatasetNotFoundError as error:
        if "gated" in str(error).lower():
            raise HubError(f"{source}: gated on the hub; accept its terms there and log in (hf auth login)") from None
        raise HubError(f"{asked}: no such file, and no such dataset on the hub") from None
    except (ConnectionError, TimeoutError) as error:
        raise HubError(
            f"{source}: no such file, and the hub is unreachable ({one_line(error, 120)}); pass a local file, "
            "or download it once while online"
        ) from None
    except (ValueError, OSError, RuntimeError) as error:
        raise HubError(_hub_reason(asked, split, error)) from None
    for number, values in enumerate(dataset, 1):
        yield Row(dict(values), f"{source} row {number}")  # type: ignore[arg-type]


def _go_offline_unless_reachable() -> None:
    """Where the hub does not answer, look in the cache alone."""
    from datasets import config
    from huggingface_hub import constants, utils

    utils.logging.set_verbosity_error()
    if not reachable():
        constants.HF_HUB_OFFLINE = config.HF_HUB_OFFLINE = True


def _hub_reason(asked: str, split: str, error: Exception) -> str:
    text = " ".join(str(error).split())
    if "nknown split" in text or "Bad split" in text:
        there = [name for name in re.findall(r"['\"]([\w.-]+)['\"]", text) if name != split]
        return f"{asked}: no split {split}{nearest(split, there)}; there are {', '.join(there)}; --set data.split=NAME"
    if "Config name is missing" in text or "BuilderConfig" in text:
        return f"{asked}: name a configuration, as in {asked.partition(':')[0]}:NAME ({text[:200]})"
    return f"{asked}: the hub dataset cannot be read: {text[:200]}"
