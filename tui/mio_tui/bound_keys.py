"""The keys that work on a screen, by what they are for; help shows them, and the palette offers them."""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

from textual.app import App, SystemCommand
from textual.binding import Binding
from textual.screen import ActiveBinding, Screen
from textual.widgets import Input

from mio_tui.base import MOVING

# tab, ^c and the like: what Textual binds on every screen
BOUND = {binding.action for base in (App, Screen) for binding in Binding.make_bindings(base.BINDINGS)}
EVERYWHERE = BOUND | {"command_palette", "app.command_palette"}  # help names the palette by itself
TYPING = "← → ^a ^e ^← ^→ move, ^w ^u ^k cut: the usual keys edit text"


class Keys(NamedTuple):
    """(keys, what they do) of what the screen is for, those in its footer first; of moving about; and of typing."""

    doing: list[tuple[str, str]]
    moving: list[tuple[str, str]]
    typing: str


def keys_of(screen: Screen[object]) -> Keys:
    """Each action once, in the order in which the screen lists them, the app's last."""
    shown: dict[str, tuple[list[str], ActiveBinding]] = {}
    for active in _own(screen):
        keys, _ = shown.setdefault(f"{active.binding.action} {active.binding.description}", ([], active))
        key = screen.app.get_key_display(active.binding)
        if key not in keys:
            keys.append(key)
    from textual.widgets import TextArea  # here: the first screen is drawn without it

    found = Keys([], [], TYPING if isinstance(screen.focused, Input | TextArea) else "")
    for keys, active in sorted(shown.values(), key=lambda one: not one[1].binding.show):
        binding = active.binding
        what = f"{binding.description}: {binding.tooltip}" if binding.tooltip else binding.description
        part = found.moving if binding.group == MOVING else found.doing
        part.append((" ".join(keys), what))
    return found


def in_palette(screen: Screen[object]) -> Iterator[SystemCommand]:
    """What the screen's own keys do, moving about left out."""
    for active in _own(screen):
        binding = active.binding
        if binding.group != MOVING:
            key = screen.app.get_key_display(binding)
            words = f"{binding.tooltip}: {key}" if binding.tooltip else f"key {key}"
            yield SystemCommand(binding.description, words, partial(screen.app.run_action, binding.action, active.node))


def _own(screen: Screen[object]) -> Iterator[ActiveBinding]:
    """The bindings that work now and say what they do, but for those of Textual's own, as everybody knows them."""
    for active in screen.active_bindings.values():
        library = type(active.node).__module__.startswith("textual.")
        everywhere = library or active.binding.action in EVERYWHERE
        if active.binding.description and active.enabled and not everywhere:
            yield active
