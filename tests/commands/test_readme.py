"""The table of settings beside the recipes is the recipe's. `python tests/commands/test_readme.py` writes it anew."""

import re
from pathlib import Path

from mio_local.flags import as_text, flag_of, meaning
from mio_local.recipe import keys

README = Path(__file__).resolve().parents[2] / "recipes" / "README.md"
TABLE = re.compile(r"^\| key \|.*?(?=^$)", re.M | re.S)


def table() -> str:
    """Key, flag, default and help of every setting, as Markdown."""
    lines = ["| key | flag | default | what |", "|---|---|---|---|"]
    for key, field in keys().items():
        flag, default = flag_of(field), as_text(field.default)
        shown = f"`{default}`" if default else ""
        lines.append(f"| `{key}` | {f'`{flag}`' if flag else ''} | {shown} | {meaning(field).replace('|', '/')} |")
    return "\n".join(lines) + "\n"


def test_the_table_of_settings_is_the_recipes() -> None:
    """A default that changes changes here too."""
    found = TABLE.search(README.read_text(encoding="utf-8"))
    assert found
    assert found[0] == table()


if __name__ == "__main__":
    text = README.read_text(encoding="utf-8")
    README.write_text(TABLE.sub(lambda _: table(), text), encoding="utf-8")
