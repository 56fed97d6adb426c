"""Python that the documents show runs as it stands."""

import pathlib
import re

import pytest

from lsgm.runs import packaged, restore
from tests.test_trained import untrained

ROOT = pathlib.Path(__file__).parents[1]
# Pages whose blocks are one program. Others' are run by tests of what they show.
PROGRAMS = ("docs/python.md",)


@pytest.mark.parametrize("page", PROGRAMS)
def test_blocks_run_in_order(page, tmp_path, monkeypatch):
    """On an untrained model in the place of the one that the page names."""
    made = untrained()
    monkeypatch.setattr(packaged, "ASSETS", tmp_path)
    packaged.write("demo", made.params, made.mutables, restore.about(made))
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    assert blocks
    exec("\n".join(blocks), scope := {})
    assert scope["drawn"].images.shape == (16, 28, 28, 1)
    assert scope["again"].shape == (2, 28, 28, 1) and len(scope["way"]) == 7
    assert scope["bound"].nats.shape == (2,)
