"""``prepare_data`` for texts: lines of a file, or WordNet's glosses."""

import pathlib
from collections.abc import Mapping

from absl import flags

from lsgm.data.preparation import manifest, text_lines, wordnet
from lsgm.data.preparation.text_lines import Lines

KINDS = ("text", "wordnet")
# Of glosses, so that the sets of all machines are divided alike.
GLOSSES_HELD_OUT = {"test": 4000, "validation": 4000}
MOST_SHOWN = 10

_LONGEST = flags.DEFINE_integer(
    "longest", 63, "Characters of a text; a longer line is a bad one.", lower_bound=1
)
_ALPHABET = flags.DEFINE_string(
    "alphabet", None, "Characters of texts; default: all that can be printed."
)


def prepare(
    kind: str, root: pathlib.Path, folder: pathlib.Path, fractions: Mapping[str, float]
) -> None:
    """Write the texts' splits into ``folder``, and say what they are made of.

    Args:
      kind: of ``KINDS``.
      fractions: of "test" and "validation", of lines of a file.

    Raises:
      ValueError: texts that cannot be prepared so.
    """
    if kind == "wordnet":
        if fractions or _ALPHABET.value:
            raise ValueError("--hold_out, --alphabet: glosses have their own")
        lines = Lines(wordnet.read_glosses(root), [], 0)
        sizes = GLOSSES_HELD_OUT
    else:
        lines = text_lines.read_lines(root, _LONGEST.value, _ALPHABET.value)
        if other := fractions.keys() - {"test", "validation"}:
            raise ValueError(f"--hold_out: {', '.join(other)}; test, validation")
        num = len(lines.classes)
        sizes = {split: round(num * part) for split, part in fractions.items()}
    alphabet = text_lines.alphabet_of(lines.classes)
    parts = text_lines.divide(lines.classes, sizes)
    longest = max(map(len, lines.classes))
    about = {"alphabet": alphabet, "longest": longest, "copies": lines.copies}
    digest = text_lines.write(folder, parts, lines.bad, about)
    for number, fault in lines.bad[:MOST_SHOWN]:
        print(f"line {number}, left out: {fault}")
    if lines.bad:
        print(f"{len(lines.bad):,} bad lines: listed in {folder / manifest.RECORD}")
    if lines.copies:
        print(f"{lines.copies:,} copies of earlier lines left out")
    for split, part in parts.items():
        print(f"{split}: {len(part):,} texts")
    print(f"alphabet={alphabet!r}, num_classes={1 + len(alphabet)}")
    print(f"the longest text has {longest} characters: length at least {longest + 1}")
    print(f"sha256 of all lines: {digest}")
    print(f"wrote {folder}")
