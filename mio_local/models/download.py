"""Download a model into the hub's cache: watched, cut at any byte, and resumed.

    python -m mio_local.models.download NAME [--revision R]

prints JSON lines: {"done": bytes, "total": bytes, "file": name}, at most 5 a second, and at the end {"folder": path},
or {"error": line} with exit code 2. It may be killed at any time.

The hub's client finds, links and checks the files. Its own downloads, though, start anew in every process (release 2.4
writes to a file with a random name and deletes it on failure), so the weights are fetched here first, into the
place in the cache where the client looks for them: blobs/SHA256, and blobs/SHA256.incomplete until they are whole.
"""

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mio_local.errors import HubError, MioError, is_full_disk, one_line
from mio_local.models.hub import ask_for_files, wanted_files
from mio_local.models.locate import WANTED, hub_error
from mio_local.storage.writing import write_atomically

Report = Callable[[int, int, str], None]  # bytes here, bytes in all, the file that arrives
TRIES = 6  # connections in a row that bring nothing
LONGEST_PAUSE = 8.0  # seconds between two tries
REPORTS = 5  # a second


@dataclass(frozen=True)
class Weights:
    """One file of weights: where it comes from and where it goes."""

    file: str
    url: str
    size: int
    blob: Path

    @property
    def part(self) -> Path:
        """What has arrived. The client's releases before 2 used this name, so what they left is resumed too."""
        return self.blob.with_name(f"{self.blob.name}.incomplete")

    @property
    def arrived(self) -> int:
        """Bytes that are here."""
        return self.size if self.blob.exists() else self.part.stat().st_size if self.part.exists() else 0


def fetch(name: str, revision: str, report: Report) -> Path:
    """Download what is missing of a model on the hub; the folder that `model_folder` will find.

    An empty `revision` is the main branch. `report(done, total, file)` is called for every few kilobytes, and last
    with no file. Raises HubError for what the hub refuses, a connection that keeps breaking, a damaged file or too
    small a disk.
    """
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.utils import disable_progress_bars, logging

    disable_progress_bars()
    logging.set_verbosity_error()
    info = ask_for_files(name, revision)
    total = sum(file.size for file in wanted_files(info))
    cache = Path(constants.HF_HUB_CACHE)
    # the branch may move meanwhile: all files are those of one commit
    commit = str(info.get("sha") or "") or revision or None
    weights = _weights(info, name, cache)
    here = sum(one.arrived for one in weights)
    _check_space(name, cache, total - here)
    try:
        # what is small comes first: with it, a download that broke off is seen for what it is
        snapshot_download(name, revision=commit, allow_patterns=WANTED, ignore_patterns=["*.safetensors"])
        done = total - sum(one.size for one in weights)
        for one in weights:
            _fetch_one(one, name, lambda arrived, one=one, done=done: report(done + arrived, total, one.file))
            done += one.size
        folder = snapshot_download(name, revision=commit, allow_patterns=WANTED)
        _refer(_repository(name, cache), revision or "main", commit)
        _clean(_repository(name, cache), {one.blob.name for one in weights})
    except MioError:
        raise
    except Exception as error:
        raise hub_error(error, name, revision) from None
    report(total, total, "")
    return Path(folder)


def _weights(info: dict[str, Any], name: str, cache: Path) -> list[Weights]:
    """The files of weights that the hub keeps by their hash; any other is small, and left to the client."""
    from huggingface_hub import hf_hub_url

    commit, blobs = str(info.get("sha") or "main"), _repository(name, cache) / "blobs"
    return [
        Weights(file.name, hf_hub_url(name, file.name, revision=commit), file.size, blobs / file.sha256)
        for file in wanted_files(info)
        if file.name.endswith(".safetensors") and file.sha256 and file.size
    ]


def _repository(name: str, cache: Path) -> Path:
    return cache / f"models--{name.replace('/', '--')}"


def _refer(repository: Path, revision: str, commit: str | None) -> None:
    """Say which commit a branch or tag is, as the client does: without a network, a name leads to it by this."""
    if commit and revision != commit:
        ref = repository / "refs" / revision
        ref.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(ref, commit)


def _clean(repository: Path, wanted: set[str]) -> None:
    """Delete what has arrived of weights that the model no longer has, unless another process is at it."""
    from filelock import Timeout

    for part in (repository / "blobs").glob("*.incomplete"):
        digest = part.name.partition(".")[0]
        if digest not in wanted:
            with contextlib.suppress(Timeout), _locked(part.with_name(digest), 0.1):
                part.unlink(missing_ok=True)


def _locked(blob: Path, seconds: float) -> AbstractContextManager[object]:
    """Hold the client's own lock for a blob. Raises filelock's Timeout where another process has it for so long."""
    from huggingface_hub.utils import WeakFileLock

    locks = blob.parents[2] / ".locks" / blob.parents[1].name
    locks.mkdir(parents=True, exist_ok=True)
    return WeakFileLock(locks / f"{blob.name}.lock", timeout=seconds)


def _check_space(name: str, cache: Path, needed: int) -> None:
    there = next(folder for folder in (cache, *cache.absolute().parents) if folder.exists())
    free = shutil.disk_usage(there).free
    if needed > free:
        raise HubError(
            f"{name}: {needed / 1e9:.1f} GB to download, and {free / 1e9:.1f} GB free in {cache}; "
            "free some space, or set HF_HOME to a folder on another disk"
        )


def _fetch_one(one: Weights, name: str, report: Callable[[int], None]) -> None:
    """Bring one file of weights from what there is of it to its blob."""
    from filelock import Timeout

    one.blob.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _locked(one.blob, 1):
            if one.arrived > one.size:
                one.part.unlink()
            report(one.arrived)
            if not one.blob.exists():
                _receive_all(one, name, report)
                _check(one, name)
                os.replace(one.part, one.blob)
    except Timeout:
        raise HubError(f"{name}: another process downloads it now; let it finish, or end it") from None


def _receive_all(one: Weights, name: str, report: Callable[[int], None]) -> None:
    from huggingface_hub.errors import HfHubHTTPError

    tries, reason = 0, "it ended early"
    while (before := one.arrived) < one.size:
        try:
            _receive(one, report)
        except HfHubHTTPError as error:
            if error.response.status_code < 500:
                raise
            reason = one_line(error)
        except Exception as error:
            if not type(error).__module__.startswith("httpx"):  # httpx, or httpx2 since the client's release 2
                raise
            reason = one_line(error)
        tries = 0 if one.arrived > before else tries + 1
        if tries == TRIES:
            raise HubError(
                f"{name}: the connection keeps breaking ({reason}); {before / 1e9:.2f} GB of {one.file} are kept: "
                "run the same again to go on from there"
            )
        if one.arrived < one.size:
            time.sleep(min(2.0**tries / 2, LONGEST_PAUSE))


def _receive(one: Weights, report: Callable[[int], None]) -> None:
    """Add what one connection brings to the part."""
    from huggingface_hub import constants, get_session
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

    headers = build_hf_headers() | {"Accept-Encoding": "identity"}
    if one.arrived:
        headers["Range"] = f"bytes={one.arrived}-"
    timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
    with get_session().stream("GET", one.url, headers=headers, timeout=timeout) as answer:
        hf_raise_for_status(answer)
        with one.part.open("ab" if answer.status_code == 206 else "wb") as part:  # 200: the whole file comes again
            for chunk in answer.iter_bytes():
                part.write(chunk)
                report(part.tell())


def _check(one: Weights, name: str) -> None:
    with one.part.open("rb") as part:
        digest = hashlib.file_digest(part, "sha256").hexdigest()
    if digest != one.blob.name:
        one.part.unlink()
        raise HubError(f"{name}: {one.file} was damaged on its way and is deleted; run the same again")


def main(argv: Sequence[str]) -> int:
    """The command. Returns its exit code."""
    name = "python -m mio_local.models.download"
    parser = argparse.ArgumentParser(prog=name, description="Download a model from the hub.")
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("--revision", default="")
    arguments = parser.parse_args(argv)
    due = 0.0

    def report(done: int, total: int, file: str) -> None:
        nonlocal due
        if time.monotonic() >= due or not file:
            due = time.monotonic() + 1 / REPORTS
            _say(done=done, total=total, file=file)

    try:
        _say(folder=str(fetch(arguments.name, arguments.revision, report)))
    except MioError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return _fail(f"{arguments.name}: stopped; what has arrived is kept: run the same again to go on from there")
    except BrokenPipeError:  # nobody watches any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 2
    except OSError as error:
        if is_full_disk(error):
            return _fail(f"{arguments.name}: the disk is full; free some space, then run the same again")
        return _fail(f"{error.filename or arguments.name}: {error.strerror or one_line(error)}")
    return 0


def _say(**values: object) -> None:
    print(json.dumps(values), flush=True)


def _fail(line: str) -> int:
    _say(error=line)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
