"""Self-describing checkpoints, and the only place that knows Orbax.

A checkpoint is a folder ``<workdir>/<stage>/checkpoints/<step>`` of three items:

- ``state``: every array of the training state, without any trace of the devices
  that held it (typed keys as their words), so that any number of them can read it;
- ``meta`` (JSON): the resolved config, the stage, versions, and what else the loop
  needs to go on; readable without building anything;
- ``index`` (JSON): shape, type and CRC-32 of every array. Orbax stores no checksums
  of its own: a flipped bit would come back as another number.

A checkpoint is written beside the others under a temporary name and takes its own
when complete, so a killed run or a full disk leaves the last complete one as it is.
``meta`` and ``index`` carry checksums too (``lsgm.training.integrity``).
Saving blocks: an error belongs to the step that raised it, and the state's buffers,
which the next update overwrites, are not read behind its back.
"""

import contextlib
import importlib.metadata
import json
import math
import pathlib
import platform
import shutil
from collections.abc import Iterable
from types import TracebackType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import lsgm
from lsgm.files import read_object, write_file
from lsgm.limits import TooLargeError, require_ratio
from lsgm.terminal import warn
from lsgm.training import integrity
from lsgm.training.integrity import CheckpointError, CorruptError
from lsgm.training.state import TrainState

# Folders of a stage: of its newest states, and of the best where it keeps it.
NEWEST, BEST = "checkpoints", "best"
CONFIG = "config.json"
FORMAT = 1
KEPT = 2
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


class Snapshot(NamedTuple):
    """A restored state, on one device, and what was stored beside it."""

    state: TrainState
    meta: dict[str, Any]


class Checkpoints:
    """The rolling checkpoints of one stage: the last ``KEPT`` stay, and the last
    healthy one (``save``) where all of these are suspicious."""

    def __init__(self, folder: pathlib.Path):
        """Open ``folder``, made if missing; remains of killed saves are removed."""
        self._folder = folder.absolute()
        if jax.process_index() == 0:
            _remove_partial(self._folder)
        import orbax.checkpoint as ocp

        self._manager = ocp.CheckpointManager(
            self._folder,
            options=ocp.CheckpointManagerOptions(
                max_to_keep=None,  # See ``_prune``.
                enable_async_checkpointing=False,
            ),
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._manager.close()

    def save(self, state: TrainState, meta: dict[str, Any]) -> None:
        """Write a checkpoint of ``state`` under its step number; returns when it is
        complete.

        Args:
          meta: its ``healthy`` is False where the state is suspicious: such a
            checkpoint never pushes out the last healthy one.

        Raises:
          CheckpointError: it could not be written; those before it are intact.
        """
        import orbax.checkpoint as ocp

        step, host = int(state.step), jax.tree.map(_to_host, state)
        index = integrity.make_index(state, host)
        items = ocp.args.Composite(
            state=ocp.args.PyTreeSave(host),
            index=ocp.args.JsonSave(index),
            meta=ocp.args.JsonSave(integrity.seal({**meta, "step": step}, index)),
        )
        try:
            self._manager.save(step, args=items, force=True)
            self._manager.wait_until_finished()
            self._prune()
        except Exception as error:  # A full disk is an OSError, a ValueError, ...
            raise CheckpointError(self._cannot_save(step, error)) from error

    def latest_meta(self) -> dict[str, Any] | None:
        """What the newest readable checkpoint says of itself, or None where there is
        none. Damaged ones are set aside, with a warning on stderr."""
        damaged, meta = [], None
        for step in sorted(self._manager.all_steps(), reverse=True):
            folder = self._folder / str(step)
            try:
                meta = describe(folder)
                break
            except CorruptError as error:
                damaged.append((folder, error))
        self._set_aside(damaged, "going on without it")
        return meta

    def find_healthy(self) -> int:
        """Step of the newest checkpoint that was saved as healthy; 0 for none."""
        steps = sorted(self._manager.all_steps(), reverse=True)
        return next((s for s in steps if is_healthy(self._folder / str(s))), 0)

    def drop_after(self, step: int) -> None:
        """Remove the checkpoints of later steps."""
        for later in [s for s in self._manager.all_steps() if s > step]:
            self._manager.delete(later)

    def _prune(self) -> None:
        steps = sorted(self._manager.all_steps(), reverse=True)
        kept = {*steps[:KEPT], self.find_healthy()}
        for step in steps:
            if step not in kept:
                self._manager.delete(step)

    def restore_latest(self, abstract: TrainState) -> Snapshot | None:
        """The newest checkpoint that can be read, or None where there is none.

        A damaged one is set aside as ``<step>.damaged``, with a warning on stderr.

        Args:
          abstract: shapes and types of the state, from ``jax.eval_shape``.

        Raises:
          CheckpointError: the newest one holds another model's state, or there are
            checkpoints and all are damaged.
        """
        damaged = []
        for step in sorted(self._manager.all_steps(), reverse=True):
            folder = self._folder / str(step)
            try:
                snapshot = _restore(folder, abstract)
            except CorruptError as error:
                damaged.append((folder, error))
                continue
            self._set_aside(damaged, f"going on from step {step}")
            return snapshot
        if damaged:
            reasons = "\n".join(f"  {error}" for _, error in damaged)
            raise CheckpointError(
                f"every checkpoint in {self._folder} is damaged:\n{reasons}\nRemove "
                "the folder to train this stage from its start."
            )
        return None

    def _set_aside(
        self, damaged: list[tuple[pathlib.Path, CorruptError]], outcome: str
    ) -> None:
        for folder, error in damaged:
            warn(f"{error}; {outcome}")
            if jax.process_index() == 0:
                folder.rename(folder.with_name(f"{folder.name}.damaged"))
        if damaged:
            self._manager.reload()

    def _cannot_save(self, step: int, error: Exception) -> str:
        if jax.process_index() == 0:
            _remove_partial(self._folder)
        steps = list_steps(self._folder)
        intact = f"step {steps[-1]} is intact" if steps else "there is none before it"
        return (
            f"cannot save step {step} in {self._folder} ({intact}): {_reason(error)}. "
            f"{_advice()}, and start the same command again."
        )


def _advice() -> str:
    if jax.process_count() > 1:
        return "See whether all processes of the run are alive, make room if need be"
    return "Make room, or lift the quota"


def describe_run(config: dict[str, Any], stage: str) -> dict[str, Any]:
    """What makes a checkpoint of this run self-describing."""
    packages = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {
        "format": FORMAT,
        "config": config,
        "stage": stage,
        "versions": {
            "lsgm": lsgm.__version__,
            "python": platform.python_version(),
            **packages,
        },
        "devices": [device.device_kind for device in jax.devices()],
    }


def is_healthy(folder: pathlib.Path) -> bool:
    """Whether a checkpoint can be read and was saved in a healthy stretch."""
    with contextlib.suppress(CheckpointError):
        return describe(folder).get("healthy", True)
    return False


def list_steps(folder: pathlib.Path) -> list[int]:
    """Steps of the complete checkpoints in a ``checkpoints`` folder, rising."""
    numbered = (p for p in folder.glob("*") if p.name.isdigit())
    return sorted(int(p.name) for p in numbered if _is_complete(p))


def find(path: pathlib.Path) -> pathlib.Path:
    """The checkpoint that ``path`` means: a step's folder itself; of a stage's folder
    the state that it is judged by, which is the best where it keeps that
    (``lsgm.training.best``), else the newest; of a workdir, that of its furthest stage.

    Raises:
      CheckpointError: none there.
    """
    if not path.exists():
        raise CheckpointError(f"{path} does not exist")
    if path.name.isdigit() and _is_complete(path):
        return path
    stages = [path / name for name in reversed(_stage_order(path))]
    for folder in (
        path,
        *(s / kind for s in (path, *stages) for kind in (BEST, NEWEST)),
    ):
        if steps := list_steps(folder):
            return folder / str(steps[-1])
    raise CheckpointError(
        f"no complete checkpoint in {path}; give a workdir, a stage's folder, or one "
        "of the folders <workdir>/<stage>/checkpoints/<step>"
    )


def describe(folder: pathlib.Path) -> dict[str, Any]:
    """What a checkpoint says of itself, without reading its arrays.

    Raises:
      CheckpointError: unreadable, or of a later format.
    """
    meta = integrity.read_meta(folder)
    if meta["format"] > FORMAT:
        raise CheckpointError(
            f"{folder} has format {meta['format']}; this version reads up to {FORMAT}"
        )
    return meta


def replace_config(folder: pathlib.Path, config: dict[str, Any]) -> None:
    """Let a checkpoint say that it comes from a run of this config.

    Raises:
      CorruptError: what it says of itself is damaged.
    """
    integrity.read_meta(folder)
    meta = integrity.reseal(integrity.read_json(folder, "meta"), config=config)
    write_file(folder / "meta" / "metadata", json.dumps(meta))


def read(folder: pathlib.Path, fields: Iterable[str]) -> dict[str, Any]:
    """Some fields of the stored state, as nested dictionaries (and lists, where the
    state had tuples) of arrays on the host. Other fields are not read.

    Raises:
      CheckpointError: damaged, or without such a field.
    """
    import orbax.checkpoint as ocp

    index, fields = integrity.read_index(folder), set(fields)
    handler = ocp.PyTreeCheckpointHandler()
    path: Any = (folder / "state").absolute()
    try:
        stored = handler.metadata(path).tree
        if absent := fields - set(stored):
            indexed = {name.split("/")[0] for name in index}
            kind = CorruptError if absent & indexed else CheckpointError
            raise kind(f"{folder} has no {', '.join(sorted(absent))}")
        wanted = {field: stored[field] for field in fields}
        _require_stored(folder, wanted)
        how = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), wanted)
        args = ocp.args.PyTreeRestore(wanted, restore_args=how, partial_restore=True)
        tree = handler.restore(path, args=args)
    except CheckpointError:
        raise
    except Exception as error:  # Orbax and TensorStore raise many kinds.
        raise CorruptError(f"damaged checkpoint {folder}: {_reason(error)}") from error
    arrays = integrity.name_leaves(tree)
    integrity.compare_names(folder, index, fields, set(arrays))
    integrity.verify(folder, index, arrays)
    return tree


def _require_stored(folder: pathlib.Path, wanted: Any) -> None:
    """Refuse arrays that declare far more than is stored: a chunk that is not there
    would be filled up."""
    sizes = (
        math.prod(leaf.shape) * np.dtype(leaf.dtype).itemsize
        for leaf in jax.tree.leaves(wanted)
    )
    files = (folder / "state").resolve().rglob("*")
    stored = sum(path.stat().st_size for path in files if path.is_file())
    try:
        require_ratio(sum(sizes), stored, "nothing of it is read")
    except TooLargeError as error:
        raise CheckpointError(f"{folder}: {error}") from error


def _restore(folder: pathlib.Path, abstract: TrainState) -> Snapshot:
    meta, index = describe(folder), integrity.read_index(folder)
    # Whole before fitting: an index with a lost name is damage, not another model.
    tree = read(folder, {name.split("/")[0] for name in index})
    stored, wanted = integrity.name_leaves(tree), integrity.name_leaves(abstract)
    integrity.compare_states(folder, index, wanted)
    leaves = [_to_device(stored[name], leaf.dtype) for name, leaf in wanted.items()]
    return Snapshot(jax.tree.unflatten(jax.tree.structure(abstract), leaves), meta)


def _to_host(leaf: Any) -> np.ndarray:
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return np.asarray(leaf)


def _to_device(array: np.ndarray, dtype: Any) -> jax.Array:
    if jnp.issubdtype(dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(jnp.array(array), impl=_impl(dtype))
    return jnp.array(array)


def _impl(dtype: Any) -> Any:
    """Generator of a key type, asked of an empty array of such keys."""
    return jax.random.key_impl(jnp.zeros((0,), dtype))


def _reason(error: Exception) -> str:
    """What happened, without the settings that TensorStore appends."""
    return str(error).split(" [tensorstore_spec=")[0].split(" [source locations=")[0]


def _stage_order(workdir: pathlib.Path) -> list[str]:
    config = read_config(workdir)
    order = [] if config is None else config.get("stage_order")
    return [str(name) for name in order] if isinstance(order, list) else []


def read_config(workdir: pathlib.Path) -> dict[str, Any] | None:
    """The config of a run: that of ``config.json``, or where that is damaged the one
    in the run's newest checkpoint. None where there is neither."""
    path = workdir / CONFIG
    if not path.exists():
        return None
    if (config := read_object(path)) is not None:
        return config
    for folder in sorted(workdir.glob(f"*/{NEWEST}/*"), key=_modified, reverse=True):
        with contextlib.suppress(CheckpointError):
            return integrity.read_meta(folder)["config"]
    return None


def _modified(path: pathlib.Path) -> float:
    return path.stat().st_mtime


def _is_complete(folder: pathlib.Path) -> bool:
    import orbax.checkpoint as ocp

    return ocp.utils.is_checkpoint_finalized(folder.absolute())


def _remove_partial(folder: pathlib.Path) -> None:
    """Remove what a failed or killed save has written."""
    import orbax.checkpoint as ocp

    for path in folder.glob("*"):
        if ocp.utils.is_tmp_checkpoint(path):
            shutil.rmtree(path)
