"""The judge json:FILE: does an answer parse as JSON, and have the form that a schema asks for?"""

import json
import re
from collections.abc import Sequence
from typing import Any

from mio_local.errors import DataError, one_line
from mio_local.making.answered import Answered, Rewards
from mio_local.making.judging.json_schema import check_schema, valid
from mio_local.making.judging.plain_judge import PlainJudge
from mio_local.storage.json_files import parse, read_json
from mio_local.storage.paths import expanded

FENCE = re.compile(r"```(?:json)?[ \t]*\n(.*?)\n?```", re.DOTALL)


class JsonAnswers(PlainJudge):
    """1 for an answer that is JSON, or whose last fenced block is, and that is valid by the schema in `file`; else 0.

    Raises DataError for a file that cannot be read, and for a schema with words that are not known here.
    """

    def __init__(self, judge: str, file: str) -> None:
        super().__init__(judge, 1.0)
        path = expanded(file, "--judge")
        try:
            self.schema = read_json(path)
        except FileNotFoundError:
            raise DataError(f"--judge {judge}: no such file; it is a JSON schema") from None
        except (OSError, ValueError) as error:
            raise DataError(f"--judge {judge}: cannot be read: {one_line(error)}") from None
        check_schema(self.schema, f"--judge {judge}")

    def judge(self, answered: Sequence[Answered]) -> list[Rewards]:
        return [tuple(float(self._is_valid(answer)) for answer in one.answers) for one in answered]

    def _is_valid(self, answer: str) -> bool:
        blocks = FENCE.findall(answer)
        try:
            return valid(_parsed(blocks[-1] if blocks else answer), self.schema)
        except (ValueError, RecursionError):
            return False


def _parsed(text: str) -> Any:
    value = parse(text)
    json.dumps(value, allow_nan=False)  # Python reads NaN and Infinity, which are no JSON
    return value
