"""Statistics of real images on disk, with all that they depend on.

One npz: pooled moments (``count``, ``mean``, ``scatter``, float64), the ``features``
of images drawn at random (float32; kernel distances and manifolds need features, and
so does the Frechet distance's error), and ``record``, JSON that says of what and how
they were made, with a SHA-256 over everything else. A file counts only for the
extractor, resolution, resize and bit depth that it was made with.
"""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

import lsgm
from lsgm.arrays import read_arrays
from lsgm.config import ConfigError
from lsgm.data.images import Images
from lsgm.data.pipeline import Data, require_kind
from lsgm.features.real_images import real_images
from lsgm.files import write_arrays
from lsgm.statistics.frechet import Moments, Sampled, moments

VERSION = 1
KEY = "evaluation.reference.path"
ARRAYS = ("count", "mean", "scatter", "features")
RECORD = "record"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reference:
    """Statistics of real images that ``experiments/build_reference.py`` wrote.

    Attributes:
      path: the file; it is opened when an evaluation starts.
    """

    path: str

    @property
    def provenance(self) -> dict[str, Any]:
        """The file's record.

        Raises:
          ConfigError: as ``read``.
        """
        return read(pathlib.Path(self.path)).record


class Statistics(NamedTuple):
    """Moments of all images, features of some, and their record."""

    sampled: Sampled
    record: dict[str, Any]


def build(
    data: Data,
    split: str,
    extractor: Any,
    *,
    num_bits: int,
    batch_size: int,
    num_features: int | None = None,
) -> Statistics:
    """Statistics of every image of a split; images and features stream.

    Args:
      extractor: an ``Extractor``.
      num_features: features that are kept, drawn at random; None for all.
    """
    size, seen = data.num_examples(split), hashlib.sha256()
    kept = np.zeros(size, bool)
    kept[np.random.default_rng(0).permutation(size)[:num_features]] = True
    features: list[np.ndarray] = []

    def stream() -> Iterator[np.ndarray]:
        start = 0
        for images in real_images(data, split, batch_size, num_bits=num_bits):
            seen.update(np.ascontiguousarray(images).data)
            batch = extractor(images)
            features.append(batch[kept[start : start + len(batch)]])
            start += len(batch)
            yield batch

    total = moments(stream())
    record = {
        "version": VERSION,
        "lsgm": lsgm.__version__,
        "source": data.origin,
        "split": split,
        "num_images": total.count,
        "images_sha256": seen.hexdigest(),
        **conditions(data, extractor, num_bits),
    }
    return Statistics(Sampled(total, np.concatenate(features)), record)


def conditions(data: Data, extractor: Any, num_bits: int) -> dict[str, Any]:
    """What has to agree between a reference and an evaluation."""
    images = require_kind(data, Images, "evaluation.extractor")
    found = {
        "extractor": extractor.provenance,
        "image_shape": images.image_shape,
        "grey": images.grey,
        "resize": images.resize,
        "num_bits": num_bits,
    }
    return json.loads(json.dumps(found))


def write(path: pathlib.Path, found: Statistics) -> dict[str, Any]:
    """Write the file; returns its record."""
    total, features = found.sampled
    values = (np.int64(total.count), total.mean, total.scatter, features)
    arrays: dict[str, Any] = dict(zip(ARRAYS, map(np.asarray, values), strict=True))
    record = found.record | {"content_sha256": digest(arrays, found.record)}
    words = np.frombuffer(json.dumps(record).encode(), np.uint8)
    arrays[RECORD] = words
    write_arrays(path, arrays)
    return record


def digest(arrays: dict[str, np.ndarray], record: dict[str, Any]) -> str:
    """SHA-256 over arrays, their names, types and shapes, and the record."""
    kept = {k: v for k, v in record.items() if k != "content_sha256"}
    found = hashlib.sha256(json.dumps(kept, sort_keys=True).encode())
    for name in ARRAYS:
        array = np.ascontiguousarray(arrays[name])
        found.update(f"{name} {array.dtype} {array.shape}\n".encode())
        found.update(array.tobytes())
    return found.hexdigest()


def read(path: pathlib.Path) -> Statistics:
    """What a file holds, checked against its checksum.

    Raises:
      ConfigError: no such file, or one that is damaged or something else.
    """
    remake = "make it anew with `python -m experiments.build_reference`"
    if not path.is_file():
        raise ConfigError(KEY, str(path), f"no such file; {remake}")
    try:
        found = read_arrays(path)
        record = json.loads(found[RECORD].tobytes())
        arrays = {name: found[name] for name in ARRAYS}
    except (OSError, ValueError, KeyError) as error:
        message = f"damaged, or no reference statistics ({error}); {remake}"
        raise ConfigError(KEY, str(path), message) from error
    if record.get("version") != VERSION:
        message = (
            f"version {record.get('version')}; version {VERSION} is read; {remake}"
        )
        raise ConfigError(KEY, str(path), message)
    if digest(arrays, record) != record.get("content_sha256"):
        message = f"its content_sha256 is another: damaged, or changed; {remake}"
        raise ConfigError(KEY, str(path), message)
    total = Moments(int(arrays["count"]), arrays["mean"], arrays["scatter"])
    return Statistics(Sampled(total, arrays["features"]), record)


def load(reference: Reference, data: Data, extractor: Any, num_bits: int) -> Statistics:
    """The statistics, if they are those that an evaluation needs.

    Raises:
      ConfigError: as ``read``, or they were made under other conditions; the message
        names the first that differs.
    """
    found = read(pathlib.Path(reference.path))
    made = _flat(found.record)
    for name, needed in _flat(conditions(data, extractor, num_bits)).items():
        if made.get(name) != needed:
            raise ConfigError(
                KEY,
                reference.path,
                f"made with {name} = {made.get(name)!r}, but here it is {needed!r}",
            )
    return found


def _flat(record: dict[str, Any]) -> dict[str, Any]:
    """The extractor's words beside the others."""
    rest = {name: value for name, value in record.items() if name != "extractor"}
    own = record.get("extractor", {})
    return rest | {f"extractor.{name}": value for name, value in own.items()}
