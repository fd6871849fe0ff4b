"""What is offered for the fields of "Make pairs": models, runs, data, judges, files that were made. Reads the disk,
so it is for a thread."""

from contextlib import suppress
from pathlib import Path

from mio_local.errors import MioError
from mio_local.making.hand_review import reviewed_file
from mio_local.runs.directory import list_runs
from mio_tui.formatting import ago, now, size
from mio_tui.make.judge_list import judges
from mio_tui.make.make_draft import JUDGE, MODEL, OUT, PROMPTS, RUN, made_files
from mio_tui.new.lookups.suggestions import Offer, offered_data
from mio_tui.new.stock import local_models

MOST = 100
TITLES = {  # of the list, and what it says where nothing is to be offered
    MODEL: ("models of runs, and on this disk", "none here: type a folder or a name on the hub"),
    RUN: ("runs that have an adapter", "none yet: leave it empty"),
    PROMPTS: ("data of runs, of chats, and here", "none: type a path or the name of a dataset on the hub"),
    JUDGE: ("judges", ""),
    OUT: ("made here before: enter reviews one", "none was made in this folder yet"),
}


def offered(folder: Path) -> dict[str, list[Offer]]:
    """What there is for each key. What cannot be read is left out."""
    found: dict[str, list[Offer]] = {key: [] for key in TITLES}
    with suppress(MioError, OSError):
        cards, before = local_models(folder, "")
        for card in cards:
            used = f", used {ago(now() - before[card.name])}" if card.name in before else ""
            found[MODEL] += [Offer(card.name, f"{size(card.size)}{used}")] * card.complete
    with suppress(MioError, OSError):
        runs = [run for run in list_runs(folder)[:MOST] if run.adapter.exists()]
        found[RUN] = [Offer(run.name, ago(now() - run.adapter.stat().st_mtime)) for run in runs]
    with suppress(MioError, OSError):
        found[PROMPTS] = offered_data(folder)
    found[JUDGE] = judges()
    found[OUT] = [Offer(file.name, _progress(file)) for file in made_files()[:MOST]]
    return found


def _progress(file: Path) -> str:
    return "reviewed in part" if reviewed_file(file).exists() else "made" if file.exists() else "begun"
