"""Write a data set that TFDS reads: ArrayRecord files, without TensorFlow.

Any source can be prepared once and then read fast, whatever it was: images become
PNG inside ``<data_dir>/<name>/<version>``, which both ``lsgm.data.sources.tfds_source``
and ``tfds.data_source`` open. A name and version that TFDS knows ("fashion_mnist",
"3.0.1") make it the official set.

Images are encoded part by part (``parts``) in ``<version>.partial``, where TFDS then
shuffles and shards them; the finished set takes its place in one rename. What was
encoded when a preparation is stopped is not encoded again.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np
import PIL
import tensorflow_datasets as tfds
from tensorflow_datasets.core import registered
from tqdm import tqdm

import lsgm
from lsgm.data.errors import DataError
from lsgm.data.fit import Fit
from lsgm.data.preparation import duplicates, manifest, parts
from lsgm.data.sizes import require_one_size
from lsgm.data.sources import image_file
from lsgm.data.sources.base import Examples
from lsgm.files import write_file

PLAN = "plan.json"
Unreadable = Literal["fatal", "skip"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prepared:
    """The outcome: its folder, how many images were encoded, what was left out, and
    what it holds twice (``duplicates``), in words."""

    folder: pathlib.Path
    num_encoded: int
    skipped: list[dict[str, str]]
    copies: list[str]


def prepare(
    splits: Mapping[str, Examples],
    *,
    name: str,
    data_dir: str,
    version: str = "1.0.0",
    fit: Fit | None = None,
    unreadable: Unreadable = "fatal",
    num_processes: int = 1,
    near_duplicates: bool = False,
    about: Mapping[str, Any] | None = None,
) -> Prepared:
    """Write the splits as TFDS data set ``name``, or go on writing them.

    Args:
      fit: brings the images to one shape; by default all must have the shape of
        the first.
      unreadable: what an unreadable image does: end the preparation, or be left out
        and listed in ``preparation.json``.
      near_duplicates: count images of one split that nearly are one of another.
      num_processes: that encode; they do not change what is written.
      about: what ``preparation.json`` is to say of the images' origin.

    Raises:
      DataError: an image that does not fit, or is unreadable, or a label that is no
        class number; names the file.
      ValueError: no split, an empty one, or another preparation
        of that version is unfinished.
      FileExistsError: that version of the set is there already.
    """
    folder = pathlib.Path(data_dir).expanduser() / name / version
    if folder.exists():
        raise FileExistsError(
            f"{folder} is there already: remove it first, or give another version"
        )
    if not splits or not all(map(len, splits.values())):
        raise ValueError(f"no split, or an empty one: {list(splits)}")
    skip = unreadable == "skip"
    first = _first_readable(splits, skip)
    fit = fit or Fit(image_shape=first[0].shape(first[1]), grey=False, resize="none")
    # Before a folder is claimed: most mistakes show in any image.
    fit.check(first[0].shape(first[1]), first[0].name(first[1]))
    if fit.resize != "none":
        require_one_size(splits)
    partial = folder.with_name(f"{version}.partial")
    _claim(partial, _plan(splits, fit))
    encoder = parts.PartEncoder(
        splits=splits, fit=fit, folder=partial / "parts", skip=skip
    )
    num_encoded = parts.encode(encoder, num_processes, name)
    records = _records(encoder)
    skipped = [entry for record in records.values() for entry in record["skipped"]]
    if skipped and not skip:
        raise ValueError(f"{skipped[0]['name']} was skipped: {skipped[0]['reason']}")
    described = {"name": name, "version": version, "lsgm": lsgm.__version__}
    described |= dict(about or {}) | dataclasses.asdict(fit)
    described |= {"splits": _summary(encoder, records), "skipped": skipped}
    described["duplicates"] = exact = _exact(encoder, records)
    copies = duplicates.told(exact, "same pixels")
    if near_duplicates:
        described["near_duplicates"] = near = _near(encoder)
        copies += duplicates.told(near, "nearly the same")
    written = _write(name, version, encoder, records, partial)
    manifest.write(written, described)
    os.replace(written, folder)
    shutil.rmtree(partial)
    return Prepared(
        folder=folder, num_encoded=num_encoded, skipped=skipped, copies=copies
    )


def _first_readable(splits: Mapping[str, Examples], skip: bool) -> tuple[Examples, int]:
    """The first image, or the first readable one."""
    for examples in splits.values():
        for i in range(len(examples)):
            try:
                examples.shape(i)
                return examples, i
            except DataError:
                if not skip:
                    raise
    raise ValueError("no image is readable")


def _plan(splits: Mapping[str, Examples], fit: Fit) -> dict[str, Any]:
    """All that the encoded parts depend on."""
    names = {}
    for split, examples in splits.items():
        hashed = hashlib.sha256()
        for i in range(len(examples)):
            hashed.update(examples.name(i).encode(errors="surrogateescape") + b"\0")
        names[split] = [len(examples), hashed.hexdigest()]
    fitted = dataclasses.asdict(fit) | {"image_shape": list(fit.image_shape)}
    return {"splits": names, "fit": fitted, "pillow": PIL.__version__}


def _claim(partial: pathlib.Path, plan: Mapping[str, Any]) -> None:
    """Make the folder of an unfinished preparation, or see that it is of this one."""
    path = partial / PLAN
    (partial / "parts").mkdir(parents=True, exist_ok=True)
    if path.exists() and json.loads(path.read_text()) != plan:
        raise ValueError(
            f"{partial} holds an unfinished preparation from other images, or to "
            "another shape: remove it, or give another version"
        )
    write_file(path, json.dumps(plan))


Records = Mapping[parts.Part, Mapping[str, Any]]


def _records(encoder: parts.PartEncoder) -> Records:
    return {p: parts.record(encoder.folder / p.file) for p in encoder.parts()}


def _digests(encoder: parts.PartEncoder, records: Records) -> dict[str, list[str]]:
    """Of the pixels of each image, by split."""
    digests: dict[str, list[str]] = {split: [] for split in encoder.splits}
    for part, record in records.items():
        digests[part.split] += [e["sha256"] for e in record["examples"].values()]
    return digests


def _exact(encoder: parts.PartEncoder, records: Records) -> dict[str, Any]:
    return duplicates.exact_copies(_digests(encoder, records))


def _near(encoder: parts.PartEncoder) -> dict[str, Any]:
    """Near copies, from the encoded images."""
    hashes: dict[str, list[np.uint64]] = {split: [] for split in encoder.splits}
    names: dict[str, list[str]] = {split: [] for split in encoder.splits}
    for part in encoder.parts():
        for i, image, _ in parts.images(encoder.folder / part.file):
            name = encoder.splits[part.split].name(i)
            pixels = image_file.pixels(image, name)
            hashes[part.split].append(duplicates.gradient_hash(pixels))
            names[part.split].append(name)
    arrays = {split: np.array(found) for split, found in hashes.items()}
    return duplicates.near_copies(arrays, names)


def _summary(encoder: parts.PartEncoder, records: Records) -> dict[str, Any]:
    """Number of images and checksum of each split."""
    digests = _digests(encoder, records)
    if not all(digests.values()):
        raise ValueError("a split without a readable image")
    return {
        split: {"num_examples": len(found), "pixels_sha256": manifest.joined(found)}
        for split, found in digests.items()
    }


def _write(
    name: str,
    version: str,
    encoder: parts.PartEncoder,
    records: Records,
    partial: pathlib.Path,
) -> pathlib.Path:
    """Let TFDS shuffle and shard what is encoded; returns the set's folder."""
    folder = partial / "tfds"
    shutil.rmtree(folder, ignore_errors=True)
    builder = _builder(name, version, encoder, _num_classes(records))(
        data_dir=str(folder), file_format="array_record"
    )
    # Its bars do not know the number of examples.
    tfds.disable_progress_bar()
    # Nor is anything downloaded, as it says, or left where it says.
    with contextlib.redirect_stdout(None):
        builder.download_and_prepare()
    return folder / name / version


def _builder(
    dataset: str, number: str, encoder: parts.PartEncoder, num_classes: int | None
) -> Any:
    """A TFDS builder class of that name, which TFDS itself does not come to know."""
    with registered.skip_registration():

        class PreparedBuilder(tfds.core.GeneratorBasedBuilder):
            name = dataset
            VERSION = tfds.core.Version(number)

            def _info(self):
                features: dict[str, Any] = {
                    "image": tfds.features.Image(shape=encoder.fit.image_shape)
                }
                if num_classes is not None:
                    features["label"] = tfds.features.ClassLabel(
                        num_classes=num_classes
                    )
                return tfds.core.DatasetInfo(
                    builder=self, features=tfds.features.FeaturesDict(features)
                )

            def _split_generators(self, dl_manager):
                return {s: self._generate_examples(s) for s in encoder.splits}

            def _generate_examples(self, split):
                return _examples(encoder, split, num_classes is not None)

    return PreparedBuilder


def _examples(
    encoder: parts.PartEncoder, split: str, labelled: bool
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Encoded images with their index, by whose hash TFDS shuffles."""
    mine = [part for part in encoder.parts() if part.split == split]
    for part in tqdm(mine, f"writing {split}", unit="part"):
        for i, image, about in parts.images(encoder.folder / part.file):
            yield i, {"image": image} | ({"label": about["label"]} if labelled else {})


def _num_classes(records: Records) -> int | None:
    """Labels are 0 .. n - 1; None unless every image has one."""
    examples = [e for record in records.values() for e in record["examples"].values()]
    if not all("label" in example for example in examples):
        return None
    return 1 + max(example["label"] for example in examples)
