"""Figures that a notebook shows, in the report's style; importing this loads Matplotlib."""

import io
from collections.abc import Callable

import matplotlib
from matplotlib.figure import Figure

from edgeprune.report.plots import canvas


class NotebookFigure(Figure):
    """A Matplotlib figure that a notebook shows by itself, whether or not pyplot was imported."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=110)
        return buffer.getvalue()


def figure(size: tuple[float, float], paint: Callable[[Figure], None]) -> NotebookFigure:
    """Draw a figure in the report's style and colors, dark on white.

    Args:
        size: Width and height in inches.
        paint: Draws on the figure.
    """
    canvas.use(canvas.LIGHT)
    with matplotlib.rc_context({**canvas.STYLE, "figure.facecolor": "white"}):
        made = NotebookFigure(figsize=size)
        paint(made)
        made.draw_without_rendering()
    return made
