"""Texts: a sequence VAE, then a score prior on its latents; any set of short texts.

A config of your own names a source, its alphabet, and a length (docs/text.md).
"""

from typing import Any

from ml_collections import ConfigDict

from configs import pieces
from configs.pieces import piece

GLOSSES_ALPHABET = " abcdefghijklmnopqrstuvwxyz,-';"


def glosses_run(arg: str, **fields: Any) -> ConfigDict:
    """``text_run`` of the glosses; ``smoke`` takes two steps a stage."""
    return text_run(
        pieces.variant(arg, "full", "smoke") == "smoke",
        source=piece("data.sources.glosses:Glosses"),
        alphabet=GLOSSES_ALPHABET,
        length=64,
        **fields,
    )


def text_run(
    smoke: bool,
    *,
    source: dict[str, Any],
    alphabet: str,
    length: int,
    context: int,
    steps: tuple[int, int],
    coeff_max: float = 0.3,
    annealed: float = 0.5,
    rates: tuple[float, float] = (1e-3, 5e-4),
    clip_norm: float = 5.0,
    num_texts: int = 1000,
) -> ConfigDict:
    """Both stages; in a smoke test two steps each, of a tiny model.

    Args:
      source: a piece, such as ``lsgm.data.sources.text_folder:TextFolder``.
      alphabet: the texts' characters; length: their places, a multiple of 4.
      context: symbols that the decoder sees before a place; 0 for none.
      steps: of the first and the second stage.
      coeff_max: KL coefficient that the first stage ends with.
      annealed: portion of the first stage in which it grows.
      rates: learning rates of the VAE in the first and the second stage.
      clip_norm: of its gradients.
      num_texts: samples that are measured, and held-out texts beside them.
    """
    vae_steps, prior_steps = steps
    classes = 1 + len(alphabet)
    ema = piece("training.optim:Ema", decay=0.999, warmup=True)
    shared = dict(batch_size=64, ema=ema, checkpoint_every=500)
    return pieces.new_config(
        seed=0,
        data=piece("data.texts:Texts", source=source, alphabet=alphabet, length=length),
        vae=sequence_vae(smoke, length, classes, context),
        stage_order=("vae", "lsgm"),
        stages=dict(
            vae=pieces.stage(
                smoke,
                prior=pieces.normal_prior(),
                num_steps=vae_steps,
                sample_every=vae_steps // 2,
                eval_every=vae_steps // 2,
                optimizers=dict(vae=_adam(rates[0], vae_steps, clip_norm)),
                kl=pieces.annealing(
                    vae_steps, annealed, coeff_min=0.02, coeff_max=coeff_max
                ),
                **shared,
            ),
            lsgm=pieces.stage(
                smoke,
                prior=sequence_prior(smoke),
                num_steps=prior_steps,
                sample_every=prior_steps // 2,
                eval_every=prior_steps // 2,
                optimizers=dict(
                    vae=_adam(rates[1], prior_steps, clip_norm),
                    prior=_adam(1e-3, prior_steps, 1.0),
                ),
                kl=pieces.annealing(prior_steps, 0.2, coeff_min=coeff_max),
                **shared,
            ),
        ),
        evaluation=text_evaluation(smoke, num_texts),
    )


def sequence_vae(
    smoke: bool, length: int, classes: int, context: int
) -> dict[str, Any]:
    """The VAE: 16 latents at every fourth place."""
    smallest = dict(width=8, head_width=8, latent_channels=2) if smoke else {}
    return piece(
        "vae:VAE",
        data_shape=(length, 1, 1),
        network=piece(
            "networks.sequence:SequenceVAE",
            num_outputs=classes,
            context=context,
            **smallest,
        ),
        likelihood=piece("categorical:CategoricalLikelihood", num_classes=classes),
    )


def sequence_prior(smoke: bool) -> dict[str, Any]:
    """A score prior for latents of sequences."""
    smallest = dict(width=8, blocks=1) if smoke else {}
    return pieces.score_prior(
        network=piece("networks.sequence_score:SequenceScore", **smallest),
        mixing_logit_init=-2.0,
    )


def text_evaluation(smoke: bool, num_texts: int) -> dict[str, Any]:
    """The bound beside n-gram models, samples beside held-out texts, copies."""

    def num(full: int) -> int:
        return min(full, 8) if smoke else full

    measures = (
        pieces.measure(
            "text_bound:TextBound",
            num_draws=1 if smoke else 2,
            num_examples=8 if smoke else None,
            orders=(1, 2) if smoke else (1, 2, 3, 4, 5, 6),
        ),
        pieces.measure("sampling:SamplingCost", timing_repeats=num(5)),
        pieces.measure("pictures:Pictures"),
        pieces.measure("text_samples:TextSamples", num_texts=num(num_texts)),
        pieces.measure("text_copies:TextCopies", num_texts=num(500)),
        pieces.measure("latents:LatentStatistics", num_examples=num(500)),
    )
    return piece(
        "evaluation.settings:Evaluation",
        measures=measures,
        batch_size=num(100),
        num_samples=num(500),
        monitor_examples=num(500),
        monitor_samples=num(32),
    )


def _adam(peak: float, num_steps: int, clip_norm: float) -> dict[str, Any]:
    return pieces.adam(peak, num_steps, beta_2=0.99, clip_norm=clip_norm)
