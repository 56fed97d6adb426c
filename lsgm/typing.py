"""Array aliases and the one legend of dimension letters. No logic.

=======  ====================================================================
letter   dimension
=======  ====================================================================
``b``    examples in the batch (on one device)
``h w``  height and width, of an image or of a latent map
``c``    channels
``*d``   any latent shape, one example's
``*s``   a diffused state's shape: ``*d``, with more channels if it is augmented
``*n``   the shape of its noised part, which receives noise as time goes by
=======  ====================================================================
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from jaxtyping import Array, Bool, Float, Int, Key, PyTree, UInt8

PRNGKey: TypeAlias = Key[Array, ""]
PRNGKeys: TypeAlias = Key[Array, " b"]
Time: TypeAlias = Float[Array, " b"]
PerExample: TypeAlias = Float[Array, " b"]
Clean: TypeAlias = Float[Array, " b *d"]
State: TypeAlias = Float[Array, " b *s"]
Noise: TypeAlias = Float[Array, " b *n"]
Levels: TypeAlias = UInt8[Array, "b h w c"]
Image: TypeAlias = Float[Array, "b h w c"]
Latent: TypeAlias = Float[Array, "b h w c"]
Latents: TypeAlias = tuple[Float[Array, "b _ _ _"], ...]  # by group, sizes differ
Params: TypeAlias = dict[str, Any]
Batch: TypeAlias = Mapping[str, Any]  # "levels", "label", ...: arrays, b first
ResidualFn: TypeAlias = Callable[[State, Time], Noise]
# (x_k, level k, latent z) -> a guess of x_0.
Denoise: TypeAlias = Callable[[State, Int[Array, " b"], Float[Array, "b n"]], Clean]

__all__ = [
    "Array",
    "Batch",
    "Bool",
    "Clean",
    "Denoise",
    "Float",
    "Image",
    "Int",
    "Key",
    "Latent",
    "Latents",
    "Levels",
    "Noise",
    "PRNGKey",
    "PRNGKeys",
    "Params",
    "PerExample",
    "PyTree",
    "ResidualFn",
    "State",
    "Time",
    "UInt8",
]
