"""A stage taken from another run: its newest state, and its best."""

import jax
import jax.numpy as jnp
import optax

from lsgm.studies.taking import take
from lsgm.training import checkpoints
from lsgm.training.checkpoints import Checkpoints
from lsgm.training.state import create


def save(folder, *steps):
    transformations = {"vae": optax.sgd(0.1)}
    state = create(
        jax.random.key(0), {"vae": jnp.arange(3.0)}, {"vae": {}}, transformations, ()
    )
    meta = {"format": 1, "stage": "lsgm", "config": {"owner": "source"}}
    with Checkpoints(folder) as opened:
        for step in steps:
            opened.save(state.replace(step=jnp.int32(step)), meta)


def test_newest_and_best_are_taken_and_describe_the_run_that_takes_them(tmp_path):
    source, folder = tmp_path / "source", tmp_path / "runs" / "x"
    save(source / "lsgm/checkpoints", 3, 4)
    save(source / "lsgm/best", 1, 2)
    (source / "lsgm/metrics.jsonl").write_text("records\n")
    folder.mkdir(parents=True)
    take("lsgm", source, folder, {"owner": "x", "stage_order": ["lsgm"]})
    for path, kept in (("checkpoints", 4), ("best", 2)):
        assert checkpoints.list_steps(folder / "lsgm" / path) == [kept]
        found = folder / "lsgm" / path / str(kept)
        assert checkpoints.describe(found)["config"]["owner"] == "x"
        read = checkpoints.read(found, ("params",))["params"]["vae"]
        assert read.tolist() == [0.0, 1.0, 2.0]
        theirs = source / "lsgm" / path / str(kept)
        assert checkpoints.describe(theirs)["config"]["owner"] == "source"
    assert checkpoints.find(folder / "lsgm").parent.name == "best"
    assert (folder / "lsgm/metrics.jsonl").is_symlink()
    assert (folder / "lsgm/metrics.jsonl").read_text() == "records\n"
