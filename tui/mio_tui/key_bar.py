"""The line of keys at a screen's foot: one widget, drawn anew only where the keys that apply have changed.

Textual's Footer mounts a widget for each key and composes all of them anew at every change of focus, which took most of
the time that Tab takes.
"""

from typing import Any, ClassVar, NamedTuple

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.screen import Screen
from textual.strip import Strip
from textual.widget import Widget


class Key(NamedTuple):
    """A key that applies now; one that is not enabled is dimmed."""

    key: str
    shown: str
    description: str
    enabled: bool


class KeyBar(Widget, can_focus=False):
    """Keys with what they do, as far as the line holds them; a click on one presses it."""

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    KeyBar {
        dock: bottom; height: 1; background: $panel; color: $footer-foreground;
        & > .key-bar--key { color: $footer-key-foreground; text-style: bold; }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"key-bar--key"}

    def __init__(self) -> None:
        super().__init__()
        self._keys: tuple[Key, ...] = ()

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._follow)
        self._follow(self.screen)

    def on_unmount(self) -> None:
        self.screen.bindings_updated_signal.unsubscribe(self)

    def render_line(self, y: int) -> Strip:
        said = self.rich_style
        key_style = self.get_component_rich_style("key-bar--key")
        blank = Style(bgcolor=said.bgcolor)
        segments: list[Segment] = []
        for key in self._keys:
            dim = Style(dim=not key.enabled or None)
            segments += [Segment(key.shown, key_style + dim), Segment(f" {key.description}", said + dim),
                         Segment(" ", blank)]  # fmt: skip
        return Strip(segments).adjust_cell_length(self.size.width, blank)

    def on_mouse_down(self, event: events.MouseDown) -> None:
        left = 0
        for key in self._keys:
            left += cell_len(f"{key.shown} {key.description} ")
            if event.x < left:
                if key.enabled:
                    self.app.simulate_key(key.key)
                return

    def _follow(self, screen: Screen[Any]) -> None:
        if not self.is_attached or screen is not self.screen or not self.app.app_focus:
            return
        by_action: dict[str, Key] = {}  # the first key of each action stands for all of them
        for _, binding, enabled, _ in screen.active_bindings.values():
            if binding.show and binding.action not in by_action:
                shown = self.app.get_key_display(binding)
                by_action[binding.action] = Key(binding.key, shown, binding.description, enabled)
        keys = tuple(by_action.values())
        if keys != self._keys:
            self._keys = keys
            self.refresh()
