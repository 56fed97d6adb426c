"""What a stage refuses, and where its settings arrive."""

import dataclasses

import pytest

from lsgm.distributions import LogisticLikelihood
from lsgm.priors.normal import StandardNormal
from lsgm.vae import VAE
from tests import small

OWN = {"prior": small.Descent()}
VAE_ALONE = {"vae": small.Descent()}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"disjoint": True, "optimizers": OWN}, "disjoint = True: needs optimizers"),
        (
            {
                "disjoint": True,
                "prior": StandardNormal(),
                "optimizers": VAE_ALONE,
                "regularization": {},
            },
            "disjoint = True: needs optimizers",
        ),
        ({"encoder_ema": True}, "encoder_ema = True: needs disjoint"),
        ({"drop_inactive": -0.1}, "drop_inactive = -0.1: must be >= 0"),
        (
            {
                "drop_inactive": 0.1,
                "prior": StandardNormal(),
                "optimizers": VAE_ALONE,
                "regularization": {},
            },
            "this prior drops no channels",
        ),
    ],
)
def test_settings_that_do_not_go_together(fields, message):
    with pytest.raises(ValueError, match=message):
        small.stage(**fields)


def logistic_vae() -> VAE:
    return dataclasses.replace(
        small.vae(),
        network=small.SmallVAE(num_outputs=2),
        likelihood=LogisticLikelihood(),
    )


@pytest.mark.parametrize("published", [False, True])
def test_one_switch_reaches_likelihood_times_and_estimators(published):
    prior = small.prior(encoder_times=small.TIMES)
    stage = small.stage(prior=prior, reference_compatible=published)
    model = stage.objective(logistic_vae()).model
    assert model.vae.likelihood.reference_compatible == published
    assert model.prior.time_sampler.reference_compatible == published
    assert model.prior.encoder_times.reference_compatible == published
    assert model.prior.boundary_term == model.prior.control_variate == (not published)


def test_published_models_without_another_behaviour():
    stage = small.stage(reference_compatible=True)
    assert stage.objective(small.vae()).model.vae == small.vae()
    normal = small.stage(
        prior=StandardNormal(),
        optimizers=VAE_ALONE,
        regularization={},
        reference_compatible=True,
    )
    assert normal.objective(small.vae()).model.prior == StandardNormal()
