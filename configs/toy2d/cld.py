"""Critically-damped Langevin diffusion on points of the plane.

    python -m experiments.train --config=configs/toy2d/cld.py --workdir=runs/toy2d_cld

Variants as in ``configs/toy2d/vpsde.py``, which it is to be compared with: the same
points, network, steps and time sampling.
"""

from ml_collections import ConfigDict

from configs.pieces import piece
from configs.toy2d.recipe import toy2d


def get_config(arg: str = "diamond") -> ConfigDict:
    """The run on one set of points."""
    return toy2d(arg, sde=piece("sdes.cld:CLD"))
