"""The house rules of the code, held by the tree itself: rooms of a size, files of a size, one name for one thing."""

import ast
import graphlib
import importlib
from collections import defaultdict
from pathlib import Path

import grimp
import pytest
from textual.dom import DOMNode

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("mio_local", "backends/mio_mlx", "backends/mio_cuda", "tui/mio_tui")
MOST_MODULES, MOST_LINES = 16, 300
MODULES = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]
NAMED = [file for file in MODULES if file.name != "__init__.py"]


def shown(file: Path) -> str:
    return str(file.relative_to(ROOT))


@pytest.mark.parametrize("top", [*PACKAGES, "tests"])
def test_a_folder_holds_sixteen_modules_at_most(top: str) -> None:
    held: dict[str, int] = defaultdict(int)
    for file in (ROOT / top).rglob("*.py"):
        held[shown(file.parent)] += file.name != "__init__.py"
    assert {folder: count for folder, count in held.items() if count > MOST_MODULES} == {}


def test_a_file_has_three_hundred_lines_at_most() -> None:
    files = [*MODULES, *(ROOT / "tests").rglob("*.py")]
    lengths = {shown(file): len(file.read_text(encoding="utf-8").splitlines()) for file in files}
    assert {file: lines for file, lines in lengths.items() if lines > MOST_LINES} == {}


def test_every_module_and_every_room_says_what_it_is_for() -> None:
    assert [shown(file) for file in MODULES if not ast.get_docstring(ast.parse(file.read_text("utf-8")))] == []
    rooms = [folder for folder in (ROOT / "mio_local").iterdir() if list(folder.glob("*.py"))]
    assert [shown(room) for room in rooms if not (room / "__init__.py").exists()] == []


def test_no_two_modules_share_a_name() -> None:
    """But for the two backends' halves of one thing."""
    places: dict[str, list[str]] = defaultdict(list)
    for file in NAMED:
        places[file.stem].append(shown(file.parent))
    for name, found in list(places.items()):
        inner = [place.partition("/mio_cuda")[2] or place.partition("/mio_mlx")[2] for place in found]
        if sorted(found) == [f"backends/mio_cuda{inner[0]}", f"backends/mio_mlx{inner[0]}"]:
            del places[name]
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_no_imports_form_a_ring() -> None:
    """Imports inside functions, and those for the type checker alone, count too."""
    graph = grimp.build_graph("mio_local", "mio_mlx", "mio_cuda", "mio_tui", cache_dir=None)
    ring = graphlib.TopologicalSorter({one: graph.find_modules_directly_imported_by(one) for one in graph.modules})
    ring.prepare()  # raises CycleError, which names the ring


def test_no_two_widgets_share_a_name() -> None:
    """A style names a widget by its class, so that of one screen would be drawn on the other."""
    for file in NAMED:
        if "mio_tui" in file.parts:
            importlib.import_module(".".join(file.relative_to(ROOT / "tui").with_suffix("").parts))
    found: dict[str, set[str]] = defaultdict(set)
    waiting: list[type[DOMNode]] = [DOMNode]
    while waiting:
        one = waiting.pop()
        if not one.__module__.startswith("tests."):
            found[one.__name__].add(one.__module__)
        waiting += one.__subclasses__()
    assert {name: places for name, places in found.items() if len(places) > 1} == {}
    assert len(found) > 100
