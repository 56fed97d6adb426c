r"""What is known of a prepared set: ``preparation.json`` and ``preview.png`` beside it.

Checksums, SHA-256: of each file of the set, and of the pixels of each split,

    pixels = H( sort( H(image_1), ..., H(image_n) ) ),   H(image) of bytes [h w c],  (1)

which depends neither on the order of the images nor on how they are stored.
"""

import concurrent.futures
import hashlib
import json
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from tensorflow_datasets.core import read_only_builder
from tqdm import tqdm

from lsgm.data.preparation import parts, preview
from lsgm.data.sources.layout import SPLITS
from lsgm.data.sources.tfds_source import (
    TFDSExamples,
    examples_of,
    require_own_features,
)
from lsgm.files import sha256, write_file

RECORD = "preparation.json"
PREVIEW = "preview.png"
READ_THREADS = 4


def write(folder: pathlib.Path, about: Mapping[str, Any]) -> None:
    """Write the preview of the set in ``folder``, then ``about`` it and its files."""
    preview.sheet(opened(folder)).save(folder / PREVIEW)
    files = {path.name: sha256(path) for path in sorted(folder.iterdir())}
    text = json.dumps({**about, "files": files}, indent=1)
    write_file(folder / RECORD, text + "\n")


def verify(folder: pathlib.Path) -> list[str]:
    """What differs from ``preparation.json``, in words; nothing if all is well.

    Raises:
      FileNotFoundError: there is none.
    """
    about = json.loads((folder / RECORD).read_text())
    there = {path.name for path in folder.iterdir()} - {RECORD}
    wrong = [f"{name} is missing" for name in about["files"] if name not in there]
    wrong += [f"{name} is new" for name in sorted(there - {*about["files"]})]
    wrong += [
        f"{name} has changed"
        for name, expected in about["files"].items()
        if name in there and sha256(folder / name) != expected
    ]
    if wrong:
        return wrong
    splits = opened(folder)
    return [
        f"the pixels of {name} are others than those prepared"
        for name, split in about["splits"].items()
        if pixels_of(splits[name], name) != split["pixels_sha256"]
    ]


def opened(folder: pathlib.Path) -> dict[str, TFDSExamples]:
    """The splits of the set in ``folder``: train, validation, test, then others."""
    require_own_features(folder)
    builder: Any = read_only_builder.builder_from_directory(folder)
    return {
        split: examples_of(builder, split, f"{folder}/{split}")
        for split in sorted(builder.info.splits, key=lambda s: (_rank(s), s))
    }


def joined(digests: Iterable[str]) -> str:
    """Eq. (1), of the digests of images in hexadecimal."""
    return hashlib.sha256(
        b"".join(bytes.fromhex(digest) for digest in sorted(digests))
    ).hexdigest()


def pixels_of(examples: TFDSExamples, title: str) -> str:
    """Eq. (1), of images as stored."""

    def one(i: int) -> str:
        return parts.digest(examples[i]["image"])

    with concurrent.futures.ThreadPoolExecutor(READ_THREADS) as pool:
        digests = pool.map(one, range(len(examples)))
        return joined(list(tqdm(digests, f"checking {title}", len(examples), delay=2)))


def _rank(split: str) -> int:
    return SPLITS.index(split) if split in SPLITS else len(SPLITS)
