"""Edit what lies on disk."""

import json
from pathlib import Path
from typing import Any


def edit_json(file: Path, **values: Any) -> None:
    """Set keys of a JSON object in a file."""
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | values), encoding="utf-8")
