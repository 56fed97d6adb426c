"""How README and documents are written: lines and sentences that can be read."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MAX_CHARACTERS, MAX_WORDS = 120, 30
ITEM = re.compile(r"\s*([-*]|\d+\.)\s+")


def prose(page: pathlib.Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def is_laid_out(line: str) -> bool:
    """Code, a row of a table, a heading, a picture."""
    return line.startswith(("|", "#", "    ", "![", "<"))


def sentences(text: str) -> list[str]:
    """Parts of paragraphs and list items between full stops, colons and semicolons."""
    paragraphs, current = [], []
    for line in [*text.split("\n"), ""]:
        if current and (not line.strip() or is_laid_out(line) or ITEM.match(line)):
            paragraphs.append(" ".join(current))
            current = []
        if line.strip() and not is_laid_out(line):
            current.append(line.strip())
    return [s for p in paragraphs for s in re.split(r"(?<=[.!?:;])\s+", p)]


def test_sentences_are_told_apart():
    text = "One two.\nThree: four\n- five\n- six\n\n| not this | row |\n    nor this\n"
    assert sentences(text) == ["One two.", "Three:", "four", "- five", "- six"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_lines_and_sentences_are_short(page):
    """But for rows of tables, code, and single words such as addresses."""
    text = prose(page)
    long = [
        line
        for line in text.split("\n")
        if len(line) > MAX_CHARACTERS and not is_laid_out(line) and " " in line.strip()
    ]
    assert not long
    assert not [s for s in sentences(text) if len(s.split()) > MAX_WORDS]
