"""Examples encoded to PNG by several processes, part by part, kept when killed.

Part k of a split is a stretch of its examples, in their order, of a size that
depends on the shape of the images alone. It lies in one zip, written under another
name and then renamed: what is there is whole, and what is missing is still to do.

    train-00003.zip:  000001023.png ...  part.json: labels, digests, what was skipped
"""

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import io
import json
import multiprocessing
import os
import pathlib
import signal
import threading
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from tqdm import tqdm

from lsgm.data.errors import DataError
from lsgm.data.fit import Fit
from lsgm.data.sources.base import Examples
from lsgm.data.sources.labels import class_number

PART_BYTES = 2**25
PART_EXAMPLES = 4096
RECORD = "part.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """Examples start .. stop - 1 of a split."""

    split: str
    number: int
    start: int
    stop: int

    @property
    def file(self) -> str:
        return f"{self.split}-{self.number:05d}.zip"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PartEncoder:
    """What a worker process needs to encode a part.

    Attributes:
      folder: where parts lie.
      skip: leave out what is unreadable, instead of raising.
    """

    splits: Mapping[str, Examples]
    fit: Fit
    folder: pathlib.Path
    skip: bool

    def parts(self) -> list[Part]:
        """All of them, done or not."""
        size = int(np.prod(self.fit.image_shape))
        count = max(1, min(PART_EXAMPLES, PART_BYTES // size))
        return [
            Part(
                split=split,
                number=number,
                start=start,
                stop=min(start + count, len(examples)),
            )
            for split, examples in self.splits.items()
            for number, start in enumerate(range(0, len(examples), count))
        ]

    def encode(self, part: Part) -> int:
        """Write the file of a part; returns how many examples it covers.

        Raises:
          DataError: an image does not fit, or is unreadable and not to be skipped; a
            label is no class number.
        """
        partial = self.folder / f"{part.file}.{os.getpid()}"
        examples: dict[str, Any] = {}
        skipped = []
        with zipfile.ZipFile(partial, "w") as file:
            for i in range(part.start, part.stop):
                try:
                    example = self.splits[part.split][i]
                except DataError as error:
                    if not self.skip:
                        raise
                    name = self.splits[part.split].name(i)
                    skipped.append({"name": name, "reason": str(error)})
                    continue
                image = self.fit(example["image"], self.splits[part.split].name(i))
                # A fixed date: the same bytes whenever it is written.
                file.writestr(zipfile.ZipInfo(_entry(i)), png(image))
                label = _label(example, self.splits[part.split].name(i))
                examples[str(i)] = {"sha256": digest(image)} | label
            record = {"examples": examples, "skipped": skipped}
            file.writestr(zipfile.ZipInfo(RECORD), json.dumps(record))
        partial.replace(self.folder / part.file)
        return part.stop - part.start


def encode(encoder: PartEncoder, num_processes: int, title: str) -> int:
    """Encode the parts that are missing; returns how many examples they cover.

    Raises:
      DataError: as ``PartEncoder.encode``; finished parts stay.
    """
    parts = encoder.parts()
    todo = [part for part in parts if not (encoder.folder / part.file).exists()]
    total = sum(part.stop - part.start for part in parts)
    left = sum(part.stop - part.start for part in todo)
    with tqdm(total=total, initial=total - left, desc=title) as bar:
        for count in _each(encoder, todo, num_processes):
            bar.update(count)
    return left


def record(path: pathlib.Path) -> dict[str, Any]:
    """What a finished part says of its examples, by index, and of those skipped."""
    with zipfile.ZipFile(path) as file:
        return json.loads(file.read(RECORD))


def images(path: pathlib.Path) -> Iterator[tuple[int, bytes, dict[str, Any]]]:
    """(index, PNG, what the record says of it) of each example of a part."""
    with zipfile.ZipFile(path) as file:
        for index, about in json.loads(file.read(RECORD))["examples"].items():
            yield int(index), file.read(_entry(int(index))), about


def png(image: UInt8[np.ndarray, "h w c"]) -> bytes:
    """Pillow's PNG at its default level, which depends on the pixels alone."""
    file = io.BytesIO()
    pixels = image[..., 0] if image.shape[2] == 1 else image
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def digest(image: UInt8[np.ndarray, "h w c"]) -> str:
    """SHA-256 of the pixels, row by row."""
    return hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()


def _entry(i: int) -> str:
    return f"{i:09d}.png"


def _label(example: Mapping[str, Any], name: str) -> dict[str, int]:
    if "label" not in example:
        return {}
    try:
        return {"label": int(class_number(example["label"]))}
    except ValueError as error:
        raise DataError("label", name, str(error)) from error


def _each(encoder: PartEncoder, todo: list[Part], num_processes: int) -> Iterator[int]:
    if num_processes == 1 or len(todo) < 2:
        yield from map(encoder.encode, todo)
        return
    # Not forked: libraries of this process have threads.
    pool = concurrent.futures.ProcessPoolExecutor(
        min(num_processes, len(todo)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(encoder,),
    )
    with contextlib.ExitStack() as stack:
        # Also after an error: parts under way are finished, others not begun.
        stack.callback(pool.shutdown, cancel_futures=True)
        futures = [pool.submit(_encode, part) for part in todo]
        for future in concurrent.futures.as_completed(futures):
            yield future.result()


_worker: list[PartEncoder] = []  # of this worker process: one


def _begin(encoder: PartEncoder) -> None:
    _worker.append(encoder)
    # Ctrl-C reaches the parent, which lets parts under way be finished.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A killed parent cannot say goodbye."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _encode(part: Part) -> int:
    return _worker[0].encode(part)
