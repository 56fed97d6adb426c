"""A published run of CLD: its arguments, and the config of ours that they describe.

Its checkpoints have no arguments. They stand in text files of lines ``name = value``,
one of defaults and one of what differs.
"""

import ast
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from lsgm.interop import ncsnpp_names
from lsgm.interop.published_config import MEASURES
from lsgm.interop.torch_file import FileError

WEIGHTINGS = {
    "likelihood": "lsgm.objectives.weighting:LikelihoodWeighting",
    "reweightedv1": "lsgm.objectives.weighting:Reweighted",
    "reweightedv2": "lsgm.objectives.weighting:Unweighted",
}
# By the size of images: names of data sets in TFDS's manner, see docs/data.md.
DATASETS = {32: "cifar10", 256: "celeba_hq_256"}
# What all published networks have; others are not known here.
COMMON = {
    "name": "ncsnpp",
    "sde": "cld",
    "beta_type": "linear",
    "resblock_type": "biggan",
    "attention_type": "ddpm",
    "nonlinearity": "swish",
    "normalization": "GroupNorm",
    "fir_kernel": "1,3,3,1",
    "conv_size": 3,
    "skip_rescale": True,
    "sampling_solver": "scipy_solver",
}
NEEDED = (
    *("beta0", "beta1", "m_inv", "gamma", "numerical_eps", "cld_objective"),
    *("weighting", "mixed_score", "loss_eps", "image_size", "image_channels"),
    *("n_channels", "ch_mult", "n_resblocks", "attn_resolutions", "use_fir"),
    *("dropout", "embedding_type", "fourier_scale"),
    *("progressive", "progressive_input", "progressive_combine"),
    *("sampling_rtol", "sampling_atol", "sampling_eps"),
)


def read_args(paths: Sequence[pathlib.Path]) -> dict[str, Any]:
    """Arguments from JSON (``.json``) or text files; later files replace.

    Raises:
      FileError: a line is no argument; names it.
    """
    found: dict[str, Any] = {}
    for path in paths:
        text = path.read_text()
        found |= (
            json.loads(text) if path.suffix == ".json" else parse_text(text, str(path))
        )
    return found


def parse_text(text: str, source: str) -> dict[str, Any]:
    """Arguments from lines ``name = value``; ``source`` is named in errors."""
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.partition("#")[0].strip()
        if not line or (line.startswith("[") and line.endswith("]")):
            continue
        name, equals, value = line.removeprefix("--").partition("=")
        if not equals:
            raise FileError(
                f"{source}, line {number}: {line!r} is no argument; write name = value"
            )
        found[name.strip()] = _value(value.strip())
    return found


def _value(text: str) -> Any:
    """A number, a truth value, or the text itself, of which lists remain texts."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return text if isinstance(value, tuple) else value


def config_of(args: Mapping[str, Any], step: int) -> dict[str, Any]:
    """The config of one stage, "prior", on the data themselves.

    Args:
      args: as in the published text files.
      step: updates made.

    Raises:
      ValueError: an argument is missing or has a value that is not known here.
    """
    if absent := [name for name in NEEDED if name not in args]:
        raise ValueError(f"arguments of the run lack {', '.join(absent)}")
    for name, known in COMMON.items():
        if args.get(name, known) != known:
            raise ValueError(f"{name} = {args[name]!r}: known is {known!r}")
    size, channels = args["image_size"], args["image_channels"]
    shape = (size, size, channels)
    return {
        "seed": 0,
        "data": {
            "target": "lsgm.data.images:Images",
            "source": {
                "target": "lsgm.data.sources.tfds_source:TFDS",
                "dataset": DATASETS.get(size, f"images_{size}"),
            },
            "image_shape": shape,
            "num_bits": 8,
            "binarize": "none",
        },
        "vae": {
            "target": "lsgm.vae:IdentityVAE",
            "data_shape": shape,
            "likelihood": {
                "target": "lsgm.data_space:DequantisationLikelihood",
                "num_bits": 8,
            },
        },
        "stage_order": ("prior",),
        "stages": {
            "prior": {
                "target": "lsgm.training.stage:Stage",
                "prior": prior_piece(args),
                "optimizers": {
                    "prior": {"target": "lsgm.training.optim:Adam", "lr": 1e-4}
                },
                "num_steps": max(step, 1),
                "batch_size": 64,
                "reference_compatible": True,
            }
        },
        "evaluation": {
            "target": "lsgm.evaluation.settings:Evaluation",
            "measures": tuple({"target": target} for target in MEASURES),
            "monitor_split": "test",
            "baseline_split": "test",
            "reference_split": "train",
        },
    }


def prior_piece(args: Mapping[str, Any]) -> dict[str, Any]:
    """The score prior; its sampler is the published ODE, with a last drift that takes
    no call."""
    if args["weighting"] not in WEIGHTINGS:
        allowed = ", ".join(WEIGHTINGS)
        raise ValueError(f"weighting = {args['weighting']!r}: allowed are {allowed}")
    if args["cld_objective"] not in ("hsm", "dsm"):
        value = args["cld_objective"]
        raise ValueError(f"cld_objective = {value!r}: allowed are hsm, dsm")
    return {
        "target": "lsgm.priors.score:ScorePrior",
        "sde": {
            "target": "lsgm.sdes.cld:CLD",
            "beta_0": float(args["beta0"]),
            # The published name is the slope's.
            "beta_1": float(args["beta0"] + args["beta1"]),
            "mass": 1 / args["m_inv"],
            "gamma": float(args["gamma"]),
            "added_var": float(args["numerical_eps"]),
        },
        "network": network_piece(args),
        "weighting": {"target": WEIGHTINGS[args["weighting"]]},
        "time_sampler": {
            "target": "lsgm.objectives.time_sampling:Uniform",
            "t_min": args["loss_eps"],
        },
        "mixed": False,
        "base_added": bool(args["mixed_score"]),
        "hybrid": args["cld_objective"] == "hsm",
        "sampler": {
            "target": "lsgm.samplers.probability_flow:ProbabilityFlow",
            "rtol": args["sampling_rtol"],
            "atol": args["sampling_atol"],
            "t_end": args["sampling_eps"],
            "denoise": "drift",
        },
    }


def network_piece(args: Mapping[str, Any]) -> dict[str, Any]:
    """The network: positions and velocities in, the noise of velocities out."""
    width, kind = args["n_channels"], args["embedding_type"]
    if kind not in ("fourier", "positional"):
        raise ValueError(f"embedding_type = {kind!r}: allowed are fourier, positional")
    fourier = kind == "fourier"
    piece = ncsnpp_names.network_piece(
        {
            "num_channels_dae": width,
            "num_cell_per_scale_dae": args["n_resblocks"],
            "fir": args["use_fir"],
            "dropout": args["dropout"],
            "embedding_type": kind,
            "embedding_dim": 2 * width if fourier else width,
            # Positional features take the time as it is.
            "embedding_scale": args["fourier_scale"] if fourier else 1.0,
            **{name: args[name] for name in args if name.startswith("progressive")},
        },
        _numbers(args["ch_mult"]),
    )
    if fourier:
        piece["embedding"]["log_time"] = True
    return piece | {
        "time_channels": 4 * width,
        "attention_resolutions": _numbers(args["attn_resolutions"]),
        "out_channels": args["image_channels"],
    }


def _numbers(text: Any) -> tuple[int, ...]:
    """Of "1,2,2", or of one number."""
    return tuple(int(part) for part in str(text).split(",") if part.strip())
