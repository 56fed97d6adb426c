"""Small functions against their closed forms."""

import jax
import jax.numpy as jnp
import numpy as np

from lsgm.numerics import softplus


def test_softplus_with_two_derivatives():
    """log(1 + e^x), sigmoid(x), sigmoid(x) (1 - sigmoid(x)); also where e^x
    overflows."""
    x = np.array([-1e4, -100, -20.0, -1.0, 0.0, 0.5, 3.0, 90.0, 1e4])
    sigmoid = 1 / (1 + np.exp(np.clip(-x, None, 500)))
    expected = np.logaddexp(x, 0), sigmoid, sigmoid * (1 - sigmoid)
    slope = jax.grad(softplus)
    forms = softplus, slope, jax.grad(slope)
    for form, value in zip(forms, expected, strict=True):
        ours = jax.jit(jax.vmap(form))(jnp.asarray(x, jnp.float32))
        np.testing.assert_allclose(ours, value, rtol=2e-6, atol=1e-30)
