"""Python that the documents show runs as it stands."""

import pathlib
import re

import pytest

from lsgm.runs import packaged, restore
from tests.test_trained import untrained

ROOT = pathlib.Path(__file__).parents[1]
# Pages whose blocks are one program. Others' are run by tests of what they show.
PROGRAMS = ("README.md", "docs/python.md")


@pytest.mark.parametrize("page", PROGRAMS)
def test_blocks_run_in_order(page, tmp_path, monkeypatch):
    """On an untrained model in the place of the one that the page names, which takes
    minutes to compile."""
    made = untrained()
    monkeypatch.setattr(packaged, "ASSETS", tmp_path)
    packaged.write("demo", made.params, made.mutables, restore.about(made))
    scope = run_blocks(page)
    assert scope["drawn"].images.shape == (16, 28, 28, 1)
    assert len(scope["way"]) == 7


@pytest.mark.slow
@pytest.mark.parametrize("page", PROGRAMS)
def test_blocks_run_on_the_model_that_they_name(page):
    scope = run_blocks(page)
    assert scope["drawn"].images.shape == (16, 28, 28, 1)
    # Nearly all samples are as likely as digits are.
    assert -300 < scope["bound"].nats.mean() < -50


def run_blocks(page: str) -> dict:
    """What a page's blocks of Python leave behind."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    assert blocks
    exec("\n".join(blocks), scope := {})
    return scope
