"""What would help with the data that was named, each a button: a setting for what is wrong, a file to hold out."""

import os
import re

from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Button

from mio_tui.formatting import line
from mio_tui.new.draft import KEYS
from mio_tui.new.key_field import choices

REMEDY = re.compile(r"--set (data\.\w+)=\w+")
WORDS = {"skip": "leave such rows out", "cut": "cut the start of such prompts"}
HELD_OUT = ("valid", "validation", "val", "test", "eval", "dev")
HELD_OUT_KEY = "data.eval_source"


class Remedies(Horizontal):
    """The buttons; nothing where nothing would help."""

    DEFAULT_CSS = """
    Remedies {
        height: auto; display: none;
        Button { min-width: 0; width: auto; margin-right: 2; }
        Button:focus { text-style: bold reverse; }
        &.-shown { display: block; }
    }
    """

    class Chosen(Message):
        """A key is to have this value."""

        def __init__(self, key: str, value: str) -> None:
            super().__init__()
            self.key, self.value = key, value

    def tell(self, trouble: str, held_out: str) -> None:
        """Offer what helps with `trouble`, an error's words; where there is none, the file `held_out`, if any."""
        keys = [key for key in dict.fromkeys(REMEDY.findall(trouble)) if key in KEYS and choices(key)]
        made = {f"{key}={value}": f"{WORDS.get(value, value)} ({key}={value})"
                for key in keys for value, _ in choices(key) if value != "error"}  # fmt: skip
        if held_out and not trouble:
            made[f"{HELD_OUT_KEY}={held_out}"] = f"{os.path.basename(held_out)} is here: hold it out"
        self.set_class(bool(made), "-shown")
        if [button.name for button in self.query(Button)] != list(made):
            self.remove_children()
            self.mount_all(Button(line(f" {words} "), name=name, compact=True) for name, words in made.items())

    def on_button_pressed(self, event: Button.Pressed) -> None:
        event.stop()
        key, _, value = (event.button.name or "").partition("=")
        self.post_message(self.Chosen(key, value))


def beside(source: str) -> str:
    """A file beside the data that is named as held-out ones are; "" where there is none. Slow where the disk is."""
    folder, name = os.path.split(source)
    stem, ending = os.path.splitext(name)
    if not ending or stem in HELD_OUT:
        return ""
    paths = (os.path.join(folder, f"{word}{ending}") for word in HELD_OUT)
    return next((path for path in paths if os.path.isfile(os.path.expanduser(path))), "")
