"""The linear VPSDE on points of the plane.

    python -m experiments.train --config=configs/toy2d/vpsde.py --workdir=runs/toy2d
    python -m experiments.train --config=configs/toy2d/vpsde.py:moons --workdir=runs/b

Variants: ``diamond`` (the default), ``gaussians``, ``moons``, ``swiss_rolls``,
``smoke``.
"""

from ml_collections import ConfigDict

from configs.pieces import piece
from configs.toy2d.recipe import toy2d


def get_config(arg: str = "diamond") -> ConfigDict:
    """The run on one set of points."""
    return toy2d(arg, sde=piece("sdes.vpsde:VPSDE"))
