"""The matrix of architectures, backends and exports: `python -m tests.matrix [NAME ...] [--out FILE]`.

It builds small random models (architectures.py), goes through each on both backends as a user would (cells.py), prints
a line as each is done, and writes the table as Markdown. Exit code 1 where a cell is wrong and was not told beforehand.
"""

import argparse
import re
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from mio_local.process import preload
from tests.matrix.architectures import ARCHITECTURES, write_architecture
from tests.matrix.cells import COLUMNS, Row, walk

BACKENDS = ("mlx", "cuda")
PACKAGES = ("mlx", "mlx-lm", "torch", "transformers", "peft")
SAME = 1e-4  # between the losses of the two backends, where their libraries compute the same


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="architectures; none means all")
    parser.add_argument("--out", type=Path, help="write the table to this file")
    arguments = parser.parse_args()
    preload(threads=1)
    names = arguments.names or list(ARCHITECTURES)
    lines, faults = [], []
    with tempfile.TemporaryDirectory() as place:
        for name in names:
            rows = walked(name, Path(place))
            for backend, row in rows.items():
                lines.append(table_line(name, backend, row))
                print(lines[-1], flush=True)
                faults += [f"{name} on {backend}: {fault}" for fault in row.faults()]
    if arguments.out:
        head = f"| architecture | backend | {' | '.join(COLUMNS)} |\n|{'---|' * (len(COLUMNS) + 2)}\n"
        by = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
        notes = "".join(f"\n[{number}] {text}  " for number, text in enumerate(TOLD, 1))
        arguments.out.write_text(f"{__doc__.strip()}\n\n{by}.\n\n{head}" + "\n".join(lines) + f"\n{notes}\n")
    print(f"{len(lines)} lines, {len(faults)} faults, {len(TOLD)} lines that users are told")
    print("\n".join(faults))
    return 1 if faults else 0


def walked(name: str, place: Path) -> dict[str, Row]:
    """The architecture on both backends, and whether they gave the same losses."""
    model = write_architecture(name, place / name / "model")
    rows = {backend: walk(model, backend, place / name / backend) for backend in BACKENDS}
    one, two = (row.losses for row in rows.values())
    if one and two:
        apart = max(abs(a - b) for a, b in zip(one, two, strict=True))
        for row in rows.values():
            row.said["losses"] = "ok" if apart <= SAME else f"{apart:.0e} apart"
            row.told["losses"] = "a difference between the libraries"
    return rows


TOLD: dict[str, int] = {}


def table_line(name: str, backend: str, row: Row) -> str:
    """A line of the table; what a user is told, by number below it."""
    cells = []
    for column in COLUMNS:
        text = row.said.get(column, "")
        if len(text) > 12:
            text = re.sub(r"\S*/", "", row.told.get(column, text)).replace("|", "/")
            text = re.sub(r"\b(model: )?a \w+ model\b", "such a model", text)  # one note for all of a kind
            number = TOLD.setdefault(text[:400], len(TOLD) + 1)
            text = f"[{number}]"
        cells.append(text)
    return f"| {name} | {backend} | {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
