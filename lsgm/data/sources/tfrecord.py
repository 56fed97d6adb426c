"""TFRecords of images, read by index, without TensorFlow.

A file is a row of records, all numbers little-endian, the checksums
those of Castagnoli's polynomial (CRC-32C), rotated and shifted:

    uint64 length | uint32 masked(length) | data | uint32 masked(data),        (1)
    masked = (crc >> 15 | crc << 17) + 0xa282ead8  mod 2^32.                   (2)

Each record is a ``tf.train.Example`` that holds either an encoded image, as
``image/encoded`` or ``image``, or raw bytes as ``data`` with ``shape``, [h, w, c]
or [c, h, w], as the CelebA-HQ records of Glow and of progressive GANs do. Lengths
are read once, when a split is opened; checksums whenever a record is. Needs the extra
``.[tfrecord]``.
"""

import dataclasses
import os
import pathlib
import struct
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from google.protobuf.message import DecodeError

from lsgm.data.errors import DataError
from lsgm.data.sources import tf_example
from lsgm.data.sources.base import require_split
from lsgm.data.sources.image_file import MAX_PIXELS
from lsgm.data.sources.labels import class_number
from lsgm.data.sources.layout import HINT, files_by_split, holder_notes
from lsgm.data.sources.stored import StoredExamples
from lsgm.optional import MissingExtra, require

HEADER = struct.Struct("<QI")
FOOTER = struct.Struct("<I")
ENCODED = ("image/encoded", "image")
LABELS = ("label", "image/class/label")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TFRecordExamples(StoredExamples):
    """Records of one split: file f holds examples starts[f] .. starts[f + 1] - 1."""

    files: tuple[str, ...]
    starts: np.ndarray
    offsets: np.ndarray  # of the record's data, [n]
    lengths: np.ndarray  # of the record's data, [n]
    labels: np.ndarray | None

    def __len__(self) -> int:
        return len(self.offsets)

    def stored(self, i: int) -> bytes | np.ndarray:
        try:
            return image_of(self.features(i))
        except (ValueError, DecodeError, OSError) as error:
            message = f"unreadable: {error}"
            raise DataError("root", self.name(i), message) from error

    def features(self, i: int) -> dict[str, list[Any]]:
        """What record ``i`` holds, its checksum tested.

        Raises:
          ValueError: the checksum is wrong, or the file ends before the record does.
        """
        length = int(self.lengths[i])
        path = self.files[self._file(i)]
        with open(path, "rb") as file:
            file.seek(int(self.offsets[i]))
            raw = file.read(length + FOOTER.size)
        if len(raw) < length + FOOTER.size:
            raise ValueError("the file ends inside the record")
        data = raw[:length]
        if masked(data, path) != FOOTER.unpack(raw[length:])[0]:
            raise ValueError("the record does not have its checksum")
        return tf_example.features(data)

    def name(self, i: int) -> str:
        f = self._file(i)
        return f"{self.files[f]}[{i - self.starts[f]}]"

    def _file(self, i: int) -> int:
        return int(np.searchsorted(self.starts, i, side="right")) - 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class TFRecord:
    """All files below ``root`` with ".tfrecord" in their name, in path order.

    Attributes:
      root: folder, or one file; ``~`` is expanded.
      labels: read ``label`` or ``image/class/label`` too, which costs a pass over
        the data when a split is opened.
      flat: file names say no split; everything is split "train".
      max_pixels: an encoded image of more is an error.
    """

    prepared: ClassVar[bool] = False

    root: str
    labels: bool = False
    flat: bool = False
    max_pixels: int = dataclasses.field(default=MAX_PIXELS, repr=False)

    def splits(self) -> tuple[str, ...]:
        return tuple(self._files())

    def open(self, split: str) -> TFRecordExamples:
        files = self._files()
        if not files:
            raise DataError("root", self.root, HINT)
        require_split(split, files, self.root)
        spans = [index(file) for file in files[split]]
        examples = TFRecordExamples(
            files=tuple(files[split]),
            starts=np.cumsum([0, *map(len, spans)]),
            offsets=np.concatenate(spans)[:, 0],
            lengths=np.concatenate(spans)[:, 1],
            labels=None,
            max_pixels=self.max_pixels,
        )
        if not len(examples):
            raise DataError("root", self.root, "holds no record")
        if not self.labels:
            return examples
        return dataclasses.replace(examples, labels=_labels(examples))

    def notes(self) -> list[str]:
        """What lies below the root and is not read, in words."""
        return holder_notes(pathlib.Path(self.root).expanduser(), _is_tfrecord)

    def _files(self) -> dict[str, list[str]]:
        root = pathlib.Path(self.root).expanduser()
        return files_by_split(root, _is_tfrecord, flat=self.flat)


def index(path: str) -> np.ndarray:
    """(offset, length) of the data of every record of a file, Eq. (1): [n, 2].

    Raises:
      DataError: no TFRecord, or one that is compressed or cut short; or the extra is
        missing.
    """
    spans, size = [], os.path.getsize(path)
    with open(path, "rb") as file:
        while (start := file.tell()) < size:
            header = file.read(HEADER.size)
            length, crc = HEADER.unpack(header.ljust(HEADER.size, b"\0"))
            end = start + HEADER.size + length + FOOTER.size
            if masked(header[:8], path) != crc or end > size:
                message = f"no record at byte {start}: cut short, or compressed"
                raise DataError("root", path, message)
            spans.append((start + HEADER.size, length))
            file.seek(end)
    return np.array(spans, np.int64).reshape(-1, 2)


def image_of(features: Mapping[str, list[Any]]) -> bytes | np.ndarray:
    """The encoded image, or the pixels uint8 [h w c], that an example holds.

    Raises:
      ValueError: it holds neither.
    """
    for name in ENCODED:
        if features.get(name):
            (value,) = features[name]
            if not isinstance(value, bytes):
                raise ValueError(f"{name!r} holds numbers, not an encoded image")
            return value
    if not features.get("data") or len(features.get("shape", ())) != 3:
        found = ", ".join(sorted(features))
        message = "expected 'image/encoded', 'image', or 'data' with 'shape'"
        raise ValueError(f"{message}, found {found}")
    a, b, c = shape = features["shape"]
    # Both ends may be 1 or 3; then the image is the square one.
    first = a in (1, 3) and (c not in (1, 3) or (a != b and b == c))
    if min(shape) < 1 or not (first or c in (1, 3)):
        raise ValueError(f"shape {shape} is neither [h, w, c] nor [c, h, w], c 1 or 3")
    image = np.frombuffer(features["data"][0], np.uint8).reshape(a, b, c)
    return np.moveaxis(image, 0, 2) if first else image


def _labels(examples: TFRecordExamples) -> np.ndarray:
    labels = []
    for i in range(len(examples)):
        try:
            features = examples.features(i)
            label = next(features[name] for name in LABELS if name in features)
            labels.append(class_number(label[0] if len(label) == 1 else label))
        except (ValueError, DecodeError, OSError, StopIteration) as error:
            message = f"{examples.name(i)} has no readable label: {error}"
            raise DataError("labels", True, message) from error
    return np.array(labels, np.int32)


def masked(data: bytes, path: str) -> int:
    """The checksum of ``data``, which stands in file ``path``, Eq. (2).

    Raises:
      DataError: the extra is missing.
    """
    try:
        crc = require("google_crc32c", "tfrecord", "reading it").value(data)
    except MissingExtra as error:
        raise DataError("root", path, str(error)) from error
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _is_tfrecord(path: pathlib.Path) -> bool:
    return path.is_file() and ".tfrecord" in path.name
