"""PyTorch's files, and the only place that knows PyTorch, which is an extra.

They are pickles, which can execute anything. PyTorch's restricted reader admits
tensors, plain containers, and the two classes that published runs add to them; what
names any other is refused unread.
"""

import argparse
import contextlib
import pathlib
import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np

# Fixed parameters, which are counted among the others and not averaged.
FIXED = ("temb_fun.w",)


class FileError(ValueError):
    """A file of a published run that cannot be used."""


def read(path: pathlib.Path) -> dict[str, Any]:
    """The fields of ``lsgm.interop.files.PublishedRun``.

    A file with the prior's optimiser holds the prior's raw weights, and the averaged
    ones in the optimiser; one without holds averaged ones.

    Raises:
      FileError: PyTorch is missing, the file is unsafe or damaged, or something
        that a run needs is not in it.
    """
    content = _load(path)
    if not isinstance(content, Mapping) or "vae_state_dict" not in content:
        raise FileError(f"{path} has no vae_state_dict: no checkpoint of LSGM")
    prior = content.get("dae_state_dict")
    averaged = None
    if prior is not None and "dae_optimizer" in content:
        averaged = _arrays(average(prior, content["dae_optimizer"]))
    args = content.get("args", {})
    return {
        "vae": _arrays(content["vae_state_dict"]),
        "prior": None if prior is None else _arrays(prior),
        "average": averaged,
        "args": dict(args if isinstance(args, Mapping) else vars(args)),
        "step": int(content.get("global_step", 0)),
    }


def average(state: Mapping[str, Any], optimizer: Mapping[str, Any]) -> dict[str, Any]:
    """The averaged parameters that an optimiser carries, by name.

    It numbers parameters in the order of the state dictionary.

    Raises:
      FileError: a parameter has no average, or one of another shape.
    """
    numbers = [n for group in optimizer["param_groups"] for n in group["params"]]
    if len(numbers) != len(state):
        raise FileError(
            f"dae_optimizer has {len(numbers)} parameters, dae_state_dict {len(state)}"
        )
    found = {}
    for (name, tensor), number in zip(state.items(), numbers, strict=True):
        own = optimizer["state"].get(number, {})
        if "ema" not in own and name not in FIXED:
            raise FileError(f"dae_optimizer has no average of {name}")
        found[name] = own.get("ema", tensor)
        if found[name].shape != tensor.shape:
            shape = tuple(found[name].shape)
            raise FileError(
                f"average of {name} has shape {shape}, expected {tuple(tensor.shape)}"
            )
    return found


def _load(path: pathlib.Path) -> Any:
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise FileError(
            f"{path}: reading it needs PyTorch, pip install '.[torch]'; npz and "
            "safetensors do not"
        ) from error
    admitted: Any = [argparse.Namespace, torch.Size]
    try:
        with torch.serialization.safe_globals(admitted):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise FileError(f"{path} is refused: {_first_line(error)}") from error
    except (RuntimeError, OSError, EOFError) as error:
        raise FileError(f"{path} is damaged: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]


def _arrays(state: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Tensors as arrays; half precision becomes single."""
    arrays = {}
    for name, tensor in state.items():
        with contextlib.suppress(AttributeError):
            tensor = tensor.float() if tensor.is_floating_point() else tensor
        arrays[name] = np.asarray(tensor)
    return arrays
