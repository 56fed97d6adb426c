"""Score priors on images themselves: what their configs share.

The VAE is the identity: levels are dequantised with uniform noise, in training too
(published trainings of CLD have none), and the bound is one on their probability.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import paper, pieces
from configs.pieces import piece


def images(size: int, **splits: str) -> dict[str, Any]:
    """CIFAR-10 (32) or CelebA-HQ (256) at 8 bits, mirrored at random."""
    if size == 32:
        return paper.cifar10_data()
    return {**paper.celeba_hq_data(), "num_bits": 8, **splits}


def network(smoke: bool, **fields: Any) -> dict[str, Any]:
    """NCSN++ of 128 channels; in a smoke test a tiny one."""
    channels = 8 if smoke else 128
    shared = dict(
        channels=channels,
        time_channels=4 * channels,
        attention_resolutions=(16,),
        dropout=0.1,
    )
    smallest = dict(blocks_per_level=1, attention_resolutions=()) if smoke else {}
    return piece("networks.ncsnpp:NCSNpp", **(shared | fields | smallest))


def positional(smoke: bool, scale: float) -> dict[str, Any]:
    """Features of the time times ``scale``."""
    return piece("networks.embeddings:Positional", dim=8 if smoke else 128, scale=scale)


def fourier(smoke: bool, **fields: Any) -> dict[str, Any]:
    """Features of random frequencies, 256 of them."""
    return piece("networks.embeddings:Fourier", dim=8 if smoke else 256, **fields)


def warmed_adam(rate: float, warmup: int, num_steps: int, **fields: Any) -> dict:
    """Adam at a constant rate after a linear warm-up."""
    lr = piece(
        "training.optim:WarmupCosine",
        peak=rate,
        end=rate,
        num_steps=num_steps,
        warmup_steps=warmup,
    )
    return piece("training.optim:Adam", lr=lr, **fields)


def run(
    smoke: bool,
    *,
    size: int,
    prior: dict[str, Any],
    optimizer: dict[str, Any],
    num_steps: int,
    batch_size: int,
    ema_decay: float,
    ledger: dict[str, Any] | None,
) -> ConfigDict:
    """Stage ``prior`` alone, on images of ``size`` squared.

    Args:
      ledger: the published figures.
    """
    if smoke:
        size = min(size, 32)
    data = images(size)
    return pieces.new_config(
        seed=0,
        data=data,
        vae=piece(
            "vae:IdentityVAE",
            data_shape=(size, size, 3),
            likelihood=piece("data_space:DequantisationLikelihood", num_bits=8),
        ),
        stage_order=("prior",),
        stages=dict(
            prior=pieces.stage(
                smoke,
                prior=prior,
                batch_size=batch_size,
                optimizers=dict(prior=optimizer),
                ema=piece("training.optim:Ema", decay=ema_decay, warmup=True),
                **paper.periods(num_steps),
            )
        ),
        evaluation=pieces.evaluation(
            smoke,
            num_samples=50_000,
            extractor=None if smoke else paper.inception(),
            ledger=ledger,
            **paper.test_as_held_out("train"),
        ),
    )


def cld_prior(
    smoke: bool, *, network: dict[str, Any], t_min: float, **sde: Any
) -> dict[str, Any]:
    """Hybrid score matching, unweighted, at uniform times; the published mixed score.

    Args:
      sde: fields of the process.
    """
    return piece(
        "priors.score:ScorePrior",
        sde=piece("sdes.cld:CLD", **sde),
        network={**network, "out_channels": 3},
        weighting=piece("objectives.weighting:Unweighted"),
        time_sampler=piece("objectives.time_sampling:Uniform", t_min=t_min),
        mixed=False,
        base_added=True,
        sampler={
            **paper.sampler(smoke, 1e-5, t_end=1e-3),
            "denoise": "drift",
        },
    )


def ddpmpp_run(
    arg: str,
    *,
    sde: dict[str, Any],
    name: str,
    fid: tuple[float, float],
    bits_per_dim: tuple[float, float],
) -> ConfigDict:
    """DDPM++ on CIFAR-10, as published: ``full``, ``deep``, or ``smoke``.

    Args:
      name: of the process in the paper's table.
      fid, bits_per_dim: published, of ``full`` and of ``deep``.
    """
    arg = pieces.variant(arg, "full", "smoke", "deep")
    smoke, deep = arg == "smoke", arg == "deep"
    steps = 950_000 if deep else 1_300_000
    # Per dimension as published, and summed here: Adam sees the factor in eps alone.
    dims = 32 * 32 * 3
    prior = piece(
        "priors.score:ScorePrior",
        sde=sde,
        network=network(
            smoke,
            channel_mult=(1, 2, 2, 2),
            blocks_per_level=8 if deep else 4,
            embedding=positional(smoke, scale=999.0),
        ),
        weighting=piece("objectives.weighting:Unweighted"),
        time_sampler=piece("objectives.time_sampling:Uniform", t_min=1e-5),
        mixed=False,
        sampler=piece(
            "samplers.euler_maruyama:EulerMaruyama",
            num_steps=4 if smoke else 999,
            t_end=1e-3,
            denoise="drift",
        ),
    )
    published = piece(
        "reports.ledger:Ledger",
        source=f"Song et al., arXiv 2011.13456: DDPM++ {name}, continuous",
        fid=fid[deep],
        bits_per_dim=bits_per_dim[deep],
        nfe=1000.0,
    )
    return run(
        smoke,
        size=32,
        prior=prior,
        optimizer=warmed_adam(2e-4, 5000, steps, clip_norm=1.0 * dims, eps=1e-8 * dims),
        num_steps=steps,
        batch_size=128,
        ema_decay=0.9999,
        ledger=None if smoke else published,
    )


def ve_prior(
    smoke: bool,
    *,
    network: dict[str, Any],
    sigmas: tuple[float, float],
    num_steps: int,
    snr: float,
) -> dict[str, Any]:
    """The VESDE's prior with its published predictor-corrector sampler.

    Args:
      sigmas: the least and the largest deviation, of images in [-1, 1].
      num_steps, snr: of the sampler.
    """
    low, high = sigmas
    return piece(
        "priors.score:ScorePrior",
        sde=piece("sdes.vesde:VESDE", var_min=low**2, var_max=high**2),
        network=network,
        weighting=piece("objectives.weighting:Unweighted"),
        time_sampler=piece("objectives.time_sampling:Uniform", t_min=1e-5),
        mixed=False,
        sampler=piece(
            "samplers.predictor_corrector:PredictorCorrector",
            num_steps=2 if smoke else num_steps,
            t_end=1e-5,
            predictor="reverse_diffusion",
            snr=snr,
            denoise="mean",
        ),
    )
