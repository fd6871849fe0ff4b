"""`mio-local recipes`: the recipes that ship with the package, with what each is for."""

import argparse

from mio_local import printing
from mio_local.shipped import recipes


def main(arguments: argparse.Namespace) -> int:
    """List them."""
    out = printing.console()
    for file in recipes():
        purpose = file.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
        out.print(f"{file.stem:<16} {purpose}")
    printing.next_steps(out, "mio-local train NAME", "mio-local train NAME --loss dpo --beta 0.05 --data PAIRS.jsonl")
    return 0
