"""What keys do to the panels' charts and texts, and to nothing else."""

from dataclasses import replace

from mio_tui.live.panels import Panels
from mio_tui.live.plots import Look
from mio_tui.refresh_screen import RefreshScreen


class ChartKeys(RefreshScreen[None]):
    """The part of the live screen that moves what is drawn already."""

    panels: Panels
    view: Look

    def redraw(self) -> None:
        """Read and draw anew."""
        raise NotImplementedError

    def action_turn(self, what: str) -> None:
        """Change from the start or absolute; per token or per answer; pairs or rewards."""
        self.view = replace(self.view, **{what: not getattr(self.view, what)})
        self.redraw()

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
