"""The line that a question is typed into."""

from textual import events
from textual.widgets import Input


class Question(Input):
    """An input that takes all lines of what is pasted, as one."""

    def _on_paste(self, event: events.Paste) -> None:
        lines = event.text.splitlines()
        event.prevent_default()
        event.stop()
        self.replace(" ".join(lines), *self.selection)
        if len(lines) > 1:
            self.notify(f"{len(lines)} lines became one: a question is a line here", markup=False)
