"""What is looked at while a stage trains, where there is nothing to see."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lsgm.evaluation import monitor
from lsgm.training.observe import Observation
from lsgm.training.state import create


def test_training_outlives_samples_that_are_not_finite(capsys):
    params = {"vae": jnp.ones(2)}
    state = create(jax.random.key(0), params, {"vae": {}}, {"vae": optax.sgd(0.1)}, ())
    state = state.replace(step=jnp.int32(7))
    seen = Observation(scalars={"samples/nfe": 3.0})

    def observe(images):
        monitor.require_finite(images, "samples")
        return seen

    images = np.zeros((2, 4, 4, 1))
    assert monitor.where_finite(lambda state: observe(images))(state) is seen
    images[0, 0, 0, 0] = np.nan
    assert monitor.where_finite(lambda state: observe(images))(state).scalars == {}
    assert "step 7: samples are not all finite" in capsys.readouterr().err
