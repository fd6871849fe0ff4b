"""What keys do to the panels' charts and texts, and to nothing else."""

from mio_tui.live.panels import Panels
from mio_tui.refresh_screen import RefreshScreen


class ChartKeys(RefreshScreen[None]):
    """The part of the live screen that moves what is drawn already."""

    panels: Panels

    def action_cursor(self, columns: int) -> None:
        """Move the crosshair."""
        self.panels.move_cursor(columns)

    def action_pan(self, share: float) -> None:
        """Move along x."""
        self.panels.pan(share)

    def action_zoom(self, factor: float) -> None:
        """Show less of x, or more."""
        self.panels.zoom(factor)

    def action_fit(self) -> None:
        """Show all of x."""
        self.panels.fit()

    def action_scroll_panel(self, rows: int) -> None:
        """Scroll the current panel."""
        self.panels.scroll(rows)
