"""A killed evaluation goes on; another card starts anew."""

import numpy as np
import pytest

from lsgm.evaluation import parts, provenance
from lsgm.evaluation.parts import Result
from lsgm.reports import plots
from lsgm.reports.page import Figure, Section

PNG = plots.png(np.zeros((2, 2, 1), np.uint8))
FULL = Result(
    metrics={"nelbo": {"nats": 1 / 3}, "name": "x"},
    per_example={"nelbo": np.arange(3) / 7},
    sections=[Section(title="t", text="w", figures=[Figure(png=PNG, density=2)])],
)


def same(a, b):
    assert a.metrics == b.metrics and a.sections == b.sections
    assert a.per_example.keys() == b.per_example.keys()
    for name, values in a.per_example.items():
        np.testing.assert_array_equal(values, b.per_example[name])


def test_results_come_back_as_they_were(tmp_path):
    parts.write(tmp_path / "x.npz", FULL, "digest")
    same(parts.read(tmp_path / "x.npz", "digest"), FULL)
    assert parts.read(tmp_path / "x.npz", "another") is None
    assert parts.read(tmp_path / "y.npz", "digest") is None


def test_a_killed_evaluation_goes_on(tmp_path):
    calls = []

    def first(of):
        calls.append("first")
        return FULL

    def second(of):
        calls.append("second")
        if calls.count("second") == 1:
            raise KeyboardInterrupt
        return Result(metrics={"of": of})

    both, told = {"first": first, "second": second}, []
    with pytest.raises(KeyboardInterrupt):
        parts.run(both, 5, "a", tmp_path, told.append)
    found = parts.run(both, 5, "a", tmp_path, told.append)
    assert calls == ["first", "second", "second"]
    assert "[1/2] first: there already" in told
    same(found["first"], FULL)
    assert found["second"].metrics == {"of": 5}
    parts.run(both, 5, "b", tmp_path, told.append)
    assert calls[3:] == ["first", "second"]


@pytest.mark.parametrize("how", ["emptied", "cut", "flipped", "json", "another file"])
def test_damaged_result_is_computed_again(tmp_path, capsys, how):
    path = tmp_path / "x.npz"
    parts.write(path, FULL, "a")
    content = bytearray(path.read_bytes())
    if how == "emptied":
        content.clear()
    elif how == "cut":
        del content[len(content) // 2 :]
    elif how == "flipped":
        content[content.index(b"nats")] ^= 1  # In the words; zip has a CRC-32.
    elif how == "json":
        np.savez(path, **{parts.HEAD: np.frombuffer(b"[]", np.uint8)})
        content = path.read_bytes()
    else:
        content = b"\0" * 100
    path.write_bytes(content)
    calls = []

    def part(of):
        calls.append(of)
        return FULL

    same(parts.run({"x": part}, 5, "a", tmp_path, print)["x"], FULL)
    assert calls == [5]
    assert f"{path} is damaged, and not used" in capsys.readouterr().err
    assert parts.run({"x": part}, 5, "a", tmp_path, print)["x"] is not None
    assert calls == [5]


def test_half_a_file_is_no_result(tmp_path, monkeypatch):
    def killed(file, **arrays):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", killed)
    with pytest.raises(KeyboardInterrupt):
        parts.write(tmp_path / "x.npz", FULL, "digest")
    assert parts.read(tmp_path / "x.npz", "digest") is None


def test_digest_sees_what_counts_and_not_where_it_lies():
    card = {"title": "a", "checkpoint": "runs/a", "seed": 0, "sampler": "x"}
    moved = card | {"title": "b", "checkpoint": "elsewhere"}
    assert provenance.digest(card) == provenance.digest(moved)
    for field, value in (("seed", 1), ("sampler", "y"), ("parameters", "raw")):
        assert provenance.digest(card) != provenance.digest(card | {field: value})


def test_hash_of_arrays_sees_names_types_shapes_and_values():
    base = {"a": np.zeros(4, np.float32), "b": np.ones(2, np.float32)}
    others = [
        {"c": base["a"], "b": base["b"]},
        base | {"a": np.zeros(4, np.int32)},
        base | {"a": np.zeros((2, 2), np.float32)},
        base | {"b": np.array([1, 1.0000001], np.float32)},
    ]
    hashes = [provenance.tree_sha256(tree) for tree in (base, *others)]
    assert len(set(hashes)) == 5
    assert provenance.tree_sha256(dict(base)) == hashes[0]
