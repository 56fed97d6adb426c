"""A published run in PyTorch's file: its weights, averages, arguments and step.

Files of LSGM have a VAE, and the prior's averages in an optimiser. Files of CLD have
one network and a list of averages, in the order of its trained parameters; they have
no arguments.
"""

import pathlib
from collections.abc import Mapping
from typing import Any

from lsgm.interop.torch_file import FileError, open_file

# Fixed parameters, which are counted among the others and not averaged.
FIXED = ("temb_fun.w", "all_modules.0.W")
# What data-parallel training puts before each name.
WRAPPER = "module."


def read(path: pathlib.Path) -> dict[str, Any]:
    """The fields of ``lsgm.interop.files.PublishedRun``.

    A file with the prior's optimiser holds the prior's raw weights, and the averaged
    ones in the optimiser; one without holds averaged ones.

    Raises:
      FileError: the file is unsafe or damaged, or lacks what a run needs.
    """
    file = open_file(path)
    content = file.content
    if isinstance(content, Mapping) and {"model", "ema"} <= content.keys():
        return _read_network(path, file)
    if not isinstance(content, Mapping) or "vae_state_dict" not in content:
        raise FileError(
            f"{path} has no vae_state_dict, and no model and ema: no checkpoint of "
            "LSGM or CLD"
        )
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


def _read_network(path: pathlib.Path, file: Any) -> dict[str, Any]:
    """Fields of a run of CLD."""
    content = file.content
    prior = file.arrays(
        {name.removeprefix(WRAPPER): x for name, x in content["model"].items()}
    )
    if "shadow_params" not in content["ema"]:
        raise FileError(f"{path}: its ema has no shadow_params")
    averages = content["ema"]["shadow_params"]
    trained = [name for name in prior if name not in FIXED]
    if len(averages) != len(trained):
        raise FileError(
            f"{path}: {len(averages)} averages for {len(trained)} trained parameters"
        )
    found = prior | file.arrays(dict(zip(trained, averages, strict=True)))
    for name, tensor in prior.items():
        if found[name].shape != tensor.shape:
            raise FileError(
                f"{path}: average of {name} has shape {found[name].shape}, expected "
                f"{tensor.shape}"
            )
    return {
        "vae": None,
        "prior": prior,
        "average": found,
        "args": {},
        "step": int(content.get("step", 0)),
    }
