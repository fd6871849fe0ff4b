"""JSONL, JSON and CSV in the forms that people have them; the expected rows are written out."""

import bz2
import gzip
import json
import lzma
import time

import pyarrow
import pytest

from mio_local.data.rows import read_rows
from mio_local.errors import DataError

ROW = {"prompt": "q", "chosen": "é 2", "rejected": "3"}
ROWS = [ROW, {"prompt": "q; r", "chosen": "a, b", "rejected": "c\td|e"}]


def values(path, **options):
    return [row.values for row in read_rows(str(path), **options)]


def fault(path):
    with pytest.raises(DataError) as caught:
        values(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def zst(content):
    return pyarrow.Codec("zstd").compress(content, asbytes=True)


def jsonl(rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def table(rows, sep):
    quoted = [['"' + cell.replace('"', '""') + '"' for cell in row.values()] for row in rows]
    return "\r\n".join(sep.join(cells) for cells in [list(rows[0]), *quoted])


CONTENTS = {"jsonl": jsonl(ROWS), "json": json.dumps(ROWS), "csv": table(ROWS, ","), "tsv": table(ROWS, "\t")}


@pytest.mark.parametrize("kind", CONTENTS)
@pytest.mark.parametrize(
    ("suffix", "pack"),
    [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress), ("zst", zst)],
)
def test_compressed(tmp_path, kind, suffix, pack):
    content = pack(CONTENTS[kind].encode())
    (tmp_path / f"a.{kind}.{suffix}").write_bytes(content)
    assert values(tmp_path / f"a.{kind}.{suffix}") == ROWS
    (tmp_path / f"b.{kind}.{suffix}").write_bytes(content[:-6])
    assert "cannot be read" in fault(tmp_path / f"b.{kind}.{suffix}")


@pytest.mark.parametrize("kind", CONTENTS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_encodings(tmp_path, kind, encoding):
    (tmp_path / f"a.{kind}").write_bytes(CONTENTS[kind].encode(encoding))
    assert values(tmp_path / f"a.{kind}") == ROWS


def test_utf_16_with_either_mark(tmp_path):
    for mark, encoding in ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        (tmp_path / "a.jsonl").write_bytes(mark + CONTENTS["jsonl"].encode(encoding))
        assert values(tmp_path / "a.jsonl") == ROWS


@pytest.mark.parametrize("kind", CONTENTS)
def test_latin_1_is_told_what_to_do(tmp_path, kind):
    (tmp_path / f"a.{kind}").write_bytes(CONTENTS[kind].encode().replace("é".encode(), b"\xe9"))
    if kind != "json":
        assert fault(tmp_path / f"a.{kind}").endswith("convert it to UTF-8")
    (tmp_path / "b.json").write_bytes(b'[{"prompt": "\xe9"}]')
    assert fault(tmp_path / "b.json").endswith("convert it to UTF-8")


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
@pytest.mark.parametrize("sep", [",", ";", "\t", "|"])
def test_any_delimiter(tmp_path, name, sep):
    (tmp_path / name).write_bytes(table(ROWS, sep).encode())
    assert values(tmp_path / name) == ROWS


def test_what_is_quoted_in_a_header_misleads_nobody(tmp_path):
    (tmp_path / "a.csv").write_text('"prompt, as asked, in full";chosen;rejected\n"a,b,c,d";e;"f,g"\n')
    assert values(tmp_path / "a.csv") == [{"prompt, as asked, in full": "a,b,c,d", "chosen": "e", "rejected": "f,g"}]
    (tmp_path / "a.csv").write_text('prompt,"chosen;one;two;three",rejected\n"x;y\nz;z",e,f\n')
    assert values(tmp_path / "a.csv") == [{"prompt": "x;y\nz;z", "chosen;one;two;three": "e", "rejected": "f"}]


def test_excel_and_pandas_headers(tmp_path):
    (tmp_path / "a.csv").write_text("sep=;\nprompt;chosen\nq;a\n")
    assert values(tmp_path / "a.csv") == [{"prompt": "q", "chosen": "a"}]
    (tmp_path / "a.csv").write_text(",prompt,chosen\n0,q,a\n1,r\n")
    assert values(tmp_path / "a.csv") == [
        {"Unnamed: 0": "0", "prompt": "q", "chosen": "a"}, {"Unnamed: 0": "1", "prompt": "r", "chosen": None},
    ]  # fmt: skip


COLUMNS = {"prompt": ["q", "q; r"], "chosen": ["é 2", "a, b"], "rejected": ["3", "c\td|e"]}
LABELLED = {name: dict(zip("01", cells, strict=True)) for name, cells in COLUMNS.items()}
CELLS = [list(row.values()) for row in ROWS]
TALK = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]


@pytest.mark.parametrize(
    "content",
    [
        LABELLED,
        COLUMNS,
        {"columns": list(COLUMNS), "index": [0, 1], "data": CELLS},
        {"columns": list(COLUMNS), "data": CELLS},
        {"0": ROWS[0], "1": ROWS[1]},
        {"schema": {"fields": [], "pandas_version": "1.4.0"}, "data": ROWS},
    ],
)
def test_json_as_pandas_writes_it(tmp_path, content):
    (tmp_path / "a.json").write_text(json.dumps(content))
    assert values(tmp_path / "a.json") == ROWS


@pytest.mark.parametrize(
    "row",
    [
        {"chosen": TALK, "rejected": TALK},
        {"prompt": TALK[:1], "chosen": TALK[1:], "rejected": TALK[1:]},
        {"prompt": TALK[0], "chosen": TALK[1], "rejected": TALK[1]},
        {"messages": TALK, "rejected_response": "b"},
        {"input": {"messages": TALK[:1]}, "preferred_output": TALK[1:], "non_preferred_output": TALK[1:]},
    ],
)
def test_a_json_file_of_one_row(tmp_path, row):
    (tmp_path / "a.json").write_text(json.dumps(row))
    assert values(tmp_path / "a.json") == [row]


def test_the_list_of_a_split_is_no_column(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"train": [ROW], "notes": ["a", "b"]}))
    assert values(tmp_path / "a.json") == [ROW]


def test_columns_of_conversations(tmp_path):
    columns = {"chosen": [TALK, TALK], "rejected": [TALK, TALK[:1]]}
    (tmp_path / "a.json").write_text(json.dumps(columns))
    assert values(tmp_path / "a.json") == [{"chosen": TALK, "rejected": TALK}, {"chosen": TALK, "rejected": TALK[:1]}]


@pytest.mark.parametrize("sign", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_lines_end_at_newlines_alone(tmp_path, sign, name, end):
    text = json.dumps({"chosen": "a" + sign}, ensure_ascii=False)
    (tmp_path / name).write_bytes(f"{text}{end}{text}{end}".encode())
    assert values(tmp_path / name) == [{"chosen": "a" + sign}] * 2


DEEP, LONG = "[" * 100_000 + "]" * 100_000, "9" * 5_000


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", f'{{"a": 1}}\n{{"a": {LONG}}}\n', "line 2: a number of more than 4,300 digits"),
        ("a.jsonl", f'{{"a": 1}}\n{{"a": {DEEP}}}\n', "line 2: lists and objects nested more than 200 deep"),
        ("a.json", f'[{{"a": 1}},\n{{"a": {LONG}}}]', "line 2: a number of more than 4,300 digits"),
        ("a.json", f'[{{"a": 1}},\n{{"a": {DEEP}}}]', "line 2: lists and objects nested more than 200 deep"),
        ("a.jsonl", '{"a": 1}\n{"a": "\0"}\n', "line 2: not JSON: Invalid control character"),
        ("a.jsonl", '{"a": 1}\n\0\0\0\0\n', "line 2: not JSON"),
        ("a.csv", "prompt,chosen\nq,a\nq,\0\n", "line 3: has a NUL byte"),
        ("a.csv", "prompt,chosen,prompt\nq,a,b\n", "has two columns named prompt; rename one"),
        ("a.csv", "prompt,chosen,rejected\n", "holds no rows"),
        ("a.csv", "", "holds no rows"),
        ("a.tsv", "", "holds no rows"),
        ("a.parquet", "", "not a readable Parquet file"),
        ("a.arrow", "", "not a readable Arrow file"),
        ("a.arrow", "ARROW1 and no more", "not a readable Arrow file"),
        ("a.jsonl.zst", "", "a.jsonl.zst: "),
        ("a.jsonl.zst", "no zst", "cannot be read"),
        ("a.parquet.gz", "x", "cannot be read compressed"),
        ("a.json", '{"a": [1, 2], "b": [3]}', "lists of different lengths (a 2, b 1)"),
        ("a.json", '{"columns": ["a", "b"], "data": [[1, 2], [3]]}', "row 2 of data must be a list of 2 cells"),
    ],
)
def test_one_line_for_each_fault(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content.encode())
    assert message in fault(tmp_path / name)
    assert fault(tmp_path / name).startswith(str(tmp_path / name))


def test_json_that_a_csv_cell_cannot_hold_is_a_text(tmp_path):
    for text in (DEEP, f'[{LONG}]', "[" * 300):
        (tmp_path / "a.csv").write_text(f"prompt,chosen\nq,{text}\n")
        assert values(tmp_path / "a.csv") == [{"prompt": "q", "chosen": text}]


def test_nan_and_infinity_are_numbers(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"a": NaN, "b": Infinity, "c": -Infinity}')
    (row,) = values(tmp_path / "a.jsonl")
    assert row["a"] != row["a"]
    assert (row["b"], row["c"]) == (float("inf"), float("-inf"))


def test_links_that_lead_nowhere(tmp_path):
    (tmp_path / "a.jsonl").symlink_to(tmp_path / "gone.jsonl")
    assert "a link to a file that is not there" in fault(tmp_path / "a.jsonl")
    (tmp_path / "b.jsonl").write_text("{}")
    assert "a.jsonl: a link to a file that is not there" in fault(tmp_path)


def test_a_folder_named_like_a_file(tmp_path):
    (tmp_path / "a.jsonl").mkdir()
    assert "no data files in this folder" in fault(tmp_path / "a.jsonl")
    (tmp_path / "a.jsonl" / "b.jsonl").write_text('{"a": 1}')
    assert values(tmp_path / "a.jsonl") == [{"a": 1}]


def test_a_line_costs_little_more_than_its_json(tmp_path):
    line = json.dumps({"prompt": "hello " * 20, "chosen": "x" * 400, "rejected": "y" * 400}) + "\n"
    (tmp_path / "a.jsonl").write_text(line * 20_000)
    best = min(_seconds(lambda: sum(1 for _ in read_rows(str(tmp_path / "a.jsonl")))) for _ in range(3))
    plain = min(_seconds(lambda: [json.loads(line) for _ in range(20_000)]) for _ in range(3))
    assert best < plain + 20_000 * 5e-6


def _seconds(work):
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
