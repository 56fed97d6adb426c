"""A published run in PyTorch's file: its weights, averages, arguments and step.

Files of LSGM have a VAE, and the prior's averages in an optimiser. Files of CLD have
one network and a list of averages, in the order of its trained parameters; they have
no arguments.
"""

import pathlib
from collections.abc import Mapping
from typing import Any

from lsgm.interop.prefixes import strip_prefix
from lsgm.interop.torch_file import FileError, Tensor, open_file
from lsgm.limits import shorten

# Fixed parameters, which are counted among the others and not averaged.
FIXED = ("temb_fun.w", "all_modules.0.W")
# What data-parallel training puts before each name.
WRAPPER = "module."


def read(path: pathlib.Path, prefix: str = "") -> dict[str, Any]:
    """The fields of ``lsgm.interop.files.PublishedRun``.

    A file with the prior's optimiser holds the prior's raw weights, and the averaged
    ones in the optimiser; one without holds averaged ones.

    Args:
      prefix: what every name of a tensor begins with, and ours does not.

    Raises:
      FileError: the file is unsafe or damaged, or lacks what a run needs.
    """
    file = open_file(path)
    content = file.content
    if isinstance(content, Mapping) and {"model", "ema"} <= content.keys():
        return _read_network(path, file, prefix)
    if not isinstance(content, Mapping) or "vae_state_dict" not in content:
        raise FileError(
            f"{path} has no vae_state_dict, and no model and ema: no checkpoint of "
            "LSGM or CLD"
        )
    vae, prior = (
        _tensors(path, content, name, prefix)
        for name in ("vae_state_dict", "dae_state_dict")
    )
    averaged = None
    if prior is not None and "dae_optimizer" in content:
        try:
            averages = average(prior, content["dae_optimizer"])
        except FileError as error:
            raise FileError(f"{path}: {error}") from error
        averaged = file.arrays(averages)
    args = content.get("args", {})
    if not isinstance(args, Mapping) or not all(isinstance(name, str) for name in args):
        raise FileError(f"{path}: its args are no namespace or dictionary of names")
    return {
        "vae": file.arrays(vae),
        "prior": None if prior is None else file.arrays(prior),
        "average": averaged,
        "args": dict(args),
        "step": _step(path, content.get("global_step", 0)),
    }


def _tensors(
    path: pathlib.Path, content: Mapping[str, Any], name: str, prefix: str
) -> dict[str, Tensor] | None:
    """A state dictionary of the file, without the prefix; None where there is none."""
    state = content.get(name)
    if state is None:
        return None
    if not isinstance(state, Mapping) or not all(isinstance(n, str) for n in state):
        raise FileError(f"{path} is refused: its {name} is no state dictionary")
    try:
        return strip_prefix(state, prefix, name)
    except FileError as error:
        raise FileError(f"{path}: {error}") from error


def _step(path: pathlib.Path, step: Any) -> int:
    if type(step) is not int or step < 0:
        found = shorten(step)
        raise FileError(f"{path}: its step is {found}, not a number of updates")
    return step


def average(
    state: Mapping[str, Any],
    optimizer: Any,
    kept_in: str = "dae_optimizer",
    named_in: str = "dae_state_dict",
) -> dict[str, Any]:
    """The averaged parameters that an optimiser carries, by name.

    It numbers parameters in the order of the state dictionary.

    Args:
      kept_in, named_in: the two entries of the file, for messages.

    Raises:
      FileError: a parameter has no average, or one of another shape.
    """
    try:
        states = dict(optimizer["state"])
        numbers = [n for group in optimizer["param_groups"] for n in group["params"]]
    except (KeyError, TypeError, ValueError) as error:
        raise FileError(
            f"{kept_in} has no 'state' and 'param_groups', from which averaged "
            "parameters are taken; save the file with the whole optimizer"
        ) from error
    if len(numbers) != len(state):
        raise FileError(
            f"{kept_in} has {len(numbers)} parameters, {named_in} {len(state)}"
        )
    found = {}
    for (name, tensor), number in zip(state.items(), numbers, strict=True):
        own = states.get(number, {}) if type(number) is int else {}
        found[name] = own.get("ema", tensor) if isinstance(own, Mapping) else None
        if not isinstance(found[name], Tensor) or (
            found[name] is tensor and name not in FIXED
        ):
            raise FileError(f"{kept_in} has no average of {name}")
        if found[name].shape != tensor.shape:
            shape = tuple(found[name].shape)
            raise FileError(
                f"average of {name} has shape {shape}, expected {tuple(tensor.shape)}"
            )
    return found


def _read_network(path: pathlib.Path, file: Any, prefix: str) -> dict[str, Any]:
    """Fields of a run of CLD. Its published files have a wrapper's prefix."""
    names = _names(file.content["model"])
    if not prefix and names and all(name.startswith(WRAPPER) for name in names):
        prefix = WRAPPER
    state = _tensors(path, file.content, "model", prefix) or {}
    trained = [name for name in state if name not in FIXED]
    ema = file.content["ema"]
    averages = ema.get("shadow_params") if isinstance(ema, Mapping) else None
    if not isinstance(averages, list | tuple):
        raise FileError(f"{path}: its ema has no shadow_params")
    if len(averages) != len(trained):
        raise FileError(
            f"{path}: {len(averages)} averages for {len(trained)} trained parameters"
        )
    found = {**state, **dict(zip(trained, averages, strict=True))}
    for name, tensor in state.items():
        shape = getattr(found[name], "shape", None)
        if shape != tensor.shape:
            raise FileError(
                f"{path}: average of {name} has shape {shape}, expected {tensor.shape}"
            )
    return {
        "vae": None,
        "prior": file.arrays(state),
        "average": file.arrays(found),
        "args": {},
        "step": _step(path, file.content.get("step", 0)),
    }


def _names(state: Any) -> list[str]:
    """Names of a state dictionary, or of what stands in its place."""
    return [str(name) for name in state] if isinstance(state, Mapping) else []
