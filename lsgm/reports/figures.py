"""Figures in the style of the reports, ``lsgm.mplstyle`` beside this file.

Colours are those of the style, "C0" to "C5". Matplotlib looks them up when it draws:
whatever makes or draws a figure does so inside ``draw_png`` or ``STYLE``'s context.
"""

import io
import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE = pathlib.Path(__file__).parent / "lsgm.mplstyle"
# For lines that carry no data, such as marks and levels.
INK = "#3a4048"


def draw_png(size: tuple[float, float], fill: "Callable[[Figure], None]") -> bytes:
    """A PNG file's bytes of a figure that ``fill`` draws on.

    Args:
      size: width and height in inches; the style has 200 pixels to an inch.
    """
    import matplotlib.style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.style.context(STYLE):
        figure = Figure(figsize=size)
        fill(figure)
        file = io.BytesIO()
        FigureCanvasAgg(figure).print_png(file)
    return file.getvalue()
