"""The sub-VP SDE on CIFAR-10 itself. Published: FID 2.61, deep 2.41.

    python -m experiments.train --config=configs/cifar10/subvpsde.py --workdir=runs/a

Here not yet run. Published too: 3.02 bits/dim, deep 2.99. DDPM++ with 61.8 M
parameters, or deep, with eight blocks a level. 1.3 M steps of 128 images, deep 950,000.
Published sampler: Euler-Maruyama, 1000 calls, of which the last adds no noise.

Source: Song et al., arXiv 2011.13456.
"""

from ml_collections import ConfigDict

from configs import data_space
from configs.pieces import piece


def get_config(arg: str = "full") -> ConfigDict:
    """The run, ``full`` or ``deep``; ``smoke`` takes two steps of the first."""
    return data_space.ddpmpp_run(
        arg,
        sde=piece("sdes.subvpsde:SubVPSDE"),
        name="sub-VP",
        fid=(2.61, 2.41),
        bits_per_dim=(3.02, 2.99),
    )
