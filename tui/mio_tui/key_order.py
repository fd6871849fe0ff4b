"""Keys take effect in the order in which they were pressed, however fast they come.

Textual hands a key to the focused widget's queue and goes on to the next one; what no widget takes climbs to the app,
where bindings are looked up. So a letter that follows Tab reaches the field that Tab was to leave, and one that follows
Backspace is there before Backspace is heard. Here the next key waits until the one before is over: taken by a widget,
or bound, and the focus moved.
"""

from collections import deque
from collections.abc import Callable
from typing import TypeVar

from textual import events
from textual._callback import invoke
from textual.app import App
from textual.message_pump import MessagePump
from textual.timer import Timer

PATIENCE = 1.0  # seconds that a key may take before the next one is heard all the same
T = TypeVar("T")


class KeysInOrder(App[T]):
    """An app whose keys, and texts that are pasted, are handled one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self._pressed: deque[events.Key | events.Paste] = deque()
        self._handled: events.Key | events.Paste | None = None
        self._late: Timer | None = None
        self._moves: set[object] = set()  # of the focus, that the next key has to wait for

    async def on_event(self, event: events.Event) -> None:
        if not isinstance(event, events.Key | events.Paste) or event.is_forwarded:
            await super().on_event(event)
            return
        self._pressed.append(event)
        if self._handled is None:
            await self._handle_next()

    async def _handle_next(self) -> None:
        if self._handled is not None or not self._pressed or self._moves:
            return
        screen = self.screen
        if not screen.is_mounted and screen.is_attached:  # it was just opened: its first field has no focus yet
            screen.call_after_refresh(self.call_later, self._handle_next)
            return
        key = self._handled = self._pressed.popleft()
        self._late = self.set_timer(PATIENCE, lambda: self._over(key))
        target = self.focused or screen
        await super().on_event(key)
        if key.is_forwarded:
            self._follow(key, target)
        else:
            self._over(key)

    def before_keys(self, move: Callable[[], object]) -> None:
        """Call `move`, or await it, after the next refresh, and before the next key: it mounts what keys are meant for,
        or gives it the focus."""
        self._moves.add(move)
        begun = False

        async def moved() -> None:
            nonlocal begun
            if not begun:
                begun = True
                try:
                    await invoke(move)
                finally:
                    self._moves.discard(move)
                    self.call_later(self._handle_next)

        self.set_timer(PATIENCE, moved)  # whatever happens to the screen
        self.screen.call_after_refresh(moved)

    def _follow(self, key: events.Key | events.Paste, node: MessagePump) -> None:
        """Be told when `node` is through with the key, which it then gives to its parent unless it took it."""

        def passed() -> None:
            parent = node._parent  # pyright: ignore[reportPrivateUsage] - screens have theirs too
            if key._stop_propagation or parent is None:  # pyright: ignore[reportPrivateUsage]
                self._over(key)
            else:
                self._follow(key, parent)

        if not node.call_later(passed):  # it is gone
            self._over(key)

    def _over(self, key: events.Key | events.Paste) -> None:
        """The key did all that it does, but for what waits in the app's own queue: a change of the focus, say."""
        if self._handled is not key:
            return
        if self._late:
            self._late.stop()
        self._handled = self._late = None
        # behind what waits in the screen's queue: what a dialog that was answered leads to, another dialog say
        if not self.screen.call_later(self.call_later, self._handle_next):
            self.call_later(self._handle_next)
