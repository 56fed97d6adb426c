"""Published runs on disk: PyTorch's own files, and npz or safetensors.

In npz and safetensors the two state dictionaries stand side by side, every tensor
under ``vae_state_dict.<published name>`` or ``dae_state_dict.<published name>``,
and the run's arguments and step are metadata: in npz JSON in the arrays ``args`` and
``global_step``, in safetensors JSON in the header. Weights are those to sample with.
Runs of CLD have no VAE, and their network stands under ``model.<published name>``.
"""

import json
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import safetensors
import safetensors.numpy

from lsgm.arrays import read_arrays
from lsgm.files import write_arrays, write_file
from lsgm.interop import torch_file, torch_run
from lsgm.interop.prefixes import strip_prefix
from lsgm.interop.torch_file import FileError
from lsgm.limits import shorten

VAE, PRIOR = "vae_state_dict.", "dae_state_dict."
NETWORK = "model."
ARGS, STEP = "args", "global_step"
TORCH = (".pt", ".pth")

# Types of tensors in safetensors.
READ = ("F16", "BF16", "F32", "F64", "I32", "I64")

State = dict[str, np.ndarray]


class PublishedRun(NamedTuple):
    """What a file of a published run holds.

    Attributes:
      vae, prior: state dictionaries; no prior after LSGM's first stage, and no VAE
        in runs of CLD, whose prior is one of the data.
      average: the prior's averaged parameters where ``prior`` holds raw ones.
      args: the run's arguments.
      step: updates made.
    """

    vae: State | None
    prior: State | None
    average: State | None
    args: dict[str, Any]
    step: int


def read(
    path: pathlib.Path,
    args: Mapping[str, Any] | None = None,
    *,
    prefix: str = "",
) -> PublishedRun:
    """Read a file by its suffix, without executing anything in it.

    Args:
      args: replace the file's own, which it then need not have.
      prefix: what names of tensors begin with because a wrapper saved them, such as
        "module."; it is left out.

    Raises:
      FileError: unreadable, unsafe, or without what a run needs.
    """
    if not path.is_file():
        raise FileError(f"{path}: no such file")
    if path.suffix in TORCH:
        found = PublishedRun(**torch_run.read(path, prefix))
    elif path.suffix in (".npz", ".safetensors"):
        tensors, words = (_npz if path.suffix == ".npz" else _safetensors)(path)
        found = _assemble(path, tensors, words, prefix)
    else:
        raise FileError(f"{path}: known are .npz, .safetensors and {', '.join(TORCH)}")
    given = found.args if args is None else args
    if not given:
        raise FileError(f"{path} has no arguments of the run: give them as JSON")
    _require_plain(path, given)
    return found._replace(args=dict(given))


def read_state(path: pathlib.Path) -> State:
    """A file that is nothing but a state dictionary, by its suffix.

    Raises:
      FileError: unreadable, unsafe, or something else.
    """
    if not path.is_file():
        raise FileError(f"{path}: no such file")
    if path.suffix in TORCH:
        return torch_file.read_state(path)
    if path.suffix not in (".npz", ".safetensors"):
        raise FileError(f"{path}: known are .npz, .safetensors and {', '.join(TORCH)}")
    return (_npz if path.suffix == ".npz" else _safetensors)(path)[0]


def write(path: pathlib.Path, run: PublishedRun) -> None:
    """Write npz or safetensors, by suffix; ``run.average`` has no place there.

    Raises:
      FileError: another suffix.
    """
    tensors = {VAE + name: tensor for name, tensor in (run.vae or {}).items()}
    place = NETWORK if run.vae is None else PRIOR
    tensors |= {place + name: tensor for name, tensor in (run.prior or {}).items()}
    words = {ARGS: json.dumps(run.args), STEP: json.dumps(run.step)}
    if path.suffix == ".safetensors":
        write_file(path, safetensors.numpy.save(tensors, metadata=words))
    elif path.suffix == ".npz":
        texts: Any = {name: np.array(text) for name, text in words.items()}
        write_arrays(path, tensors | texts)
    else:
        raise FileError(f"{path}: written are .npz and .safetensors")


def _assemble(
    path: pathlib.Path, tensors: State, words: dict[str, str], prefix: str
) -> PublishedRun:
    states: dict[str, State] = {VAE: {}, PRIOR: {}, NETWORK: {}}
    surplus = []
    for name, tensor in tensors.items():
        place = next((p for p in states if name.startswith(p)), None)
        if place is None:
            surplus.append(name)
        else:
            states[place][name.removeprefix(place)] = tensor
    if surplus:
        shown = ", ".join(sorted(surplus)[:5])
        known = f"{VAE}, {PRIOR} or {NETWORK}"
        raise FileError(f"{path}: names begin with {known}, but not {shown}")
    if states[NETWORK] and (states[VAE] or states[PRIOR]):
        raise FileError(f"{path}: tensors {NETWORK}... stand alone, without a VAE")
    if not states[NETWORK] and not states[VAE]:
        raise FileError(f"{path}: no tensor {VAE}... or {NETWORK}...")
    try:
        args, step = (
            json.loads(words.get(w, d)) for w, d in ((ARGS, "{}"), (STEP, "0"))
        )
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path}: arguments or step are no JSON: {error}") from error
    if type(step) is not int or step < 0:
        found = shorten(step)
        raise FileError(f"{path}: its {STEP} is {found}, not a number of updates")
    try:
        found = {p: strip_prefix(state, prefix, p) for p, state in states.items()}
    except FileError as error:
        raise FileError(f"{path}: {error}") from error
    return PublishedRun(
        vae=found[VAE] or None,
        prior=found[PRIOR] or found[NETWORK] or None,
        average=None,
        args=args,
        step=step,
    )


def _require_plain(path: pathlib.Path, args: Any) -> None:
    """Raise a FileError unless ``args`` are values by name. Nothing that nests, which a
    config could take for a class to build, is an argument of a run."""
    if not isinstance(args, Mapping):
        kind = type(args).__name__
        raise FileError(
            f"{path} is refused: the run's arguments are of type {kind}, not values "
            "by name; give them as a JSON object"
        )
    for name, value in args.items():
        if _holds_mapping(value):
            raise FileError(
                f"{path} is refused: the run's argument {str(name)[:80]!r} holds a "
                "dictionary; arguments are numbers, texts and lists of them"
            )


def _holds_mapping(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(map(_holds_mapping, value))
    return isinstance(value, Mapping)


def _npz(path: pathlib.Path) -> tuple[State, dict[str, str]]:
    try:
        arrays = read_arrays(path)
    except (OSError, ValueError) as error:
        raise FileError(f"{path}: {error}") from error
    words = {name: str(arrays.pop(name)) for name in (ARGS, STEP) if name in arrays}
    return arrays, words


def _safetensors(path: pathlib.Path) -> tuple[State, dict[str, str]]:
    try:
        with (
            safetensors.safe_open(path, framework="numpy") as file,
            safetensors.safe_open(path, framework="flax") as brief,
        ):
            tensors = {}
            for name in file.keys():  # noqa: SIM118
                kind = file.get_slice(name).get_dtype()
                if kind not in READ:
                    known = ", ".join(READ)
                    raise FileError(
                        f"{path}: tensor {name} is of type {kind}: known are {known}"
                    )
                # NumPy has no bfloat16, and every number of it is one of float32.
                tensors[name] = (
                    np.asarray(brief.get_tensor(name), np.float32)
                    if kind == "BF16"
                    else file.get_tensor(name)
                )
            return tensors, file.metadata() or {}
    except (OSError, safetensors.SafetensorError) as error:
        raise FileError(f"{path}: {error}") from error
