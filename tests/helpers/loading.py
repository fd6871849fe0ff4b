"""Rows written into a file and read as pairs."""

import json

import pytest

from mio_local.data.pairs import load_pairs
from mio_local.data.reading.wanted import PAIRS
from mio_local.errors import DataError
from mio_local.recipe import DataSettings


def load(tmp_path, *rows, wanted=PAIRS, **settings):
    """The pairs, or what is `wanted`, of a JSONL file with these rows."""
    file = tmp_path / "f.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return load_pairs(str(file), DataSettings(**settings), wanted=wanted)


def fault(tmp_path, *rows, **settings):
    """The one line in which reading them ends."""
    with pytest.raises(DataError) as caught:
        load(tmp_path, *rows, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def turns(pairs):
    """What is asked and answered."""
    return [(pair.prompt, pair.chosen, pair.rejected) for pair in pairs]
