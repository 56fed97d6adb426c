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
Saving blocks: an error belongs to the step that raised it, and the state's buffers,
which the next update overwrites, are not read behind its back.
"""

import importlib.metadata
import json
import pathlib
import platform
import shutil
import sys
import zlib
from collections.abc import Iterable
from types import TracebackType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

import lsgm
from lsgm.training.state import TrainState

# Folders of a stage: of its newest states, and of the best where it keeps it.
NEWEST, BEST = "checkpoints", "best"
FORMAT = 1
KEPT = 2
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be written, found, or read."""


class CorruptError(CheckpointError):
    """A checkpoint whose files are damaged or missing."""


class Snapshot(NamedTuple):
    """A restored state, on one device, and what was stored beside it."""

    state: TrainState
    meta: dict[str, Any]


class Checkpoints:
    """The rolling checkpoints of one stage: the last ``KEPT`` stay."""

    def __init__(self, folder: pathlib.Path):
        """Open ``folder``, made if missing; remains of killed saves are removed."""
        self._folder = folder.absolute()
        if jax.process_index() == 0:
            _remove_partial(self._folder)
        self._manager = ocp.CheckpointManager(
            self._folder,
            options=ocp.CheckpointManagerOptions(
                max_to_keep=KEPT,
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

        Raises:
          CheckpointError: it could not be written; those before it are intact.
        """
        step, host = int(state.step), jax.tree.map(_to_host, state)
        items = ocp.args.Composite(
            state=ocp.args.PyTreeSave(host),
            index=ocp.args.JsonSave(_index(state, host)),
            meta=ocp.args.JsonSave({**meta, "step": step}),
        )
        try:
            self._manager.save(step, args=items, force=True)
            self._manager.wait_until_finished()
        except Exception as error:  # A full disk is an OSError, a ValueError, ...
            raise CheckpointError(self._cannot_save(step, error)) from error

    def latest_meta(self) -> dict[str, Any] | None:
        """What the newest checkpoint says of itself, or None where there is none."""
        step = self._manager.latest_step()
        return None if step is None else describe(self._folder / str(step))

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
            print(f"WARNING: {error}; {outcome}", file=sys.stderr, flush=True)
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
            "Make room, or lift the quota, and start the same command again."
        )


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
    meta = _read_json(folder, "meta")
    if meta["format"] > FORMAT:
        raise CheckpointError(
            f"{folder} has format {meta['format']}; this version reads up to {FORMAT}"
        )
    return meta


def read(folder: pathlib.Path, fields: Iterable[str]) -> dict[str, Any]:
    """Some fields of the stored state, as nested dictionaries (and lists, where the
    state had tuples) of arrays on the host. Other fields are not read.

    Raises:
      CheckpointError: damaged, or without such a field.
    """
    index = _read_json(folder, "index")
    handler = ocp.PyTreeCheckpointHandler()
    path: Any = (folder / "state").absolute()
    try:
        stored = handler.metadata(path).tree
        if absent := set(fields) - set(stored):
            raise CheckpointError(f"{folder} has no {', '.join(sorted(absent))}")
        wanted = {field: stored[field] for field in fields}
        how = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), wanted)
        args = ocp.args.PyTreeRestore(wanted, restore_args=how, partial_restore=True)
        tree = handler.restore(path, args=args)
    except CheckpointError:
        raise
    except Exception as error:  # Orbax and TensorStore raise many kinds.
        raise CorruptError(f"damaged checkpoint {folder}: {_reason(error)}") from error
    _verify(folder, index, _named(tree))
    return tree


def _restore(folder: pathlib.Path, abstract: TrainState) -> Snapshot:
    meta, index = describe(folder), _read_json(folder, "index")
    wanted = _named(abstract)
    _compare(folder, index, wanted)
    stored = _named(read(folder, {name.split("/")[0] for name in wanted}))
    leaves = [_to_device(stored[name], leaf.dtype) for name, leaf in wanted.items()]
    return Snapshot(jax.tree.unflatten(jax.tree.structure(abstract), leaves), meta)


def _compare(
    folder: pathlib.Path, index: dict[str, Any], wanted: dict[str, Any]
) -> None:
    """Refuse a checkpoint whose arrays are not those that the run needs."""
    there = {name: f"{entry['dtype']}{entry['shape']}" for name, entry in index.items()}
    here = {name: f"{leaf.dtype}{list(leaf.shape)}" for name, leaf in wanted.items()}
    differing = [
        f"  {name}: {there.get(name, 'absent')} there, {here.get(name, 'absent')} now"
        for name in sorted(there.keys() | here.keys())
        if there.get(name) != here.get(name)
    ]
    if differing:
        more = f"\n  and {len(differing) - 10} more" if len(differing) > 10 else ""
        raise CheckpointError(
            f"{folder} holds another model's state:\n"
            + "\n".join(differing[:10])
            + more
        )


def _verify(
    folder: pathlib.Path, index: dict[str, Any], arrays: dict[str, np.ndarray]
) -> None:
    for name, array in arrays.items():
        if name not in index or index[name]["crc32"] != _crc(array):
            raise CorruptError(f"damaged checkpoint {folder}: {name} has changed")


def _index(state: TrainState, host: TrainState) -> dict[str, Any]:
    arrays = _named(host)
    return {
        name: {
            "shape": list(leaf.shape),
            "dtype": str(leaf.dtype),
            "crc32": _crc(arrays[name]),
        }
        for name, leaf in _named(state).items()
    }


def _named(tree: Any) -> dict[str, Any]:
    """Leaves by path, ``params/vae/...``: the same for a state and for the plain
    dictionaries and lists that its checkpoint holds."""
    flat, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(k, simple=True, separator="/"): v for k, v in flat}


def _crc(array: np.ndarray) -> int:
    return zlib.crc32(array.tobytes())


def _to_host(leaf: jax.Array) -> np.ndarray:
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


def _read_json(folder: pathlib.Path, item: str) -> Any:
    path = folder / item / "metadata"
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CorruptError(f"damaged checkpoint {folder}: {item}: {error}") from error


def _stage_order(workdir: pathlib.Path) -> list[str]:
    path = workdir / "config.json"
    return json.loads(path.read_text())["stage_order"] if path.exists() else []


def _is_complete(folder: pathlib.Path) -> bool:
    return ocp.utils.is_checkpoint_finalized(folder.absolute())


def _remove_partial(folder: pathlib.Path) -> None:
    """Remove what a failed or killed save has written."""
    for path in folder.glob("*"):
        if ocp.utils.is_tmp_checkpoint(path):
            shutil.rmtree(path)
