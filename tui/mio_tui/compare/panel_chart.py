"""A chart whose view changes while it is on the screen."""

from mio_tui.chart import Chart
from mio_tui.compare.curves import Panel, View


class PanelChart(Chart):
    """One panel of the comparison."""

    def look(self, panel: Panel, view: View, x_end: float | None, log: bool) -> None:
        """Draw the panel as it is looked at."""
        if view.axis != self.x_kind:
            self.x_kind = view.axis
            self.set_cursor(None)
            self.fit()
        self.y_format = panel.y_format
        log = log and panel.log
        self.smoothing, self.log_y = view.smooth, log
        self.show(panel.curves, panel.guides, x_end, None if log else panel.y_fixed)
