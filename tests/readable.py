"""Whether a figure's text can be read: large enough, inside the figure, no tick on another."""

from __future__ import annotations

import itertools

from matplotlib.text import Text


def tick_labels(axis):
    """Return the labels that an axis shows, and those that it keeps beyond its ends."""
    low, high = sorted(axis.get_view_interval())
    ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
    labels = [(tick.get_loc(), label) for tick in ticks for label in (tick.label1, tick.label2)]
    inside = [label for place, label in labels if low <= place <= high]
    return inside, [label for _, label in labels if label not in inside]


def check_text(figure):
    """Check the size and place of every text, and that labels of ticks do not overlap."""
    figure.canvas.draw()
    axes = [axis for panel in figure.axes for axis in (panel.xaxis, panel.yaxis)]
    ticks = [tick_labels(axis) for axis in axes]
    hidden = {label for _, beyond in ticks for label in beyond}
    for text in set(figure.findobj(Text)) - hidden:
        box = text.get_window_extent()
        if text.get_text().strip() and text.get_visible() and box.width:
            assert text.get_fontsize() >= 6.0, text
            assert box.x0 >= -1 and box.x1 <= figure.bbox.x1 + 1, text
            assert box.y0 >= -1 and box.y1 <= figure.bbox.y1 + 1, text
    for axis, (inside, _) in zip(axes, ticks, strict=True):
        ends = ("x0", "x1") if axis.axis_name == "x" else ("y0", "y1")
        boxes = [x.get_window_extent() for x in inside if x.get_text() and x.get_visible()]
        spans = sorted(tuple(getattr(box, end) for end in ends) for box in boxes)
        for (_, end), (start, _) in itertools.pairwise(spans):
            assert end <= start + 1, (axis, inside)
