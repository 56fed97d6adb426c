"""Many samples from a restored model, batch by batch, with their calls."""

import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from lsgm.config import ConfigError, build
from lsgm.data.views import View
from lsgm.model import Generated, LatentModel
from lsgm.reports.plots import png
from lsgm.samplers.base import Sampler, require_finite
from lsgm.typing import Params, PRNGKey


class Drawn(NamedTuple):
    """Samples on the host.

    Attributes:
      images: float32 in [0, 1], [n h w c].
      nfe: calls of the prior's network, one figure per sample, int32 [n].
      path: images along the way from noise, [num_path n h w c], or None.
      features: an extractor's, [n d], or None.
    """

    images: np.ndarray
    nfe: np.ndarray
    path: np.ndarray | None = None
    features: np.ndarray | None = None


Sample = Callable[[Params, Params, PRNGKey], Generated]


def sample_fn(
    model: LatentModel,
    batch_size: int,
    *,
    temperature: float = 1.0,
    batch_statistics: bool = False,
    num_path: int = 0,
    decoded: Literal["mean", "sample"] = "mean",
) -> Sample:
    """Compiled ``(params, mutables, key) -> Generated`` of ``batch_size`` samples.

    An adaptive sampler controls its steps for a batch as a whole, so samples and
    calls depend on ``batch_size``; a report has to name it.

    Args:
      decoded: the mean of the decoder's distribution, or a draw from it.
    """

    def sample(params: Params, mutables: Params, key: PRNGKey) -> Generated:
        return model.sample(
            params,
            mutables,
            key,
            batch_size,
            temperature=temperature,
            batch_statistics=batch_statistics,
            num_path=num_path,
            decoded=decoded,
        )

    return jax.jit(sample)


def batches(
    sample: Sample, params: Params, mutables: Params, num: int, key: PRNGKey
) -> Iterator[Drawn]:
    """``num`` samples in batches of the size of ``sample``, the last one cut short:
    sample i is a function of (key, i) and of the batch size, whatever ``num`` is.

    Raises:
      FloatingPointError: they are not finite.
    """
    k = 0
    while num:
        generated = sample(params, mutables, jax.random.fold_in(key, k))
        require_finite(generated.images, "samples")
        left, path = min(num, len(generated.images)), generated.path
        yield Drawn(
            np.asarray(generated.images)[:left],
            np.full(left, int(generated.nfe), np.int32),
            None if path is None else np.asarray(path)[:, :left],
        )
        num, k = num - left, k + 1


def draw(
    sample: Sample, params: Params, mutables: Params, num: int, key: PRNGKey
) -> Drawn:
    """What ``batches`` yields, in one."""
    drawn = list(batches(sample, params, mutables, num, key))
    paths = [np.asarray(d.path) for d in drawn if d.path is not None]
    return Drawn(
        np.concatenate([d.images for d in drawn]),
        np.concatenate([d.nfe for d in drawn]),
        np.concatenate(paths, 1) if paths else None,
    )


def write(drawn: Drawn, folder: pathlib.Path, view: View) -> None:
    """Write ``samples.png``, ``samples.npz`` (the view's arrays, nfe), and where the
    data are texts ``samples.txt``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "samples.png").write_bytes(png(view.picture(drawn.images)))
    arrays: dict[str, Any] = view.arrays(drawn.images)
    np.savez_compressed(folder / "samples.npz", **arrays, nfe=drawn.nfe)
    texts = view.texts(drawn.images)
    if texts is not None:
        (folder / "samples.txt").write_text("\n".join(texts) + "\n", "utf-8")


def with_sampler(model: LatentModel, spec: Mapping[str, Any] | None) -> LatentModel:
    """The model with its prior's sampler replaced by the piece ``spec``.

    Raises:
      ConfigError: this prior has no sampler to replace, the spec is wrong, or that
        sampler does not fit the prior's process.
    """
    if spec is None:
        return model
    sampler = build(spec, "sampler")
    if not isinstance(sampler, Sampler):
        raise ConfigError("sampler", spec["target"], "is no sampler (lsgm.samplers)")
    try:
        return replace_sampler(model, sampler)
    except ValueError as error:
        raise ConfigError("sampler", spec["target"], str(error)) from error


def replace_sampler(model: LatentModel, sampler: Sampler | None) -> LatentModel:
    """The model with another sampler; None leaves it as it is.

    Raises:
      ValueError: this prior has no sampler to replace, or that one does not fit the
        prior's process.
    """
    if sampler is None:
        return model
    old: Any = model.prior
    if "sampler" not in (f.name for f in dataclasses.fields(old)):
        raise ValueError("this stage's prior has no sampler")
    return dataclasses.replace(model, prior=dataclasses.replace(old, sampler=sampler))


def sampler_spec(target: str | None, arguments: Sequence[str]) -> dict[str, Any] | None:
    """A piece from the command line: a class's name and ``name=value`` pairs."""
    if target is None:
        return None
    spec: dict[str, Any] = {"target": target}
    for argument in arguments:
        name, separator, value = argument.partition("=")
        if not separator:
            raise ConfigError("sampler_arg", argument, "write it as name=value")
        spec[name] = _literal(value)
    return spec


def _literal(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text.lower(), text)
