"""Parquet files with a column of encoded images, as Hugging Face writes them.

    data/train-00000-of-00004.parquet ...     image: struct{bytes, path} or binary
                                              label: integer, perhaps

Only bytes that the file itself holds are read, unless ``image_root`` names the folder
that its paths lead into. Row groups are read one at a time, so reading in order is
fast and reading in a random order is not: prepare a large set before training on it.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lsgm import limits
from lsgm.data.errors import DataError
from lsgm.data.sources.base import require_split
from lsgm.data.sources.image_file import MAX_PIXELS
from lsgm.data.sources.labels import class_numbers_by_row
from lsgm.data.sources.layout import HINT, files_by_split, holder_notes
from lsgm.data.sources.stored import StoredExamples

IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMN = "label"
KEPT_GROUPS = 2


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ParquetExamples(StoredExamples):
    """Rows of one split: row group g holds rows starts[g] .. starts[g + 1] - 1."""

    groups: tuple[tuple[str, int], ...]  # (file, number of the row group in it)
    starts: np.ndarray
    column: str
    labels: np.ndarray | None
    image_root: str = ""

    def __len__(self) -> int:
        return int(self.starts[-1])

    def stored(self, i: int) -> bytes | pathlib.Path:
        g, row = self._place(i)
        try:
            value = row_group(*self.groups[g], self.column)[row].as_py()
        except (pa.ArrowException, OSError) as error:
            message = f"unreadable: {error}"
            raise DataError("root", self.name(i), message) from error
        if isinstance(value, dict):
            found = value.get("bytes")
            value = value.get("path") if found is None else found
        if isinstance(value, bytes):
            return value
        if not isinstance(value, str):
            raise DataError("root", self.name(i), "holds no bytes")
        return self._file(value, i)

    def name(self, i: int) -> str:
        g, row = self._place(i)
        file, number = self.groups[g]
        return f"{file}[row group {number}, row {row}]"

    def _file(self, path: str, i: int) -> pathlib.Path:
        """The file below ``image_root`` that a stored path names."""
        if not self.image_root:
            message = "holds no bytes but a path: image_root names the folder of paths"
            raise DataError("root", self.name(i), message)
        root = pathlib.Path(self.image_root).expanduser().resolve()
        file = (root / path).resolve()
        if not file.is_relative_to(root):
            message = f"{self.name(i)} leads out of it, to {path!r}"
            raise DataError("image_root", self.image_root, message)
        if not file.is_file():
            message = f"{self.name(i)} names {path!r}, and no such file is there"
            raise DataError("image_root", self.image_root, message)
        return file

    def _place(self, i: int) -> tuple[int, int]:
        g = int(np.searchsorted(self.starts, i, side="right")) - 1
        return g, i - int(self.starts[g])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parquet:
    """The images of all Parquet files below ``root``, in the order of their paths.

    Attributes:
      root: folder, or one file; ``~`` is expanded.
      labels: read the column "label" too.
      flat: file names say no split; everything is split "train".
      image_root: the folder that paths in the image column lead into, where the
        column holds paths instead of bytes; empty refuses paths.
      max_pixels: an encoded image of more is an error.
    """

    prepared: ClassVar[bool] = False

    root: str
    labels: bool = False
    flat: bool = False
    image_root: str = ""
    max_pixels: int = dataclasses.field(default=MAX_PIXELS, repr=False)

    def splits(self) -> tuple[str, ...]:
        return tuple(self._files())

    def open(self, split: str) -> ParquetExamples:
        files = self._files()
        if not files:
            raise DataError("root", self.root, HINT)
        require_split(split, files, self.root)
        heads = [_head(file) for file in files[split]]
        groups = [(head, g) for head in heads for g in range(head.num_groups)]
        rows = [head.rows[g] for head, g in groups]
        return ParquetExamples(
            groups=tuple((head.file, g) for head, g in groups),
            starts=np.cumsum([0, *rows]),
            column=_image_column(heads),
            labels=_labels(heads) if self.labels else None,
            image_root=self.image_root,
            max_pixels=self.max_pixels,
        )

    def notes(self) -> list[str]:
        """What lies below the root and is not read, in words."""
        return holder_notes(pathlib.Path(self.root).expanduser(), _is_parquet)

    def _files(self) -> dict[str, list[str]]:
        root = pathlib.Path(self.root).expanduser()
        return files_by_split(root, _is_parquet, flat=self.flat)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Head:
    """What a file says of itself."""

    file: str
    columns: tuple[str, ...]
    rows: tuple[int, ...]

    @property
    def num_groups(self) -> int:
        return len(self.rows)


@functools.lru_cache(maxsize=KEPT_GROUPS)
def row_group(file: str, number: int, column: str) -> Any:
    """One column of a row group; the last few stay in memory."""
    with pq.ParquetFile(file) as opened:
        return opened.read_row_group(number, columns=[column]).column(column)


def _head(file: str) -> Head:
    try:
        with pq.ParquetFile(file) as opened:
            about = opened.metadata
            groups = [about.row_group(g) for g in range(about.num_row_groups)]
            for group in groups:
                _require_ratio(group)
            rows = tuple(group.num_rows for group in groups)
            return Head(file=file, columns=tuple(opened.schema_arrow.names), rows=rows)
    except (pa.ArrowException, OSError, limits.TooLargeError) as error:
        message = f"unreadable Parquet: {error}"
        raise DataError("root", file, message) from error


def _require_ratio(group: Any) -> None:
    """Raise a TooLargeError where a row group would unpack to far more than it takes.

    Sizes are those that the file declares. Rows that share an entry of a dictionary
    count once.
    """
    columns = [group.column(c) for c in range(group.num_columns)]
    limits.require_ratio(
        sum(column.total_uncompressed_size for column in columns),
        sum(column.total_compressed_size for column in columns),
        "if it is your own, write it without compression",
    )


def _image_column(heads: Sequence[Head]) -> str:
    found = [c for c in IMAGE_COLUMNS if all(c in head.columns for head in heads)]
    if not found:
        columns = ", ".join(heads[0].columns)
        message = f"has no column 'image' (or 'img'), but {columns}"
        raise DataError("root", heads[0].file, message)
    return found[0]


def _labels(heads: Sequence[Head]) -> np.ndarray:
    for head in heads:
        if LABEL_COLUMN not in head.columns:
            message = f"{head.file} has no column 'label', but {head.columns}"
            raise DataError("labels", True, message)
    return np.concatenate([_labels_of(head.file) for head in heads])


def _labels_of(file: str) -> np.ndarray:
    column = pq.read_table(file, columns=[LABEL_COLUMN]).column(LABEL_COLUMN)
    whole = pa.types.is_integer(column.type) and not column.null_count
    try:
        # Arrow turns integers beside nulls into floats.
        return class_numbers_by_row(column.to_numpy() if whole else column.to_pylist())
    except ValueError as error:
        message = f"{file}, column 'label', {error}"
        raise DataError("labels", True, message) from error


def _is_parquet(path: pathlib.Path) -> bool:
    return path.is_file() and path.suffix == ".parquet"
