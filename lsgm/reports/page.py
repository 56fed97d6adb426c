"""One HTML file that shows what was measured: it opens offline, pictures inside.

The page is ``report.html`` beside this file, filled in by ``string.Template``. All
text is escaped; pictures are PNG, embedded in base64; nothing is fetched.
"""

import base64
import dataclasses
import html
import math
import pathlib
import string
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lsgm.statistics.estimate import Estimate

TEMPLATE = pathlib.Path(__file__).parent / "report.html"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metric(Estimate):
    """An estimate with what is needed to read it.

    Attributes:
      key: under which name the values of each example are stored, if they are.
    """

    label: str
    note: str = ""
    key: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figure:
    """A picture and what it shows.

    Attributes:
      png: the file's bytes.
      caption: what stands below it; none where the picture says it itself.
      alt: what a reader who does not see the picture is told; the caption if empty.
      density: image pixels to one of the page: 1 for pixels that are to be seen,
        2 for a drawing that is to look sharp.
    """

    png: bytes
    caption: str = ""
    alt: str = ""
    density: int = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Section:
    """Pictures under one heading."""

    title: str
    figures: Sequence[Figure]
    text: str = ""


def write_report(
    path: pathlib.Path,
    *,
    title: str,
    subtitle: str,
    headline: Sequence[Metric],
    sections: Sequence[Section],
    metrics: Mapping[str, Sequence[Metric]],
    card: Mapping[str, Any],
) -> None:
    """Write the page.

    Args:
      headline: the few numbers on top.
      sections: what is looked at, in order.
      metrics: the table, rows by group.
      card: where the numbers come from: checkpoint, sampler, seed, versions.
    """
    page = string.Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=html.escape(title),
        subtitle=html.escape(subtitle),
        headline=_lines(map(_tile, headline)),
        sections=_lines(map(_section, sections)),
        metrics=_lines(_group(name, rows) for name, rows in metrics.items()),
        card=_lines(
            f"<dt>{html.escape(name)}</dt><dd>{html.escape(str(value))}</dd>"
            for name, value in card.items()
        ),
    )
    path.write_text(page, encoding="utf-8")


def format_value(value: float | int, standard_error: float | None = None) -> str:
    """A number as people write it: to the second digit of its standard error, else
    to four digits; whole numbers whole."""
    if isinstance(value, int):
        return f"{value:,}"
    if not math.isfinite(value):
        return str(value)
    if standard_error and math.isfinite(standard_error):
        decimals = max(0, 1 - math.floor(math.log10(standard_error)))
        return f"{value:,.{min(decimals, 8)}f}"
    if value == 0 or 1e-4 <= abs(value) < 1e6:
        whole = len(str(int(abs(value)))) if abs(value) >= 1 else 0
        leading = 0 if whole or not value else -math.floor(math.log10(abs(value))) - 1
        return f"{value:,.{max(0, 4 - whole + leading)}f}"
    return f"{value:.3e}"


def style() -> str:
    """The pages' common style."""
    page = TEMPLATE.read_text(encoding="utf-8")
    return page.split("<style>")[1].split("</style>")[0].strip()


def _lines(parts: Iterable[str]) -> str:
    return "\n".join(parts)


def _tile(metric: Metric) -> str:
    value = format_value(metric.value, metric.standard_error)
    error = _error(metric)
    parts = ([f"± {error}"] if error else []) + [metric.unit]
    note = f'<dd class="note">{html.escape(metric.note)}</dd>' if metric.note else ""
    return (
        f'<div class="tile"><dt>{html.escape(metric.label)}</dt>'
        f"<dd>{value} <small>{html.escape(' '.join(parts))}</small></dd>{note}</div>"
    )


def _error(metric: Metric) -> str:
    if metric.standard_error is None:
        return ""
    return format_value(float(metric.standard_error), metric.standard_error)


def _group(name: str, rows: Sequence[Metric]) -> str:
    heading = f'<tr><th colspan="4" scope="rowgroup">{html.escape(name)}</th></tr>'
    return f"<tbody>{heading}\n{_lines(map(_row, rows))}\n</tbody>"


def _row(metric: Metric) -> str:
    note = f"<small>{html.escape(metric.note)}</small>" if metric.note else ""
    return (
        f'<tr><th scope="row">{html.escape(metric.label)}{note}</th>'
        f'<td class="number">{format_value(metric.value, metric.standard_error)}</td>'
        f'<td class="number">{_error(metric)}</td>'
        f"<td>{html.escape(metric.unit)}</td></tr>"
    )


def _section(section: Section) -> str:
    text = f'<p class="soft">{html.escape(section.text)}</p>' if section.text else ""
    figures = _lines(map(figure_html, section.figures))
    return (
        f"<section>\n<h2>{html.escape(section.title)}</h2>\n{text}\n"
        f'<div class="figures">\n{figures}\n</div>\n</section>'
    )


def figure_html(figure: Figure) -> str:
    """A figure as HTML, its picture inside."""
    width, height = (size // figure.density for size in png_size(figure.png))
    kind = ' class="pixels"' if figure.density == 1 else ""
    data = base64.b64encode(figure.png).decode("ascii")
    caption = html.escape(figure.caption)
    below = f"<figcaption>{caption}</figcaption>" if caption else ""
    return (
        f'<figure><img{kind} width="{width}" height="{height}" '
        f'alt="{html.escape(figure.alt or figure.caption)}" '
        f'src="data:image/png;base64,{data}">{below}</figure>'
    )


def png_size(png: bytes) -> tuple[int, int]:
    """Width and height of a PNG file, from its header.

    Raises:
      ValueError: the bytes are not a PNG file.
    """
    if png[:8] != b"\x89PNG\r\n\x1a\n" or png[12:16] != b"IHDR":
        raise ValueError("not a PNG file")
    return struct.unpack(">II", png[16:24])
