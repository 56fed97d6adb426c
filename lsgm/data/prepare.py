"""Write a data set that TFDS reads: ArrayRecord files, without TensorFlow.

Any source can be prepared once and then read fast, whatever it was: files become
PNG inside ``<data_dir>/<name>/<version>``, which both ``lsgm.data.tfds_source``
and ``tfds.data_source`` open. A name and version that TFDS knows ("fashion_mnist",
"3.0.1") make it the official set.
"""

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image
from tensorflow_datasets.core import registered
from tqdm import tqdm

from lsgm.data.base import Examples
from lsgm.data.fit import Fit


class LabelledExamples(Examples, Protocol):
    """Examples whose labels can be had without decoding images."""

    @property
    def labels(self) -> np.ndarray | None: ...


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Subset:
    """Some of the examples."""

    examples: LabelledExamples
    indices: np.ndarray

    @property
    def labels(self) -> np.ndarray | None:
        labels = self.examples.labels
        return None if labels is None else labels[self.indices]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, i: int) -> Mapping[str, Any]:
        return self.examples[int(self.indices[i])]

    def shape(self, i: int) -> tuple[int, int, int]:
        return self.examples.shape(int(self.indices[i]))

    def name(self, i: int) -> str:
        return self.examples.name(int(self.indices[i]))


def hold_out(
    examples: LabelledExamples,
    fractions: Mapping[str, float],
    *,
    groups: np.ndarray | None = None,
    seed: int = 0,
) -> dict[str, Subset]:
    """Split at random into "train" and held-out parts of about these fractions.

    Args:
      groups: [n] numbers; examples of one group stay in one split, so that
        near-copies (an emoji in another skin tone) cannot leak into the test.

    Raises:
      ValueError: fractions that leave nothing to a split.
    """
    groups = np.arange(len(examples)) if groups is None else groups
    names, of_example = np.unique(groups, return_inverse=True)
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(names))
    sizes = {k: round(len(names) * fraction) for k, fraction in fractions.items()}
    sizes = {"train": len(names) - sum(sizes.values())} | sizes
    if min(sizes.values()) < 1:
        raise ValueError(f"{dict(fractions)} of {len(names)} groups leaves {sizes}")
    bounds = np.cumsum([0, *sizes.values()])
    parts = {}
    for split, start, stop in zip(sizes, bounds, bounds[1:], strict=False):
        member = np.isin(of_example, order[start:stop])
        parts[split] = Subset(examples=examples, indices=np.flatnonzero(member))
    return parts


def prepare(
    splits: Mapping[str, LabelledExamples],
    *,
    name: str,
    data_dir: str,
    version: str = "1.0.0",
    fit: Fit | None = None,
) -> pathlib.Path:
    """Write the splits as TFDS data set ``name``; returns its folder.

    Args:
      fit: brings the images to one shape; by default all must have the shape of
        the first.

    Raises:
      ConfigError: an image that does not fit; names the file.
      ValueError: no split, or a negative label.
      FileExistsError: that version of the set is there already.
    """
    folder = pathlib.Path(data_dir).expanduser() / name / version
    if folder.exists():
        raise FileExistsError(
            f"{folder} is there already: remove it first, or give another version"
        )
    first = next(iter(splits.values()))
    if fit is None:
        fit = Fit(image_shape=first.shape(0), grey=False, resize="none")
    builder = _builder(name, version, fit, splits)(
        data_dir=str(folder.parents[1]), file_format="array_record"
    )
    # Its bars do not know the number of examples; ours does.
    tfds.disable_progress_bar()
    builder.download_and_prepare()
    return folder


def _builder(
    dataset: str,
    number: str,
    fit: Fit,
    splits: Mapping[str, LabelledExamples],
) -> Any:
    """A TFDS builder class of that name, which TFDS itself does not come to know."""
    with registered.skip_registration():

        class Prepared(tfds.core.GeneratorBasedBuilder):
            name = dataset
            VERSION = tfds.core.Version(number)

            def _info(self):
                features: dict[str, Any] = {
                    "image": tfds.features.Image(shape=fit.image_shape)
                }
                if (count := _num_classes(splits)) is not None:
                    features["label"] = tfds.features.ClassLabel(num_classes=count)
                return tfds.core.DatasetInfo(
                    builder=self, features=tfds.features.FeaturesDict(features)
                )

            def _split_generators(self, dl_manager):
                return {s: self._generate_examples(s) for s in splits}

            def _generate_examples(self, split):
                return _records(splits[split], fit, f"{dataset} {split}")

    return Prepared


def _records(
    examples: Examples, fit: Fit, title: str
) -> Iterator[tuple[int, dict[str, Any]]]:
    for i in tqdm(range(len(examples)), title):
        example = examples[i]
        pixels = fit(example["image"], examples.name(i))
        # A Pillow image, because TFDS encodes arrays with TensorFlow.
        image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
        labels = {"label": int(example["label"])} if "label" in example else {}
        yield i, {"image": image} | labels


def _num_classes(splits: Mapping[str, LabelledExamples]) -> int | None:
    labels = []
    for examples in splits.values():
        if examples.labels is None:
            return None
        labels.append(examples.labels)
    together = np.concatenate(labels)
    if together.min() < 0:
        raise ValueError(f"labels must not be negative, one is {together.min()}")
    return int(together.max()) + 1
