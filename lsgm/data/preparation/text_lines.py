"""From lines of a file to texts in splits that ``TextFolder`` reads.

A line is a text, or a class, a tab and a text. Equal texts become one, and the order is
that of their SHA-256: the first ones test, the next ones validate, the rest trains. So
a text is in one split, and more texts later move few of the old ones. Bad lines are
left out and listed.
"""

import collections
import hashlib
import json
import pathlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from lsgm.data.errors import DataError
from lsgm.data.preparation.manifest import RECORD
from lsgm.files import sha256, write_file

MOST_CHARACTERS = 255


class Lines(NamedTuple):
    """What a file holds.

    Attributes:
      classes: the class of each text, "" of one without; each text once.
      bad: line numbers from 1, each with what is wrong.
      copies: lines whose text an earlier one has.
    """

    classes: dict[str, str]
    bad: list[tuple[int, str]]
    copies: int


def read_lines(path: pathlib.Path, longest: int, alphabet: str | None = None) -> Lines:
    """Texts of a UTF-8 file, white space at their ends removed.

    Args:
      longest: characters that a text may have.
      alphabet: characters that it may have; None for all that can be printed.

    Raises:
      DataError: no such file.
    """
    if not path.is_file():
        raise DataError("root", str(path), "no such file")
    found, bad, copies = {}, [], 0
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            name, tab, text = line.decode("utf-8-sig").rpartition("\t")
        except UnicodeDecodeError:
            bad.append((number, "not UTF-8"))
            continue
        text = text.strip()
        if fault := _fault(text, longest, alphabet) or ("\t" in name and "two tabs"):
            bad.append((number, fault))
        elif text in found:
            copies += 1
        else:
            found[text] = name
    return Lines(found, bad, copies)


def _fault(text: str, longest: int, alphabet: str | None) -> str | None:
    if not text:
        return "empty"
    if len(text) > longest:
        return f"{len(text)} characters"
    wrong = [c for c in text if not c.isprintable()]
    if alphabet is not None:
        wrong = [c for c in text if c not in alphabet]
    return f"has {wrong[0]!r}" if wrong else None


def alphabet_of(texts: Iterable[str]) -> str:
    """The characters of texts in the order of their code points.

    Raises:
      ValueError: more than 255; names the rarest.
    """
    counts = collections.Counter(character for text in texts for character in text)
    if len(counts) > MOST_CHARACTERS:
        rare = [c for c, _ in counts.most_common()[MOST_CHARACTERS:]]
        raise ValueError(
            f"{len(counts)} different characters, at most {MOST_CHARACTERS} have codes;"
            f" say which with --alphabet. The rarest are {''.join(rare[-40:])!r}"
        )
    return "".join(sorted(counts))


def divide(
    classes: Mapping[str, str], sizes: Mapping[str, int]
) -> dict[str, list[str]]:
    """Lines by split, in the order of the texts' SHA-256.

    Args:
      sizes: texts of "test" and of "validation"; "train" has the rest.

    Raises:
      ValueError: nothing is left for train.
    """
    order = sorted(classes, key=lambda text: hashlib.sha256(text.encode()).digest())
    lines = [f"{classes[t]}\t{t}" if classes[t] else t for t in order]
    parts, start = {}, 0
    for split in ("test", "validation"):
        end = start + sizes.get(split, 0)
        parts[split], start = lines[start:end], end
    parts["train"] = lines[start:]
    if not parts["train"]:
        raise ValueError(f"{len(lines)} texts: {dict(sizes)} leave none to train")
    return {split: part for split, part in parts.items() if part}


def write(
    folder: pathlib.Path,
    parts: Mapping[str, list[str]],
    bad: list[tuple[int, str]],
    about: Mapping[str, object],
) -> str:
    """Write ``<split>.txt`` and ``preparation.json``.

    Returns:
      The SHA-256 of all lines in order: of test, validation and train.

    Raises:
      FileExistsError: the folder holds a prepared set.
    """
    if (folder / RECORD).exists():
        raise FileExistsError(f"{folder} is there already; name another --version")
    total, splits = hashlib.sha256(), {}
    for split, lines in parts.items():
        content = "".join(f"{line}\n" for line in lines).encode()
        total.update(content)
        write_file(folder / f"{split}.txt", content)
        digest = hashlib.sha256(content).hexdigest()
        splits[split] = {"num_examples": len(lines), "sha256": digest}
    record = {**about, "splits": splits, "sha256": total.hexdigest(), "bad_lines": bad}
    write_file(folder / RECORD, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    return total.hexdigest()


def verify(folder: pathlib.Path) -> list[str]:
    """Splits whose file has changed since it was prepared, in words.

    Raises:
      FileNotFoundError: nothing was prepared there.
    """
    splits = json.loads((folder / RECORD).read_text("utf-8"))["splits"]
    wrong = []
    for split, about in splits.items():
        path = folder / f"{split}.txt"
        if not path.is_file():
            wrong.append(f"{path.name} is missing")
        elif sha256(path) != about["sha256"]:
            wrong.append(f"{path.name} has changed")
    return wrong
