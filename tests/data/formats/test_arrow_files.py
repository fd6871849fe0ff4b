"""Parquet, Arrow and what datasets saves, and folders with splits; the expected rows are written out."""

import json

import pyarrow
import pyarrow.ipc
import pytest

from mio_local.data.rows import read_rows, validation_split_of
from mio_local.errors import DataError

ROWS = [{"prompt": [{"role": "user", "content": "q"}], "chosen": f"a{number}"} for number in range(600)]


def values(path, **options):
    return [row.values for row in read_rows(str(path), **options)]


def test_arrow_files_and_streams(tmp_path):
    table = pyarrow.Table.from_pylist(ROWS)
    for name, opened in (("file", pyarrow.ipc.new_file), ("stream", pyarrow.ipc.new_stream)):
        with opened(str(tmp_path / f"{name}.arrow"), table.schema) as writer:
            writer.write_table(table, max_chunksize=250)
        rows = list(read_rows(str(tmp_path / f"{name}.arrow")))
        assert [row.values for row in rows] == ROWS
        assert rows[-1].where == f"{name}.arrow row 600"


def test_two_columns_of_one_name(tmp_path):
    table = pyarrow.Table.from_arrays([pyarrow.array(["a"])] * 2, names=["chosen", "chosen"])
    with pyarrow.ipc.new_file(str(tmp_path / "a.arrow"), table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(DataError, match="two columns named chosen"):
        values(tmp_path / "a.arrow")


def test_what_datasets_saves(tmp_path):
    datasets = pytest.importorskip("datasets")
    whole = datasets.Dataset.from_list(ROWS)
    whole.save_to_disk(tmp_path / "one", num_shards=3)
    (tmp_path / "one" / "cache-0123456789abcdef.arrow").write_bytes(b"what map left here")
    assert values(tmp_path / "one") == ROWS
    parts = {"train": whole.select([0, 1]), "validation": whole.select([2]), "test": whole.select([3])}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "many")
    assert values(tmp_path / "many") == ROWS[:2]
    assert values(tmp_path / "many", split="valid") == ROWS[2:3]
    assert values(tmp_path / "many", split="test") == ROWS[3:4]
    assert validation_split_of(str(tmp_path / "many")) == "validation"
    datasets.DatasetDict({"train_prefs": whole.select([4]), "test_prefs": whole.select([5])}).save_to_disk(
        tmp_path / "named"
    )
    assert values(tmp_path / "named", split="test_prefs") == ROWS[5:6]
    with pytest.raises(DataError, match=r"no files for split train .*; there are train_prefs, test_prefs; --set"):
        values(tmp_path / "named")


def test_folders_named_after_splits(tmp_path):
    for name in ("train/0000.jsonl", "test/0000.jsonl", "val/part-1.jsonl"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(json.dumps({"name": name}))
    assert values(tmp_path) == [{"name": "train/0000.jsonl"}]
    assert values(tmp_path, split="validation") == [{"name": "val/part-1.jsonl"}]


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["train.jsonl", "valid.jsonl", "test.jsonl"], "valid"),
        (["train.csv", "val.csv"], "val"),
        (["train.jsonl.gz", "dev.jsonl.gz"], "dev"),
        (["train-00000-of-00001.jsonl", "validation-00000-of-00001.jsonl"], "validation"),
        (["train.jsonl", "test.jsonl"], ""),
        (["valid.jsonl"], ""),
        (["a.jsonl", "b.jsonl"], ""),
    ],
)
def test_the_held_out_split_of_a_folder(tmp_path, names, found):
    for name in names:
        (tmp_path / name).write_bytes(b"{}")
    assert validation_split_of(str(tmp_path)) == found
    assert validation_split_of(str(tmp_path / names[0])) == ""
    assert validation_split_of("org/name") == ""
