"""Published runs on disk: PyTorch's own files, and npz or safetensors.

In npz and safetensors the two state dictionaries stand side by side, every tensor
under ``vae_state_dict.<published name>`` or ``dae_state_dict.<published name>``,
and the run's arguments and step are metadata: in npz JSON in the arrays ``args`` and
``global_step``, in safetensors JSON in the header. Weights are those to sample with.
"""

import json
import pathlib
import zipfile
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import safetensors
import safetensors.numpy

from lsgm.files import write_arrays, write_file
from lsgm.interop import torch_file, torch_run
from lsgm.interop.torch_file import FileError

VAE, PRIOR = "vae_state_dict.", "dae_state_dict."
ARGS, STEP = "args", "global_step"
TORCH = (".pt", ".pth")

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


def read(path: pathlib.Path, args: Mapping[str, Any] | None = None) -> PublishedRun:
    """Read a file by its suffix, without executing anything in it.

    Args:
      args: replace the file's own, which it then need not have.

    Raises:
      FileError: unreadable, unsafe, or without what a run needs.
    """
    if not path.is_file():
        raise FileError(f"{path}: no such file")
    if path.suffix in TORCH:
        found = PublishedRun(**torch_run.read(path))
    elif path.suffix in (".npz", ".safetensors"):
        tensors, words = (_npz if path.suffix == ".npz" else _safetensors)(path)
        found = _assemble(path, tensors, words)
    else:
        raise FileError(f"{path}: known are .npz, .safetensors and {', '.join(TORCH)}")
    found = found._replace(args=dict(found.args if args is None else args))
    if not found.args:
        raise FileError(f"{path} has no arguments of the run: give them as JSON")
    return found


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
    tensors |= {PRIOR + name: tensor for name, tensor in (run.prior or {}).items()}
    words = {ARGS: json.dumps(run.args), STEP: json.dumps(run.step)}
    if path.suffix == ".safetensors":
        write_file(path, safetensors.numpy.save(tensors, metadata=words))
    elif path.suffix == ".npz":
        texts: Any = {name: np.array(text) for name, text in words.items()}
        write_arrays(path, tensors | texts)
    else:
        raise FileError(f"{path}: written are .npz and .safetensors")


def _assemble(
    path: pathlib.Path, tensors: State, words: dict[str, str]
) -> PublishedRun:
    vae, prior, surplus = {}, {}, []
    for name, tensor in tensors.items():
        if name.startswith(VAE):
            vae[name.removeprefix(VAE)] = tensor
        elif name.startswith(PRIOR):
            prior[name.removeprefix(PRIOR)] = tensor
        else:
            surplus.append(name)
    if surplus:
        shown = ", ".join(sorted(surplus)[:5])
        raise FileError(f"{path}: names begin with {VAE} or {PRIOR}, but not {shown}")
    if not vae:
        raise FileError(f"{path}: no tensor {VAE}...")
    try:
        args, step = (
            json.loads(words.get(w, d)) for w, d in ((ARGS, "{}"), (STEP, "0"))
        )
    except ValueError as error:
        raise FileError(f"{path}: arguments or step are no JSON: {error}") from error
    return PublishedRun(
        vae=vae, prior=prior or None, average=None, args=args, step=step
    )


def _npz(path: pathlib.Path) -> tuple[State, dict[str, str]]:
    try:
        # Pickled objects are refused.
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise FileError(f"{path}: {error}") from error
    words = {name: str(arrays.pop(name)) for name in (ARGS, STEP) if name in arrays}
    return arrays, words


def _safetensors(path: pathlib.Path) -> tuple[State, dict[str, str]]:
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, file.metadata() or {}
    except (OSError, safetensors.SafetensorError) as error:
        raise FileError(f"{path}: {error}") from error
