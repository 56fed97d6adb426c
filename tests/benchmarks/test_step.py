"""The step benchmark: what it times, and how it compares."""

import json
import math

import jax
import jax.numpy as jnp
import pytest

from lsgm.benchmarks import step
from lsgm.benchmarks.step import StepTime


def row(**fields) -> StepTime:
    return StepTime(
        **dict(
            model="S",
            stage="vae",
            batch_size=16,
            parameters=10,
            init_seconds=0.5,
            compile_seconds=1.0,
            seconds=(0.4, 0.3, 0.5),
            gflop=20.0,
            matmul_gflops=100.0,
            xla_megabytes=300.0,
            peak_megabytes=None,
            leaves=20,
            host_seconds=0.001,
            healthy=True,
        )
        | fields
    )


def test_ratio_is_in_units_of_each_machines_matrix_product():
    """A machine half as fast at both has the same ratio."""
    slow, fast = step.PUBLISHED_MATMUL
    own = row(seconds=(0.34, 0.3, 0.5), matmul_gflops=math.sqrt(slow * fast))
    middle, least, most = own.ratio
    assert middle == pytest.approx(1.0)
    assert least < 1 < most
    slower = row(seconds=(0.68, 0.6, 1.0), matmul_gflops=own.matmul_gflops / 2)
    assert slower.ratio == pytest.approx(own.ratio)
    assert own.gflops == pytest.approx(20 / 0.34)
    assert row(model="tiny").ratio is None


def test_table_and_file_hold_each_stage(tmp_path):
    found = [row(), row(model="tiny", stage="lsgm", healthy=False)]
    text = step.markdown(found)
    step.write(found, text, tmp_path)
    lines = (tmp_path / "step.md").read_text().splitlines()
    assert sum(line.startswith(("| S", "| tiny")) for line in lines) == 2
    assert "updates were skipped" in text
    stored = json.loads((tmp_path / "step.json").read_text())
    assert stored[0]["gflops"] == 50.0 and stored[1]["ratio"] is None


def test_the_host_takes_longer_for_more_arrays():
    few = {str(i): jnp.ones(3) for i in range(3)}
    many = {str(i): jnp.ones(()) for i in range(300)}
    assert 0 < 3 * step.host_seconds(few, 10) < step.host_seconds(many, 10)


def test_peak_is_that_of_the_process_where_the_device_keeps_none():
    found = step.peak_megabytes()
    if found is None:
        pytest.skip("no /proc here")
    assert 50 < found < 1e5


@pytest.mark.slow
@pytest.mark.parametrize("model", ["S", "M"])
def test_sizes_are_those_of_the_published_figures(model):
    made = step.load(model)
    params = jax.eval_shape(
        made.stages["lsgm"].objective(made.vae).init, jax.random.key(0)
    )[0]
    sizes = {g: sum(p.size for p in jax.tree.leaves(params[g])) for g in params}
    expected = {"S": (238_162, 1_894_320), "M": (1_446_708, 3_107_208)}[model]
    assert (sizes["vae"], sizes["prior"]) == expected
    assert made.stages["vae"].batch_size == {"S": 16, "M": 8}[model]


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["vae", "lsgm"])
def test_a_stage_is_compiled_timed_and_traced(stage, tmp_path):
    found = step.time_stage("tiny", stage, 2, tmp_path)
    assert found.healthy
    assert 0 < found.seconds[1] <= found.seconds[0] <= found.seconds[2]
    assert found.compile_seconds > 0 and found.xla_megabytes > 1
    assert 0 < found.gflop < 10 and 1 < found.matmul_gflops < 1e5
    assert list(tmp_path.rglob("*.xplane.pb"))
