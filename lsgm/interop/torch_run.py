"""A published run in PyTorch's file: its weights, averages, arguments and step."""

import pathlib
from collections.abc import Mapping
from typing import Any

from lsgm.interop.torch_file import FileError, open_file

# Fixed parameters, which are counted among the others and not averaged.
FIXED = ("temb_fun.w",)


def read(path: pathlib.Path) -> dict[str, Any]:
    """The fields of ``lsgm.interop.files.PublishedRun``.

    A file with the prior's optimiser holds the prior's raw weights, and the averaged
    ones in the optimiser; one without holds averaged ones.

    Raises:
      FileError: the file is unsafe or damaged, or lacks what a run needs.
    """
    file = open_file(path)
    content = file.content
    if not isinstance(content, Mapping) or "vae_state_dict" not in content:
        raise FileError(f"{path} has no vae_state_dict: no checkpoint of LSGM")
    prior, averaged = content.get("dae_state_dict"), None
    if prior is not None and "dae_optimizer" in content:
        averaged = file.arrays(average(prior, content["dae_optimizer"]))
    args = content.get("args", {})
    if not isinstance(args, Mapping) or not all(isinstance(name, str) for name in args):
        raise FileError(f"{path}: its args are no namespace or dictionary of names")
    return {
        "vae": file.arrays(content["vae_state_dict"]),
        "prior": None if prior is None else file.arrays(prior),
        "average": averaged,
        "args": dict(args),
        "step": int(content.get("global_step", 0)),
    }


def average(
    state: Mapping[str, Any],
    optimizer: Mapping[str, Any],
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
    numbers = [n for group in optimizer["param_groups"] for n in group["params"]]
    if len(numbers) != len(state):
        raise FileError(
            f"{kept_in} has {len(numbers)} parameters, {named_in} {len(state)}"
        )
    found = {}
    for (name, tensor), number in zip(state.items(), numbers, strict=True):
        own = optimizer["state"].get(number, {})
        if "ema" not in own and name not in FIXED:
            raise FileError(f"{kept_in} has no average of {name}")
        found[name] = own.get("ema", tensor)
        if found[name].shape != tensor.shape:
            shape = tuple(found[name].shape)
            raise FileError(
                f"average of {name} has shape {shape}, expected {tuple(tensor.shape)}"
            )
    return found
