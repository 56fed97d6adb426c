"""glosses: 74,900 definitions of WordNet, shipped inside the package.

Provenance, preparation and licence: ``lsgm/data/sources/glosses/README.md``.
"""

import dataclasses
import lzma
import pathlib

from lsgm.data.sources.base import require_split
from lsgm.data.sources.layout import SPLITS
from lsgm.data.sources.text_folder import parse
from lsgm.data.texts import TextExamples

FOLDER = pathlib.Path(__file__).parent / "glosses"
# Adjectives, nouns, adverbs, verbs.
CLASSES = ("a", "n", "r", "v")
# Lines are in the order of a hash.
PARTS = {
    "test": slice(0, 4000),
    "validation": slice(4000, 8000),
    "train": slice(8000, None),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Glosses:
    """12 to 63 characters of a to z, space and ,-';: labels are parts of speech."""

    def splits(self) -> tuple[str, ...]:
        return SPLITS

    def open(self, split: str) -> TextExamples:
        require_split(split, SPLITS, "glosses")
        with lzma.open(FOLDER / "glosses.tsv.xz", "rt", encoding="utf-8") as file:
            lines = file.read().splitlines()
        return parse(lines[PARTS[split]], f"glosses/{split}", CLASSES)
