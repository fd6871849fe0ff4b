"""How long to train, as one choice of three for epochs and steps."""

from mio_tui.new.draft import KEYS, Draft

EFFORT = "effort"  # no key of the recipe: it stands for two of them
NORMAL = KEYS["train.epochs"].default
EFFORTS = [  # (epochs, words)
    ("0.1", "quick (0.1 epochs)"),
    (f"{NORMAL:g}", f"normal ({NORMAL:g})"),
    (f"{3 * NORMAL:g}", f"long ({3 * NORMAL:g})"),
]
OWN = "as below"


def effort_of(draft: Draft) -> str:
    """The epochs of the effort that a draft makes; OWN where it has steps, or other epochs."""
    epochs = draft.value("train.epochs")
    found = next((value for value, _ in EFFORTS if float(value) == epochs), OWN)
    return OWN if draft.value("train.steps") else found
