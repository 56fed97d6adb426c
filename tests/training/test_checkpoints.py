"""What checkpoints promise: nothing lost, nothing altered, nothing half written."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lsgm import limits
from lsgm.training import checkpoints
from lsgm.training.checkpoints import CheckpointError, Checkpoints
from lsgm.training.state import TrainState, create

META = {"format": 1, "config": {"seed": 0}, "stage": "vae", "window": [{"nelbo": 0.1}]}


def new_state(seed: int = 0, width: int = 3) -> TrainState:
    """A state with all that is awkward: typed keys, tuples, empty groups, bfloat16."""
    init_key, run_key, key = jax.random.split(jax.random.key(seed), 3)
    params = {
        "vae": {"conv": {"kernel": jax.random.normal(init_key, (2, width))}},
        "prior": {"scale": jnp.array(1.5, jnp.bfloat16)},
    }
    mutables = {
        "vae": {"batch_stats": {}, "vectors": {"2x3": (jnp.ones(2), jnp.zeros(3))}},
        "prior": {"active": jax.random.bits(key, (4096,), jnp.uint32)},
    }
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3))
    return create(run_key, params, mutables, {"vae": optimizer}, ("vae",))


def at(state: TrainState, step: int) -> TrainState:
    """The state as of a step, every array another one than at other steps."""
    moved = jax.tree.map(lambda x: x + jnp.asarray(step, x.dtype), state.params)
    return state.replace(step=jnp.asarray(step, jnp.int32), params=moved)


def save(folder: pathlib.Path, *steps: int) -> None:
    with Checkpoints(folder) as opened:
        for step in steps:
            opened.save(at(new_state(), step), META)


def restore(folder: pathlib.Path) -> checkpoints.Snapshot | None:
    with Checkpoints(folder) as opened:
        return opened.restore_latest(jax.eval_shape(new_state))


def words(state: TrainState) -> dict:
    """Every array's bytes, by path."""
    state = state.replace(key=jax.random.key_data(state.key))
    flat, _ = jax.tree_util.tree_flatten_with_path(state)
    return {
        jax.tree_util.keystr(k): (x.dtype, np.asarray(x).tobytes()) for k, x in flat
    }


def test_restored_state_is_the_saved_one_bit_for_bit(tmp_path):
    save(tmp_path, 7)
    snapshot = restore(tmp_path)
    assert words(snapshot.state) == words(at(new_state(), 7))
    assert jax.tree.structure(snapshot.state) == jax.tree.structure(new_state())
    assert snapshot.meta == META | {"step": 7}


def test_restored_key_draws_what_the_saved_one_would(tmp_path):
    save(tmp_path, 1)
    restored, fresh = restore(tmp_path).state.key, new_state().key
    assert jax.dtypes.issubdtype(restored.dtype, jax.dtypes.prng_key)
    draws = [
        jax.random.normal(jax.random.fold_in(k, 3), (8,)) for k in (restored, fresh)
    ]
    np.testing.assert_array_equal(*draws)


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
def test_keys_keep_their_generator(tmp_path, impl):
    def init():
        return new_state().replace(key=jax.random.key(5, impl=impl))

    with Checkpoints(tmp_path) as opened:
        opened.save(init(), META)
        restored = opened.restore_latest(jax.eval_shape(init)).state.key
    assert jax.random.key_impl(restored) == impl
    np.testing.assert_array_equal(
        jax.random.key_data(restored), jax.random.key_data(init().key)
    )


def test_no_checkpoint_yet(tmp_path):
    assert restore(tmp_path / "fresh") is None


def test_newest_is_restored_and_the_last_two_are_kept(tmp_path):
    save(tmp_path, 2, 4, 10)
    assert restore(tmp_path).meta["step"] == 10
    assert checkpoints.list_steps(tmp_path) == [4, 10]


def test_state_replicated_on_two_devices_comes_back_on_one(tmp_path):
    everywhere = NamedSharding(Mesh(jax.devices(), "batch"), PartitionSpec())
    with Checkpoints(tmp_path) as opened:
        opened.save(jax.device_put(at(new_state(), 3), everywhere), META)
    state = restore(tmp_path).state
    assert words(state) == words(at(new_state(), 3))
    assert all(len(leaf.devices()) == 1 for leaf in jax.tree.leaves(state))


def test_saved_state_may_be_donated_at_once(tmp_path):
    """The save is complete when it returns: what then becomes of the buffers does
    not matter."""
    state, spoil = at(new_state(), 1), jax.jit(lambda x: x + 1, donate_argnums=0)
    expected = words(state)
    with Checkpoints(tmp_path) as opened:
        opened.save(state, META)
        jax.tree.map(spoil, (state.params, state.opt, state.mutables))
        assert words(opened.restore_latest(jax.eval_shape(new_state)).state) == expected


def test_reading_some_fields_leaves_the_others_alone(tmp_path):
    save(tmp_path, 5)
    tree = checkpoints.read(tmp_path / "5", ("params", "ema", "mutables"))
    state = at(new_state(), 5)
    assert set(tree) == {"params", "ema", "mutables"}
    kernel = tree["params"]["vae"]["conv"]["kernel"]
    np.testing.assert_array_equal(kernel, state.params["vae"]["conv"]["kernel"])
    assert isinstance(kernel, np.ndarray)
    assert tree["mutables"]["vae"]["batch_stats"] == {}
    with pytest.raises(CheckpointError, match="has no discriminator"):
        checkpoints.read(tmp_path / "5", ("params", "discriminator"))


def test_describe_reads_nothing_but_words(tmp_path):
    save(tmp_path, 5)
    for path in (tmp_path / "5/state").rglob("*"):
        if path.is_file():
            path.unlink()
    assert checkpoints.describe(tmp_path / "5") == META | {"step": 5}


def test_later_format_is_refused(tmp_path):
    with Checkpoints(tmp_path) as opened:
        opened.save(at(new_state(), 1), META | {"format": 99})
    with pytest.raises(CheckpointError, match="format 99; this version reads up to 1"):
        checkpoints.describe(tmp_path / "1")


def test_run_description_is_json_and_names_versions():
    meta = checkpoints.describe_run({"seed": 1}, "lsgm")
    assert json.loads(json.dumps(meta)) == meta
    assert meta["versions"]["jax"] == jax.__version__
    assert (meta["stage"], meta["config"]) == ("lsgm", {"seed": 1})


def test_another_models_state_is_refused_by_name(tmp_path):
    save(tmp_path, 1)
    with Checkpoints(tmp_path) as opened, pytest.raises(CheckpointError) as error:
        opened.restore_latest(jax.eval_shape(lambda: new_state(width=5)))
    assert "params/vae/conv/kernel: float32[2, 3] there, float32[2, 5] now" in str(
        error.value
    )
    assert checkpoints.list_steps(tmp_path) == [1]


def damage(folder: pathlib.Path, how: str) -> None:
    """Flip a bit of the largest file of arrays, cut it, or lose a file."""
    files = [p for p in (folder / "state").rglob("d/*") if p.is_file()]
    largest = max(files, key=lambda p: p.stat().st_size)
    content = bytearray(largest.read_bytes())
    if how == "bit flipped":
        content[len(content) // 2] ^= 0x10
        largest.write_bytes(content)
    elif how == "cut short":
        largest.write_bytes(content[: len(content) // 2])
    else:
        (folder / how).unlink()


DAMAGES = ["bit flipped", "cut short", "index/metadata", "meta/metadata"]


@pytest.mark.parametrize("how", DAMAGES)
def test_damaged_newest_checkpoint_gives_way_to_the_one_before(tmp_path, capsys, how):
    save(tmp_path, 2, 4)
    damage(tmp_path / "4", how)
    assert words(restore(tmp_path).state) == words(at(new_state(), 2))
    warning = capsys.readouterr().err
    assert f"WARNING: damaged checkpoint {tmp_path}/4" in warning
    assert "going on from step 2" in warning
    assert len(warning) < 1000
    save(tmp_path, 4)  # The run comes to step 4 again, and its place is free.
    assert restore(tmp_path).meta["step"] == 4
    assert (tmp_path / "4.damaged").is_dir()


@pytest.mark.parametrize("how", DAMAGES)
def test_nothing_but_damaged_checkpoints_is_an_error_that_names_them(tmp_path, how):
    save(tmp_path, 2, 4)
    damage(tmp_path / "2", how)
    damage(tmp_path / "4", how)
    with pytest.raises(CheckpointError) as error:
        restore(tmp_path)
    assert f"{tmp_path}/2" in str(error.value) and f"{tmp_path}/4" in str(error.value)
    assert checkpoints.list_steps(tmp_path) == [2, 4]


def test_damaged_checkpoint_is_not_sampled_from(tmp_path):
    save(tmp_path, 4)
    damage(tmp_path / "4", "bit flipped")
    with pytest.raises(CheckpointError, match=f"damaged checkpoint {tmp_path}/4"):
        checkpoints.read(tmp_path / "4", ("params", "ema", "opt", "mutables"))


def test_find_takes_a_workdir_a_stage_or_a_step(tmp_path):
    order = ["vae", "lsgm", "another"]
    (tmp_path / "config.json").write_text(json.dumps({"stage_order": order}))
    save(tmp_path / "vae/checkpoints", 9)
    save(tmp_path / "lsgm/checkpoints", 2, 10)
    save(tmp_path / "vae/best", 5)
    (tmp_path / "another/checkpoints").mkdir(parents=True)
    (tmp_path / "lsgm/checkpoints/11.orbax-checkpoint-tmp").mkdir()
    for path, found in {
        "": "lsgm/checkpoints/10",
        "vae": "vae/best/5",
        "vae/checkpoints": "vae/checkpoints/9",
        "lsgm": "lsgm/checkpoints/10",
        "lsgm/checkpoints": "lsgm/checkpoints/10",
        "lsgm/checkpoints/2": "lsgm/checkpoints/2",
    }.items():
        assert checkpoints.find(tmp_path / path) == tmp_path / found
    for path, message in {
        "absent": "does not exist",
        "another": "no complete checkpoint",
        "lsgm/checkpoints/11.orbax-checkpoint-tmp": "no complete checkpoint",
    }.items():
        with pytest.raises(CheckpointError, match=message):
            checkpoints.find(tmp_path / path)


def run_python(code: str, *args: str, **options) -> subprocess.Popen:
    """A process of its own, with this module's functions at hand."""
    script = "from tests.training.test_checkpoints import *\n" + textwrap.dedent(code)
    return subprocess.Popen(
        [sys.executable, "-c", script, *args],
        cwd=pathlib.Path(__file__).parents[2],
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_kill_in_the_middle_of_saving_leaves_the_last_complete_one(tmp_path):
    """A process that does nothing but save is killed (SIGKILL) a few times, each
    time a little later; whatever it had reported complete is there."""
    code = """
    with Checkpoints(pathlib.Path(sys.argv[1])) as opened:
        for step in range(int(sys.argv[2]), 10**9):
            opened.save(at(new_state(), step), META)
            print(step, flush=True)
    """
    reported = 0
    for delay in (0.0, 0.017, 0.034):
        process = run_python(code, str(tmp_path), str(reported + 1))
        process.stdout.readline()
        process.stdout.readline()
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        lines = process.communicate()[0].split()
        reported = max([reported + 2, *map(int, lines)])
        snapshot = restore(tmp_path)
        step = snapshot.meta["step"]
        # One more may be complete than was reported.
        assert step in (reported, reported + 1)
        assert words(snapshot.state) == words(at(new_state(), step))
        reported = step
    numbers = [p.name for p in tmp_path.iterdir()]
    remains = [name for name in numbers if not name.isdigit()]
    assert not remains, "remains of killed saves"


def test_full_disk_is_an_error_in_words_and_loses_nothing(tmp_path):
    """No file may grow beyond 64 kB; the state is larger."""
    save(tmp_path, 1)
    code = """
    import resource
    limit = (2**16, resource.RLIM_INFINITY)
    noise = jax.random.normal(jax.random.key(1), (2**17,))
    big = new_state().replace(mutables={"noise": noise})
    with Checkpoints(pathlib.Path(sys.argv[1])) as opened:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        try:
            opened.save(at(big, 2), META)
        except CheckpointError as error:
            print(error)
    """
    out, err = run_python(code, str(tmp_path)).communicate(timeout=120)
    assert f"cannot save step 2 in {tmp_path} (step 1 is intact)" in out, err
    assert [p.name for p in tmp_path.iterdir()] == ["1"]
    assert words(restore(tmp_path).state) == words(at(new_state(), 1))


def save_judged(folder: pathlib.Path, **healthy: bool) -> list[int]:
    """Save steps, each healthy or not; those that are left."""
    with Checkpoints(folder) as opened:
        for step, good in healthy.items():
            opened.save(at(new_state(), int(step[1:])), META | {"healthy": good})
    return checkpoints.list_steps(folder)


def test_suspicious_saves_never_push_out_the_last_healthy_one(tmp_path):
    assert save_judged(tmp_path, s1=True, s2=True, s3=False) == [2, 3]
    assert save_judged(tmp_path, s4=False, s5=False) == [2, 4, 5]
    with Checkpoints(tmp_path) as opened:
        assert opened.find_healthy() == 2
    assert save_judged(tmp_path, s6=True) == [5, 6]


def test_going_back_to_the_last_healthy_one(tmp_path):
    save_judged(tmp_path, s2=True, s3=False, s4=False)
    with Checkpoints(tmp_path) as opened:
        opened.drop_after(opened.find_healthy())
        assert opened.restore_latest(jax.eval_shape(new_state)).meta["step"] == 2
        opened.save(at(new_state(), 3), META)
    assert checkpoints.list_steps(tmp_path) == [2, 3]


def test_none_healthy(tmp_path):
    save_judged(tmp_path, s2=False)
    with Checkpoints(tmp_path) as opened:
        assert opened.find_healthy() == 0
        opened.drop_after(0)
        assert opened.restore_latest(jax.eval_shape(new_state)) is None


def without(folder: pathlib.Path, item: str, *keys: str) -> str:
    """An item's JSON without some keys."""
    found = json.loads((folder / item / "metadata").read_text())
    return json.dumps({k: v for k, v in found.items() if k not in keys})


@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize(
    "item, content",
    [
        *((item, c) for item in ("meta", "index") for c in ("{}", "[]", "null", "\0")),
        ("meta", "stage"),
        ("meta", "config"),
        ("meta", "format"),
        ("index", "params/vae/conv/kernel"),
    ],
)
def test_damage_that_still_parses_is_damage(tmp_path, capsys, item, content, sealed):
    """Of checkpoints with checksums of their words, and of older ones without."""
    save(tmp_path, 2, 4)
    path, newest = tmp_path / "4" / item / "metadata", tmp_path / "4"
    if not sealed:
        meta = newest / "meta/metadata"
        meta.write_text(without(newest, "meta", "checks"))
    named = len(content) > 4
    path.write_text(without(newest, item, content) if named else content)
    with Checkpoints(tmp_path) as opened:
        if item == "meta":
            assert opened.find_healthy() == 2
        snapshot = opened.restore_latest(jax.eval_shape(new_state))
    assert words(snapshot.state) == words(at(new_state(), 2))
    assert f"damaged checkpoint {newest}" in capsys.readouterr().err


def test_any_flipped_bit_of_the_words_is_found(tmp_path):
    save(tmp_path, 4)
    rng = np.random.default_rng(0)
    for item in ("meta", "index"):
        path = tmp_path / "4" / item / "metadata"
        whole = path.read_bytes()
        for _ in range(60):
            flipped = bytearray(whole)
            flipped[rng.integers(len(whole))] ^= 1 << rng.integers(7)
            path.write_bytes(flipped)
            try:
                meta = checkpoints.describe(tmp_path / "4")
                checkpoints.read(tmp_path / "4", ("params",))
            except CheckpointError:
                continue
            assert b'"checks"' not in flipped  # Nothing else may pass.
            assert meta | {"checks": 0} != meta
        path.write_bytes(whole)


@pytest.mark.parametrize("how", ["emptied", "halved", "{}", "no file"])
def test_damage_of_any_file_is_survived(tmp_path, how):
    """The state of this checkpoint or of the one before, in words at worst."""
    save(tmp_path / "whole", 2, 4)
    newest = tmp_path / "whole" / "4"
    files = [p.relative_to(newest) for p in newest.rglob("*") if p.is_file()]
    assert len(files) > 5
    for i, name in enumerate(files):
        folder = tmp_path / str(i)
        shutil.copytree(tmp_path / "whole", folder)
        path = folder / "4" / name
        content = path.read_bytes()
        if how == "no file":
            path.unlink()
        else:
            new = {"emptied": b"", "halved": content[: len(content) // 2]}
            path.write_bytes(new.get(how, b"{}"))
        snapshot = restore(folder)
        step = snapshot.meta["step"]
        assert step in (2, 4), name
        assert words(snapshot.state) == words(at(new_state(), step)), name


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "\0\0\0", "{}"])
def test_damaged_config_is_found_in_the_checkpoints(tmp_path, content):
    """Of a workdir whose ``config.json`` was emptied or cut."""
    config = {"stage_order": ["vae"], "seed": 3}
    with Checkpoints(tmp_path / "vae/checkpoints") as opened:
        opened.save(at(new_state(), 5), META | {"config": config})
    (tmp_path / "config.json").write_text(content)
    assert checkpoints.read_config(tmp_path) == config
    assert checkpoints.find(tmp_path) == tmp_path / "vae/checkpoints/5"


def test_taken_checkpoint_describes_its_new_run(tmp_path):
    save(tmp_path, 5)
    checkpoints.replace_config(tmp_path / "5", {"seed": 9})
    assert checkpoints.describe(tmp_path / "5")["config"] == {"seed": 9}
    assert restore(tmp_path).meta["step"] == 5


def test_arrays_that_are_hardly_stored_are_not_read(tmp_path, monkeypatch):
    """A chunk that is not there would be filled up, however large it is said to be."""
    save(tmp_path, 1)
    (tmp_path / "zeros").mkdir()
    state = new_state().replace(params={"vae": {"kernel": jnp.zeros(2**22)}})
    with Checkpoints(tmp_path / "zeros") as opened:
        opened.save(state, META)
    read, zeros = checkpoints.read, tmp_path / "zeros" / "0"
    assert not read(zeros, ("params",))["params"]["vae"]["kernel"].any()
    monkeypatch.setattr(limits, "FREE_BYTES", 2**12)
    assert read(tmp_path / "1", ("params",))
    with pytest.raises(CheckpointError, match="would unpack to 16,777,216") as error:
        read(zeros, ("params",))
    assert type(error.value) is CheckpointError  # not damage, to be set aside
