"""What stands between the draft and a training that goes well."""

from dataclasses import dataclass

from mio_local.errors import RecipeError
from mio_local.models.hub import ModelCard
from mio_tui.formatting import size
from mio_tui.new.lookups.ahead import short
from mio_tui.new.state import TRUST_KEY, State
from mio_tui.new.stock import is_folder, names_folder, shown
from mio_tui.new.usual import unusual

FINE, WAIT, CARE, WRONG = "✓", "…", "!", "✗"
MODEL, DATA, SETTINGS, REVIEW = range(4)
BESIDE = "beside"  # the doubt that another run trains here
MOST = 10**18  # bytes that are told: a number of any length can be typed


@dataclass(frozen=True)
class Check:
    """One finding: its sign, its words, and the step where it is put right.

    What is wrong stops the start; `told` says that its step shows it. `ask` names the doubt that wants the start key
    pressed a second time.
    """

    sign: str
    words: str
    step: int
    key: str = ""
    ask: str = ""
    told: bool = False


def checks(state: State) -> list[Check]:
    """Every finding, in the order of the steps."""
    found = [*of_model(state), *of_data(state), *of_settings(state), *of_memory(state), *of_disk(state)]
    return [*found, *of_duration(state), *of_line(state)]


def of_model(state: State) -> list[Check]:
    """Whether there is a model, here or to be downloaded."""
    name = state.draft.text("model.name")
    if state.not_taken:
        return [Check(WRONG, f"{state.not_taken} was typed and is not chosen: enter takes the marked row", MODEL)]
    if not name:
        return [Check(WRONG, "no model is chosen", MODEL)]
    card, download = state.card, state.download
    if card and card.complete:
        template = [Check(FINE if "✓" in state.template else CARE, state.template.rstrip(" ✓"), MODEL)]
        return [Check(FINE, f"{shown(name)} is on this disk", MODEL), *(template if state.template else [])]
    if names_folder(name):
        return [of_folder(name, card)]
    if download and download.name == name and download.state == "running":
        return [Check(WAIT, f"{shown(name)} is being downloaded: {download.share:.0%}", MODEL)]
    much = f" ({size(card.size)})" if card and card.size and not card.on_disk else ""
    return [Check(CARE, f"{shown(name)} is downloaded when the training starts{much}", MODEL)]


def of_folder(name: str, card: ModelCard | None) -> Check:
    """What keeps a model's folder from being trained."""
    if not is_folder(name):
        return Check(WRONG, f"{shown(name)}: no such folder", MODEL)
    if card:
        return Check(WRONG, f"{shown(name)}: its weights are not all here; copy the folder again", MODEL)
    return Check(CARE, f"{shown(name)}: no model was found in this folder", MODEL, ask="model")


def of_data(state: State) -> list[Check]:
    """Whether there are pairs that can be trained on."""
    data, source = state.data, state.draft.text("data.source")
    if state.rounds:
        source = state.draft.text("make.prompts") or source
    if not source:
        return [Check(WRONG, "no data is chosen", DATA)]
    if state.rounds:
        return [Check(FINE, f"prompts of {shown(source)}, read when the training starts", DATA)]
    if data.key is None or data.key != state.wanted():
        words = data.error if data.key is None and data.error else "the pairs have not been read yet"
        return [Check(WAIT, words, DATA, ask="data")]
    if data.error:
        return [Check(WRONG, data.error, DATA, told=True)]
    if data.stops:
        return [Check(WRONG, data.stops, DATA, told=True)]
    if not data.opened:
        return [Check(WAIT, "the pairs have not been read yet", DATA, ask="data")]
    found = [Check(FINE, f"{int(data.opened.get('pairs', 0)):,} pairs in {shown(source)}", DATA)]
    if data.progress[1]:
        found.append(Check(WAIT, f"counting their tokens: {data.progress[0]:,} of {data.progress[1]:,}", DATA))
    return found + [Check(CARE, warning, DATA) for warning in data.warnings]


def of_settings(state: State) -> list[Check]:
    """What the recipe says of its values."""
    errors = state.draft.errors()
    found = [Check(WRONG, f"{key} {words}", step_of(key), key, told=True) for key, words in errors.items()]
    if state.name_error:
        found.append(Check(WRONG, state.name_error, SETTINGS, "run.name", told=True))
    if found:
        return found
    try:
        recipes = state.draft.recipes()
    except RecipeError as error:
        return [Check(WRONG, str(error), SETTINGS)]
    found = [Check(FINE, "the settings are valid", SETTINGS)]
    if state.draft.swept:
        found.append(Check(FINE, f"{len(recipes)} runs, one after the other, compared as they train", SETTINGS))
    found += [Check(CARE, words, SETTINGS, key, ask=key) for key, words in unusual(state.draft).items()]
    if state.draft.value(TRUST_KEY):
        words = f"Python code of the model's repository will run, as {TRUST_KEY} asks"
        found.append(Check(CARE, words, SETTINGS, TRUST_KEY, ask="remote code"))
    return found


def step_of(key: str) -> int:
    """The step where a key is edited."""
    return {"model.name": MODEL, "data.source": DATA, "data.eval_source": DATA}.get(key, SETTINGS)


def of_memory(state: State) -> list[Check]:
    """Whether it fits; that is an estimate, so it asks and does not refuse."""
    needs = state.needs
    if state.card and not needs:
        return [Check(WAIT, "the memory is being estimated", SETTINGS, ask="estimate")]
    if not needs or not needs.total:
        words = needs.unknown if needs else ""
        return [Check(WAIT, f"memory not estimated{f': {words}' if words else ''}", SETTINGS)]
    ask = "memory" if needs.fits == "no" else ""
    return [Check(FINE if needs.fits == "yes" else CARE, needs.line, SETTINGS, ask=ask)]


def of_disk(state: State) -> list[Check]:
    """Room for the checkpoints, each of the adapter and what the optimiser keeps."""
    adapter = dict(state.needs.parts).get("adapter", 0) if state.needs else 0
    wanted = min(adapter * (int(state.draft.value("train.keep")) + 2), MOST)
    if not state.disk_free:
        return []
    words = f"disk: {size(state.disk_free)} free" + (f", up to {size(wanted)} for checkpoints" if wanted else "")
    fits = wanted <= state.disk_free
    return [Check(FINE if fits else CARE, words, SETTINGS, ask="" if fits else "disk")]


def of_duration(state: State) -> list[Check]:
    """About how long it will train: no doubt, but good to know before."""
    lasting = state.lasting
    if not lasting:
        return []
    return [Check(FINE if lasting.seconds else WAIT, lasting.line, SETTINGS)]


def of_line(state: State) -> list[Check]:
    """Who trains here now: a run beside it makes both slower, so that is asked, and never done without a word."""
    ahead = state.ahead
    if not ahead:
        return []
    words = f"{ahead.here}: beside others each is slower, or lacks memory; q runs this after {short(ahead.last)}"
    return [Check(CARE, words, REVIEW, ask=BESIDE)]
