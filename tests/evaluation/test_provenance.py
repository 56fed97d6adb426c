"""What counts as other code: whatever numbers could depend on, and no words."""

import ast
import pathlib

import pytest

from lsgm.evaluation import provenance
from tests.test_layers import ROOT, imports, module, sources, within

CODE = '''"""Words."""

SCALE = 2.0


class A:
    """More words."""

    def f(self, x, n=3):
        """Returns it."""
        return SCALE * x + n  # as published
'''


def hash_of(folder: pathlib.Path, code: str, name: str = "vae.py") -> str:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(code)
    return provenance.hash_code(folder)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Words.", "Wrods."),
        ('    """More words."""\n', ""),
        ('        """Returns it."""\n', "        # Returns it.\n"),
        ("  # as published", ""),
        ("SCALE * x + n", "(SCALE * x\n            + n)"),
        ("x, n=3)", "x, n = 3,)"),
    ],
)
def test_words_and_layout_do_not_count(tmp_path, old, new):
    assert old in CODE
    assert hash_of(tmp_path, CODE) == hash_of(tmp_path, CODE.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [("2.0", "2.5"), ("* x", "/ x"), ("n=3", "n=4"), ("def f", "def g"), ("+ n", "")],
)
def test_code_counts(tmp_path, old, new):
    assert old in CODE
    assert hash_of(tmp_path, CODE) != hash_of(tmp_path, CODE.replace(old, new))


def test_only_folders_without_numbers_are_left_out(tmp_path):
    before = hash_of(tmp_path, CODE)
    assert hash_of(tmp_path, CODE, "reports/page.py") == before
    assert hash_of(tmp_path, CODE, "evaluation/bound.py") != before


def test_all_of_the_package_is_looked_at():
    assert provenance.code_sha256() == provenance.hash_code(ROOT / "lsgm")
    assert all((ROOT / "lsgm" / name).is_dir() for name in provenance.NO_NUMBERS)


def test_what_counts_uses_of_the_rest_only_what_shows_numbers():
    aside = [f"lsgm.{name}" for name in provenance.NO_NUMBERS]
    for path in sources("lsgm"):
        if not any(within(module(path), name) for name in aside):
            used = imports(ast.parse(path.read_text()))
            found = {i for i in used for name in aside if within(i, name)}
            assert all(within(i, "lsgm.reports") for i in found), path
