"""Texts of a folder: ``train.txt``, ``validation.txt``, ``test.txt``, one a line.

A line is a text, or a class, a tab and a text. Classes are words; their numbers are
their places in the alphabetical order of the classes of split train. UTF-8.
"""

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np

from lsgm.data.errors import DataError
from lsgm.data.sources.base import require_split
from lsgm.data.sources.layout import SPLITS
from lsgm.data.texts import TextExamples


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextFolder:
    """Texts from files, such as ``experiments.prepare_data --from=text`` writes."""

    root: str

    def splits(self) -> tuple[str, ...]:
        return tuple(name for name in SPLITS if self._path(name).is_file())

    def open(self, split: str) -> TextExamples:
        if not self.splits():
            wanted = ", ".join(f"{name}.txt" for name in SPLITS)
            raise DataError("root", self.root, f"none of {wanted} is there")
        require_split(split, self.splits(), self.root)
        path = self._path(split)
        return parse(self._lines(split), str(path), self._classes)

    @property
    def _classes(self) -> Sequence[str]:
        return classes_of(self._lines("train" if "train" in self.splits() else "test"))

    def _lines(self, split: str) -> list[str]:
        path = self._path(split)
        try:
            lines = path.read_text("utf-8").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError("root", str(path), str(error)) from error
        return lines if lines[-1] else lines[:-1]

    def _path(self, split: str) -> pathlib.Path:
        return pathlib.Path(self.root).expanduser() / f"{split}.txt"


def classes_of(lines: Sequence[str]) -> list[str]:
    """The classes that lines name, in alphabetical order."""
    return sorted({line.partition("\t")[0] for line in lines if "\t" in line})


def parse(lines: Sequence[str], place: str, classes: Sequence[str]) -> TextExamples:
    """Texts, and class numbers where lines have classes.

    Raises:
      DataError: no lines, classes on some lines only, or one that is not among
        ``classes``; names the line.
    """
    if not lines:
        raise DataError("root", place, "holds no line")
    if not classes:
        return TextExamples(lines, None, place)
    number = {name: i for i, name in enumerate(classes)}
    texts, labels = [], []
    for i, line in enumerate(lines, 1):
        name, tab, text = line.partition("\t")
        if not tab or name not in number:
            expected = f"a class ({', '.join(classes)}), a tab and a text"
            raise DataError("root", place, f"line {i}, {line!r}: expected {expected}")
        texts.append(text)
        labels.append(number[name])
    return TextExamples(texts, np.array(labels, np.int32), place)
