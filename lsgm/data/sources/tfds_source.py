"""TensorFlow Datasets, read without TensorFlow.

Reads what is prepared on disk as ArrayRecord, through ``as_data_source``; never
downloads, never runs a data set's own code. Images are decoded by ``image_file`` as
everywhere, with its limits. How to prepare: ``docs/data.md``.
"""

import dataclasses
import json
import pathlib
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from tensorflow_datasets.core import (
    constants,
    decode,
    features,
    file_adapters,
    naming,
    read_only_builder,
)

from lsgm.data.errors import DataError
from lsgm.data.sources import image_file
from lsgm.data.sources.base import require_split
from lsgm.data.sources.labels import class_number

PREPARE = (
    "prepare it with `python -m experiments.prepare_data` from local files, or, in an "
    "environment that has TensorFlow, with `tfds build {name} "
    "--file_format=array_record --data_dir={folder}`"
)
# Keys under which a prepared set names the classes of its features.
CLASS_KEYS = ("type", "pythonClassName", "python_class_name")
OWN = "tensorflow_datasets."


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TFDSExamples:
    """One split; ``place`` says which."""

    data: Any
    labelled: bool
    static_shape: tuple[int | None, ...]
    place: str
    max_pixels: int

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, i: int) -> dict[str, Any]:
        stored = self.data[i]
        image = stored["image"]
        if isinstance(image, bytes):
            image = image_file.pixels(image, self.name(i), self.max_pixels)
        example = {"image": image}
        if self.labelled:
            try:
                example["label"] = class_number(stored["label"])
            except ValueError as error:
                message = f"{self.name(i)}: label {error}"
                raise DataError("dataset", self.place, message) from error
        return example

    def shape(self, i: int) -> tuple[int, int, int]:
        known: Any = self.static_shape
        if None in known or known[-1] not in (1, 3):
            image = self.data[i]["image"]
            if isinstance(image, bytes):
                return image_file.shape(image, self.name(i), self.max_pixels)
            known = image.shape
        h, w, c = known
        return h, w, c

    def name(self, i: int) -> str:
        return f"{self.place}[{i}]"


def examples_of(
    builder: Any, split: str, place: str, max_pixels: int = image_file.MAX_PIXELS
) -> TFDSExamples:
    """A split, in TFDS's notation, of a builder's prepared set.

    Raises:
      ValueError, OSError, RuntimeError: as TFDS does, where it cannot be read.
    """
    kinds = builder.info.features
    # TFDS itself would decode images of any size.
    encoded = isinstance(kinds["image"], features.Image)
    decoders = {"image": decode.SkipDecoding()} if encoded else None
    return TFDSExamples(
        data=builder.as_data_source(split=split, decoders=decoders),
        labelled="label" in kinds,
        static_shape=kinds["image"].shape,
        place=place,
        max_pixels=max_pixels,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class TFDS:
    """A prepared data set with a feature ``image``, perhaps ``label``.

    Attributes:
      dataset: its name, as TFDS writes it: "cifar10", "celeb_a_hq/256", "mnist:3.0.1".
      data_dir: the folder that holds it; empty is TFDS's own default.
      train: what the split "train" reads, in TFDS's notation: "train[:95%]".
      validation: likewise; empty says that there is none.
      test: likewise.
      max_pixels: an encoded image of more is an error.
    """

    prepared: ClassVar[bool] = True

    dataset: str
    data_dir: str = ""
    train: str = "train"
    validation: str = ""
    test: str = "test"
    max_pixels: int = dataclasses.field(default=image_file.MAX_PIXELS, repr=False)

    def splits(self) -> tuple[str, ...]:
        names = ("train", "validation", "test")
        return tuple(name for name in names if getattr(self, name))

    def open(self, split: str) -> TFDSExamples:
        require_split(split, self.splits(), f"{self.dataset}")
        builder = self._builder()
        kinds, spec = builder.info.features, getattr(self, split)
        if "image" not in kinds:
            message = f"has no feature 'image', but {', '.join(kinds)}"
            raise DataError("dataset", self.dataset, message)
        dtype = np.dtype(kinds["image"].np_dtype)
        if dtype != np.uint8:
            message = f"its images are {dtype}, not uint8"
            raise DataError("dataset", self.dataset, message)
        place = f"{builder.info.full_name}/{spec}"
        try:
            examples = examples_of(builder, spec, place, self.max_pixels)
            examples.data[0]
        except ValueError as error:
            existing = f"{self.dataset} has splits {', '.join(builder.info.splits)}"
            message = f"{existing} ({error})"
            raise DataError(split, spec, message) from error
        except (OSError, RuntimeError, IndexError) as error:
            message = f"unreadable in {builder.data_dir}: {error}"
            raise DataError(split, spec, message) from error
        return examples

    @property
    def _folder(self) -> pathlib.Path:
        default = constants.DATA_DIR
        return pathlib.Path(self.data_dir or default).expanduser()

    def _builder(self) -> Any:
        how = PREPARE.format(name=self.dataset, folder=self._folder)
        if not self._folder.is_dir():
            message = f"no folder {self._folder}; {how}"
            raise DataError("data_dir", self.data_dir, message)
        try:
            name, _ = naming.parse_builder_name_kwargs(self.dataset)
            require_own_features(self._folder / name.name)
            builder = read_only_builder.builder_from_files(
                self.dataset, data_dir=str(self._folder)
            )
        except DataError:
            raise
        except (ValueError, OSError) as error:
            message = f"not prepared under {self._folder}; {how}"
            raise DataError("dataset", self.dataset, message) from error
        found = builder.info.file_format
        if found != file_adapters.FileFormat.ARRAY_RECORD:
            message = f"{builder.data_dir} is {found}, not array_record; {how}"
            raise DataError("dataset", self.dataset, message)
        return builder


def require_own_features(folder: pathlib.Path) -> None:
    """Refuse features of other packages, which TFDS would import.

    Args:
      folder: of a prepared set, or of all its configs and versions.

    Raises:
      DataError: names the class.
    """
    for path in folder.rglob("features.json"):
        for name in _classes(path.read_text()):
            if "." in name and not name.startswith(OWN):
                message = (
                    f"its features name {name}, and importing that would run code; "
                    "prepare the set with features of TFDS itself"
                )
                raise DataError("dataset", str(path), message)


def _classes(value: Any) -> Iterator[str]:
    """Names of classes in nested JSON, also in JSON that stands in a text."""
    if isinstance(value, str) and "{" in value:
        try:
            value = json.loads(value)
        except ValueError:
            return
    if isinstance(value, dict):
        yield from (n for k in CLASS_KEYS if isinstance(n := value.get(k), str))
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _classes(item)
