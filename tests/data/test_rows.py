import gzip
import json

import pytest

from mio_local.data.rows import read_rows
from mio_local.errors import DataError, HubError

ROW = {"prompt": "1 + 1 = ?", "chosen": "é 2", "rejected": "3"}


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def values(source, **options):
    return [row.values for row in read_rows(source, **options)]


def places(source, **options):
    return [row.where for row in read_rows(source, **options)]


def test_jsonl_with_bom_blank_lines_and_crlf(tmp_path):
    line = json.dumps(ROW, ensure_ascii=False)
    file = write(tmp_path / "a.jsonl", f"\ufeff{line}\r\n\r\n{line}\n")
    assert values(file) == [ROW, ROW]
    assert places(file) == ["a.jsonl line 1", "a.jsonl line 3"]


def test_jsonl_lines_end_at_newlines_only(tmp_path):
    row = {**ROW, "chosen": "a\u2028b\x85c"}
    assert values(write(tmp_path / "a.jsonl", json.dumps(row, ensure_ascii=False))) == [row]


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.json.gz"])
def test_gzip(tmp_path, name):
    text = json.dumps(ROW) if name.startswith("a.jsonl") else json.dumps([ROW])
    assert values(write(tmp_path / name, gzip.compress(text.encode()))) == [ROW]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps([ROW]),
        json.dumps({"data": [ROW], "version": 1}),
        json.dumps({"train": [ROW], "test": []}),
        json.dumps(ROW),
        json.dumps([ROW], indent=2),
    ],
)
def test_json(tmp_path, text):
    file = write(tmp_path / "a.json", text)
    assert values(file) == [ROW]
    assert places(file) == ["a.json row 1"]


def test_json_lines_in_disguise(tmp_path):
    file = write(tmp_path / "a.json", json.dumps(ROW) + "\n" + json.dumps(ROW))
    assert places(file) == ["a.json line 1", "a.json line 2"]


def test_json_sharegpt_row_is_no_wrapper(tmp_path):
    row = {"conversations": [{"from": "human", "value": "q"}], "chosen": {}, "rejected": {}}
    assert values(write(tmp_path / "a.json", json.dumps(row))) == [row]


@pytest.mark.parametrize(("name", "sep"), [("a.csv", ","), ("a.tsv", "\t")])
def test_csv(tmp_path, name, sep):
    chat = '"[{""role"": ""user"", ""content"": ""hi""}]"'
    file = write(tmp_path / name, f'prompt{sep}chosen{sep}rejected\n{chat}{sep}"two\nlines"{sep}42\nq{sep}[a]{sep}b\n')
    assert values(file) == [
        {"prompt": [{"role": "user", "content": "hi"}], "chosen": "two\nlines", "rejected": "42"},
        {"prompt": "q", "chosen": "[a]", "rejected": "b"},
    ]
    assert places(file) == [f"{name} row 1", f"{name} row 2"]


def test_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [{"chosen": [{"role": "user", "content": "q"}], "score": 1.5, "note": None}] * 300
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert values(str(tmp_path / "a.parquet")) == rows
    assert places(str(tmp_path / "a.parquet"))[-1] == "a.parquet row 300"


def test_folder_takes_the_files_of_the_split(tmp_path):
    for name in ("train-00000-of-00002.jsonl", "train-00001-of-00002.jsonl", "validation.jsonl", "train_sft.jsonl"):
        write(tmp_path / "data" / name, json.dumps({"name": name}))
    write(tmp_path / ".cache" / "x.jsonl", "broken")
    write(tmp_path / "README.md", "# hi")
    write(tmp_path / "dataset_info.json", "{}")
    names = [row["name"] for row in values(str(tmp_path))]
    assert names == ["train-00000-of-00002.jsonl", "train-00001-of-00002.jsonl"]
    assert values(str(tmp_path), split="valid") == [{"name": "validation.jsonl"}]
    assert values(str(tmp_path), split="train_sft") == [{"name": "train_sft.jsonl"}]
    with pytest.raises(DataError, match="no files for split tset"):
        values(str(tmp_path), split="tset")


def test_folder_without_split_names_is_read_whole_in_order(tmp_path):
    for name in ("b.jsonl", "a.jsonl", "sub/c.json"):
        write(tmp_path / name, json.dumps({"n": name, "chosen": 1, "rejected": 2}))
    assert places(str(tmp_path)) == ["a.jsonl line 1", "b.jsonl line 1", "sub/c.json row 1"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"a": 1}\n{"a": 1\n', "a.jsonl: line 2: not JSON: Expecting ',' delimiter"),
        ("a.jsonl", '{"a": 1}\n[1]\n', "a.jsonl: line 2: a row must be a JSON object, not a list"),
        ("a.jsonl", '{"a": 1}\n42\n', "a.jsonl: line 2: a row must be a JSON object, not a number"),
        ("a.jsonl", b'{"a": 1}\n{"a": "\xff"}\n', "a.jsonl: line 2: not UTF-8"),
        ("a.jsonl", "", "a.jsonl: holds no rows"),
        ("a.jsonl", "\n\n", "a.jsonl: holds no rows"),
        ("a.json", "", "a.json: holds no rows"),
        ("a.json", "[]", "a.json: holds no rows"),
        ("a.json", '[\n{"a": 1},\n{"a" 1}]', "a.json: line 3: not JSON"),
        ("a.json", '[{"a": 1}, "b"]', "a.json: row 2: a row must be a JSON object, not text"),
        ("a.json", '{"a": [], "b": []}', "found lists: a, b"),
        ("a.json", b"[\xff]", "a.json: not UTF-8"),
        ("a.json", '"x"', "must hold a list of objects, not text"),
        ("a.csv", "prompt,chosen\n", "a.csv: holds no rows"),
        ("a.csv", "prompt,chosen\nq,a,b\n", "a.csv: row 1 has more cells than the header"),
        ("a.csv", b"prompt\n\xff\n", "a.csv: not UTF-8"),
        ("a.parquet", "no", "a.parquet: not a readable Parquet file"),
        ("a.jsonl.gz", "no gzip", "a.jsonl.gz: cannot be read"),
        ("a.txt", "x", "a.txt: unknown kind of file; known are .jsonl"),
    ],
)
def test_one_line_for_each_fault(tmp_path, name, content, message):
    with pytest.raises(DataError) as caught:
        values(write(tmp_path / name, content))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_names_that_look_like_paths(tmp_path):
    for source in ("nothing.jsonl", "./nothing", "/nothing/at/all", "~/nothing-here", "a/b.parquet"):
        with pytest.raises(DataError, match="no such file"):
            values(source)
    with pytest.raises(DataError, match="no data files in this folder"):
        values(str(tmp_path))
    with pytest.raises(DataError, match="--data"):
        values("")


def _hub(monkeypatch, error):
    datasets = pytest.importorskip("datasets")

    def load_dataset(name, config, split, revision):
        if error is not None:
            raise error
        return [{"name": name, "config": config, "split": split, "revision": revision}]

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)


def test_hub(monkeypatch):
    _hub(monkeypatch, None)
    rows = list(read_rows("org/name:sub", split="test", revision="v1"))
    assert rows[0].values == {"name": "org/name", "config": "sub", "split": "test", "revision": "v1"}
    assert rows[0].where == "org/name:sub row 1"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ConnectionError("Couldn't reach 'org/name' on the Hub (OfflineModeIsEnabled)"), "the hub is unreachable"),
        ("Dataset 'org/name' doesn't exist on the Hub or cannot be accessed.", "no such dataset on the hub"),
        ("Dataset 'org/name' is a gated dataset on the Hub.", "gated on the hub"),
        (ValueError('Unknown split "trian". Should be one of [\'train\', \'test\'].'),
         "no split trian (nearest: train); there are train, test"),
        (ValueError("Config name is missing.\nPlease pick one among: ['a', 'b']"), "name a configuration"),
        (OSError("disk\nbroken"), "cannot be read: disk broken"),
    ],
)  # fmt: skip
def test_hub_faults_are_one_line(monkeypatch, error, message):
    if isinstance(error, str):
        error = pytest.importorskip("datasets.exceptions").DatasetNotFoundError(error)
    _hub(monkeypatch, error)
    with pytest.raises(HubError) as caught:
        list(read_rows("org/name", split="trian"))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
