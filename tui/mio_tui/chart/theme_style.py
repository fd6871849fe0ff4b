"""From a scene's style numbers to the colours of the theme."""

from rich.style import Style
from textual.color import Color
from textual.widget import Widget

from mio_tui.chart.scene import STYLES, THIN

# A theme that has one of these variables decides the colour; CSS alone could not name them, as Textual refuses to start
# over a variable that the theme lacks.
_VARIABLES = {"chosen": "chosen", "rejected": "rejected", "a": "run-a", "b": "run-b", "c": "run-c", "d": "run-d"}


def style_in_theme(chart: Widget, number: int) -> Style:
    """What a chart draws a style number in now."""
    name = STYLES[number % THIN]
    style = chart.get_component_rich_style(f"chart--{name}")
    variable = chart.app.theme_variables.get(_VARIABLES.get(name, ""))
    if variable:
        style += Style.from_color((chart.background_colors[1] + Color.parse(variable)).rich_color)
    return style + Style(dim=True) if number >= THIN else style
