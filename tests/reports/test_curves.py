"""Curves: what was recorded is what is drawn, stage after stage."""

import io
import math

import numpy as np
import pytest
from PIL import Image

from lsgm.reports import curves
from lsgm.reports.curves import Panel

STAGES = {
    "vae": [{"step": s, "nelbo": 200.0 - s / 10} for s in range(100, 501, 100)]
    + [{"step": 250, "held_out/nelbo": 190.0}, {"step": 500, "held_out/nelbo": 160.0}],
    "lsgm": [{"step": s, "nelbo": 120.0, "loss_prior": 30.0} for s in (100, 200)],
}
BOUND = Panel(title="Bound", unit="nats", names=("nelbo",))


def _axes(panel, stages, monkeypatch):
    """The matplotlib axes that ``draw`` filled."""
    kept = []
    frame = curves._frame
    monkeypatch.setattr(
        curves, "_frame", lambda axes, *rest: (kept.append(axes), frame(axes, *rest))
    )
    assert curves.draw(panel, stages) is not None
    return kept[0]


def test_lines_hold_the_records_and_stages_follow_one_another(monkeypatch):
    axes = _axes(BOUND, STAGES, monkeypatch)
    lines = {line.get_label(): line.get_xydata() for line in axes.get_lines()}
    train = lines["nelbo"]
    np.testing.assert_array_equal(
        train[np.isfinite(train[:, 1])],
        [(s, 200 - s / 10) for s in range(100, 501, 100)] + [(600, 120), (700, 120)],
    )
    assert math.isnan(train[5, 1])
    np.testing.assert_array_equal(lines["nelbo, held out"], [(250, 190), (500, 160)])


def test_stage_borders_and_names_are_marked(monkeypatch):
    axes = _axes(BOUND, STAGES, monkeypatch)
    assert [text.get_text() for text in axes.texts] == ["vae", "lsgm"]
    dotted = [line for line in axes.get_lines() if line.get_linestyle() == ":"]
    assert [line.get_xdata()[0] for line in dotted] == [500]
    assert axes.get_xlim() == (0, 700)
    assert axes.get_yscale() == axes.get_xscale() == "linear"


def test_train_and_held_out_share_a_colour(monkeypatch):
    axes = _axes(BOUND, STAGES, monkeypatch)
    train, held_out = axes.get_lines()[:2]
    assert train.get_color() == held_out.get_color()
    assert train.get_linestyle() != held_out.get_linestyle()


def test_pictures_skip_what_was_not_recorded():
    found = curves.pictures(STAGES)
    assert list(found) == ["Bound", "Prior's loss"]
    for png in found.values():
        assert Image.open(io.BytesIO(png)).size == (1000, 580)
    assert curves.pictures({"vae": []}) == {}


def test_first_steps_may_leave_the_view_but_the_body_may_not():
    body = np.linspace(100, 90, 200)
    low, high = curves.view(np.concatenate([[5000.0, np.nan], body]))
    assert low < 90 and 100 < high < 120


@pytest.mark.parametrize("values", [[3.0], [0.0, 0.0], [-2.0, -2.0], [np.nan]])
def test_view_of_flat_curves_has_room(values):
    low, high = curves.view(np.array(values))
    assert low < high
    assert all(low < v < high for v in values if np.isfinite(v))
