"""Labels beside the points of a plot, placed to cover neither points nor one another."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeprune.report.plots import canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DIRECTIONS = ((1, 0), (1, 1), (1, -1), (0, 1), (0, -1), (-1, 0), (-1, 1), (-1, -1))
_OFF_THE_FRONT = ((-1, 1), (1, -1), (0, 1), (0, -1), *_DIRECTIONS)  # whose line rises to the right
_REACHES_PT = (8.0, 15.0, 24.0, 36.0)
_WIDTH_OF_A_LETTER = 0.58  # of the font's size; DejaVu Sans is wide
_HEIGHT_OF_A_LINE = 1.25
_POINT_PT = 5.0
_FAR_PT = 12.0  # from here on a thin line leads to the point

Box = tuple[float, float, float, float]  # left, bottom, right, top


@dataclass(frozen=True)
class Label:
    """A text for the point (x, y) of the data; bold for a point on the front."""

    x: float
    y: float
    text: str
    bold: bool = False


def place(axes: "Axes", labels: Sequence[Label], size_pt: float) -> None:
    """Write each label where it covers least, near its point; the axes must have their final size and limits."""
    scale = 72 / axes.figure.dpi
    points = [axes.transData.transform((label.x, label.y)) * scale for label in labels]
    frame = axes.get_window_extent()
    inside = tuple(edge * scale for edge in (frame.x0, frame.y0, frame.x1, frame.y1))
    taken: list[Box] = [(x - _POINT_PT, y - _POINT_PT, x + _POINT_PT, y + _POINT_PT) for x, y in points]
    for label, (x, y) in zip(labels, points, strict=True):
        width = _WIDTH_OF_A_LETTER * size_pt * len(label.text)
        height = _HEIGHT_OF_A_LINE * size_pt
        candidates = _candidates(x, y, width, height, _OFF_THE_FRONT if label.bold else _DIRECTIONS)
        offset, box = min(candidates, key=lambda each: _cost(each[1], taken, inside))
        taken.append(box)
        _write(axes, label, offset, size_pt)


def _candidates(
    x: float, y: float, width: float, height: float, directions: Sequence[tuple[int, int]]
) -> list[tuple[tuple[float, float], Box]]:
    """List offsets of a text's center from its point, with the box that the text then fills, near ones first."""
    found = []
    for reach in _REACHES_PT:
        for right, up in directions:
            slant = 0.75 if right and up else 1.0
            dx = right * (slant * reach + width / 2)
            dy = up * (slant * reach + height / 2) if not right else up * slant * reach
            box = (x + dx - width / 2, y + dy - height / 2, x + dx + width / 2, y + dy + height / 2)
            found.append(((dx, dy), box))
    return found


def _cost(box: Box, taken: Sequence[Box], inside: tuple[float, ...]) -> float:
    """Area of a box that overlaps others or lies outside the axes."""
    left, bottom, right, top = box
    within = max(0.0, min(right, inside[2]) - max(left, inside[0])) * max(
        0.0, min(top, inside[3]) - max(bottom, inside[1])
    )
    outside = (right - left) * (top - bottom) - within
    return outside + sum(_shared(box, other) for other in taken)


def _shared(one: Box, other: Box) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, width) * max(0.0, height)


def _write(axes: "Axes", label: Label, offset: tuple[float, float], size_pt: float) -> None:
    far = max(abs(offset[0]), abs(offset[1])) - _WIDTH_OF_A_LETTER * size_pt * len(label.text) / 2 > _FAR_PT
    lead = {"arrowstyle": "-", "color": canvas.GRID, "linewidth": 0.8, "shrinkA": 0, "shrinkB": 4} if far else None
    axes.annotate(
        label.text,
        (label.x, label.y),
        offset,
        textcoords="offset points",
        ha="center",
        va="center",
        fontsize=size_pt,
        fontweight="bold" if label.bold else "normal",
        color=canvas.INK if label.bold else canvas.MUTED,
        arrowprops=lead,
    )
