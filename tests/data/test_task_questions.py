import json

import pytest

from mio_local.data.task_questions import Question, read_tasks
from mio_local.errors import DataError


def test_lines_end_at_newlines_alone(tmp_path):
    row = {"question": "a\u2028b\x85c", "answer": 7}
    (tmp_path / "q.jsonl").write_text("\ufeff" + json.dumps(row, ensure_ascii=False) + "\r\n\n", encoding="utf-8")
    assert read_tasks(str(tmp_path / "q.jsonl")) == [Question("a\u2028b\x85c", "7")]


def test_what_cannot_be_held_is_told_by_line(tmp_path):
    for value in ("[" * 100_000 + "]" * 100_000, "9" * 5_000):
        (tmp_path / "q.jsonl").write_text(f'{{"question": "q", "answer": "a"}}\n{{"question": {value}}}\n')
        with pytest.raises(DataError, match="line 2: not a JSON object with question and answer"):
            read_tasks(str(tmp_path / "q.jsonl"))
