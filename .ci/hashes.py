"""Reads pip's report of an installation and prints it as requirements with hashes: `make lock` keeps them.

    pip install --dry-run --ignore-installed --report - ... | python hashes.py

Each file's own hash, and those of the same release's files for other machines of its kind, as PyPI's index has them.
"""

import json
import sys
import urllib.request
from typing import Any


def known(name: str, version: str) -> set[str]:
    """sha256 of the wheels of a release that a Linux machine of this kind could take."""
    asked = urllib.request.Request(
        f"https://pypi.org/simple/{name}/", headers={"Accept": "application/vnd.pypi.simple.v1+json"}
    )
    with urllib.request.urlopen(asked) as answer:
        files: list[dict[str, Any]] = json.load(answer)["files"]
    stem = f"{name.replace('-', '_')}-{version}-".lower()
    wheels = [file for file in files if file["filename"].lower().replace(".", "_").startswith(stem.replace(".", "_"))]
    fitting = [file for file in wheels if file["filename"].endswith(("any.whl", "x86_64.whl"))
               and any(tag in file["filename"] for tag in ("py3", "cp311-", "abi3"))
               and "macosx" not in file["filename"]]  # fmt: skip
    return {file["hashes"]["sha256"] for file in fitting}


def main() -> None:
    """Print one requirement a line."""
    for one in sorted(json.load(sys.stdin)["install"], key=lambda one: one["metadata"]["name"].lower()):
        name, version = one["metadata"]["name"].lower().replace("_", "-"), one["metadata"]["version"].partition("+")[0]
        if name != "mio-local":
            hashes = {one["download_info"]["archive_info"]["hashes"]["sha256"]}
            if "+" not in one["metadata"]["version"]:  # PyTorch for CPUs, which is not PyPI's
                hashes |= known(name, version)
            print(f"{name}=={version}", *(f"--hash=sha256:{digest}" for digest in sorted(hashes)))


if __name__ == "__main__":
    main()
