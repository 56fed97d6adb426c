"""The linear VPSDE on CIFAR-10 itself. Published: FID 2.55, deep 2.41.

    python -m experiments.train --config=configs/cifar10/vpsde.py --workdir=runs/a

Here not yet run. Published too: 3.16 bits/dim, deep 3.13. DDPM++ with 61.8 M
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
        sde=piece("sdes.vpsde:VPSDE"),
        name="VP",
        fid=(2.55, 2.41),
        bits_per_dim=(3.16, 3.13),
    )
