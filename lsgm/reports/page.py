"""One HTML file that shows what was measured: it opens offline, pictures inside.

The page is the template ``report.html`` beside this file. All text is escaped;
pictures are PNG, embedded in base64; nothing is fetched.
"""

import base64
import dataclasses
import math
import pathlib
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from lsgm.files import write_file
from lsgm.reports.templates import render
from lsgm.statistics.estimate import Estimate


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metric(Estimate):
    """An estimate with what is needed to read it.

    Attributes:
      key: under which name the values of each example are stored, if they are.
    """

    label: str
    note: str = ""
    key: str = ""

    @property
    def text(self) -> str:
        """The value as people write it."""
        return format_value(self.value, self.standard_error)

    @property
    def error(self) -> str:
        """The standard error as people write it; empty where there is none."""
        if self.standard_error is None:
            return ""
        return format_value(float(self.standard_error), self.standard_error)


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

    @property
    def width(self) -> int:
        """In pixels of the page."""
        return png_size(self.png)[0] // self.density

    @property
    def height(self) -> int:
        """In pixels of the page."""
        return png_size(self.png)[1] // self.density

    @property
    def base64(self) -> str:
        """The file's bytes, as a data URL holds them."""
        return base64.b64encode(self.png).decode("ascii")


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
    page = render(
        "report.html",
        title=title,
        subtitle=subtitle,
        headline=headline,
        sections=sections,
        metrics=metrics,
        card=card,
    )
    write_file(path, page)


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


def png_size(png: bytes) -> tuple[int, int]:
    """Width and height of a PNG file, from its header.

    Raises:
      ValueError: the bytes are not a PNG file.
    """
    if png[:8] != b"\x89PNG\r\n\x1a\n" or png[12:16] != b"IHDR":
        raise ValueError("not a PNG file")
    return struct.unpack(">II", png[16:24])
