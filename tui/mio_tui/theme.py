"""Two themes. Chosen is blue and rejected orange (Okabe and Ito's colours): told apart without full colour vision.

Their contrast is 8.1 and 8.3 to 1 on the dark background, 5.7 and 5.5 to 1 on the light one (WCAG's formula), and above
4.5 to 1 on every other ground of theirs. Of other themes `mio_tui.contrast` moves what cannot be read.
"""

from textual.theme import Theme

DARK = Theme(
    name="mio-dark",
    primary="#56B4E9",
    secondary="#8FB8D0",
    accent="#56B4E9",
    warning="#F0E442",
    error="#FF7B72",
    success="#7BC8A4",
    foreground="#E4E4E4",
    background="#121212",
    surface="#1A1A1A",
    panel="#242424",
    dark=True,
    variables={
        "chosen": "#56B4E9", "rejected": "#E69F00", "run-a": "#56B4E9", "run-b": "#E69F00", "run-c": "#F0E442",
        "run-d": "#FFFFFF", "border-blurred": "#3A3A3A", "footer-key-foreground": "#56B4E9",
        "block-cursor-foreground": "#121212",
    },
)  # fmt: skip

LIGHT = Theme(
    name="mio-light",
    primary="#006BA8",
    secondary="#3A6B85",
    accent="#006BA8",
    warning="#8A5A00",
    error="#B3261E",
    success="#18724A",
    foreground="#1B1B1B",
    background="#FFFFFF",
    surface="#F6F6F6",
    panel="#EAEAEA",
    dark=False,
    variables={
        "chosen": "#006BA8", "rejected": "#B04A00", "run-a": "#006BA8", "run-b": "#B04A00", "run-c": "#7A3E9D",
        "run-d": "#1B1B1B", "border-blurred": "#C4C4C4", "footer-key-foreground": "#006BA8",
        "block-cursor-foreground": "#FFFFFF",
    },
)  # fmt: skip

# where a theme that is not ours is chosen, or the terminal has 16 colours
DEFAULTS = {
    "chosen": "ansi_bright_cyan", "rejected": "ansi_yellow", "run-a": "ansi_bright_cyan", "run-b": "ansi_yellow",
    "run-c": "ansi_bright_magenta", "run-d": "ansi_bright_white",
}  # fmt: skip
