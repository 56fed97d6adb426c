"""Data whose scores, flows and densities are known, and an independent call counter."""

import importlib
import inspect
import pkgutil

import jax
import jax.numpy as jnp
import numpy as np

from lsgm import samplers
from lsgm.numerics import expand_to, sum_per_example


class Gaussian:
    """Independent dimensions of given variances and mean 0."""

    def __init__(self, sde, variances):
        self.sde, self.variances = sde, variances

    def marginal_var(self, t):
        """[b d]."""
        v = jnp.asarray(self.variances, t.dtype)[None]
        return self.sde.alpha(t)[:, None] ** 2 * v + self.sde.var(t)[:, None]

    def residual(self, u, t):
        eps_hat = expand_to(jnp.sqrt(self.sde.var(t)), u) * u / self.marginal_var(t)
        return eps_hat - self.sde.normal_eps(u, t)

    def flow(self, u1, t_end):
        """Exact end of the probability flow: every dimension scales."""
        there, last = (
            self.marginal_var(jnp.full(u1.shape[:1], t, u1.dtype)) for t in (t_end, 1.0)
        )
        return u1 * jnp.sqrt(there / last)

    def log_prob(self, u, t):
        var = self.marginal_var(t)
        return sum_per_example(-0.5 * (u**2 / var + jnp.log(2 * jnp.pi * var)))


class AnyGaussian:
    """Independent dimensions of given variances and mean 0, for every process: the
    predictor is cov(eps, u) cov(u)^-1 u, by matrices of one dimension's state."""

    def __init__(self, sde, variances):
        self.sde, self.variances = sde, jnp.asarray(variances)

    def _kernel(self, t):
        """Of a scalar time: mean [s], root [s s], selection of the noised part."""
        sde, t = self.sde, t[None]
        mean = sde.mean(jnp.ones((1, 1), t.dtype), t)[0]
        unit = jnp.eye(mean.size, dtype=t.dtype)
        root = sde.scale_noise(unit, jnp.broadcast_to(t, mean.shape)).T
        return mean, root, sde.noised(unit).T

    def covariance(self, t):
        """Of the marginal at a scalar time: [d s s]."""
        mean, root, _ = self._kernel(jnp.asarray(t))
        v = self.variances.astype(mean.dtype)[:, None, None]
        return v * jnp.outer(mean, mean)[None] + (root @ root.T)[None]

    def blocks(self, u):
        """States [b s*d] by dimension: [b s d]."""
        return u.reshape(len(u), -1, self.variances.size)

    def residual(self, u, t):
        def eps_hat(u, t):
            _, root, noised = self._kernel(t)
            gain = (noised @ root.T)[None] @ jnp.linalg.inv(self.covariance(t))
            return jnp.einsum("dns,sd->nd", gain, u).ravel()

        found = jax.vmap(eps_hat)(self.blocks(u), t)
        return found - self.sde.normal_eps(u, t)

    def log_prob(self, u, t):
        """Of states at a scalar time, [b]."""
        covariance = self.covariance(t)
        solved = jnp.linalg.solve(covariance[None], self.blocks(u).mT[..., None])
        square = jnp.sum(self.blocks(u).mT * solved[..., 0], (1, 2))
        return -0.5 * (square + jnp.sum(jnp.linalg.slogdet(2 * jnp.pi * covariance)[1]))


class Mixture:
    """Equal shares of round Gaussians at ``centres`` [k d] with one variance."""

    def __init__(self, sde, centres, variance):
        self.sde, self.centres, self.variance = sde, np.asarray(centres), variance

    def _parts(self, u, t):
        """Displacements from each centre [b k d], and log-densities [b k]."""
        alpha, var = self.sde.alpha(t), self.sde.var(t)
        total = alpha**2 * self.variance + var
        centres = jnp.asarray(self.centres, u.dtype)[None]
        away = u[:, None] - alpha[:, None, None] * centres
        logs = -0.5 * jnp.sum(away**2, -1) / total[:, None]
        constant = 0.5 * u.shape[-1] * jnp.log(2 * jnp.pi * total)
        return away, logs - constant[:, None] - np.log(len(self.centres)), total

    def residual(self, u, t):
        away, logs, total = self._parts(u, t)
        shares = jax.nn.softmax(logs, axis=-1)
        slope = jnp.sum(shares[..., None] * away, axis=1) / total[:, None]
        return jnp.sqrt(self.sde.var(t))[:, None] * slope - self.sde.normal_eps(u, t)

    def log_prob(self, u, t):
        return jax.nn.logsumexp(self._parts(u, t)[1], axis=-1)


class AnyMixture:
    """Equal shares of Gaussians at ``centres`` [k] with one variance, in one dimension,
    for every process."""

    def __init__(self, sde, centres, variance):
        self.sde, self.centres = sde, np.asarray(centres)
        self.part = AnyGaussian(sde, (variance,))

    def log_density(self, x):
        """Of data [n]."""
        var = self.part.variances[0]
        away = np.asarray(x)[:, None] - self.centres[None]
        logs = -0.5 * (away**2 / var + np.log(2 * np.pi * var))
        return np.logaddexp.reduce(logs, axis=1) - np.log(len(self.centres))

    def residual(self, u, t):
        """For states [b s]."""

        def eps_hat(u, t):
            mean, root, noised = self.part._kernel(t)
            precision = jnp.linalg.inv(self.part.covariance(t)[0])
            away = u[None] - jnp.asarray(self.centres, u.dtype)[:, None] * mean[None]
            white = away @ precision
            shares = jax.nn.softmax(-0.5 * jnp.sum(away * white, 1))
            return noised @ root.T @ (shares @ white)

        return jax.vmap(eps_hat)(u, t) - self.sde.normal_eps(u, t)


class PointMass:
    """All data are one point: the predicted noise is constant along the flow."""

    def __init__(self, sde, point):
        self.sde, self.point = sde, point

    def residual(self, u, t):
        away = u - expand_to(self.sde.alpha(t), u) * self.point
        return away / expand_to(jnp.sqrt(self.sde.var(t)), u) - self.sde.normal_eps(
            u, t
        )

    def flow(self, u1, t_end):
        first, last = (jnp.full(u1.shape[:1], t, u1.dtype) for t in (1.0, t_end))
        eps = self.residual(u1, first) + self.sde.normal_eps(u1, first)
        return self.sde.perturb(jnp.broadcast_to(self.point, u1.shape), last, eps)


class Counter:
    """Counts on the host how often a residual function is executed."""

    def __init__(self, residual):
        self.residual, self.calls = residual, 0

    def __call__(self, u, t):
        jax.debug.callback(self._count)
        return self.residual(u, t)

    def _count(self):
        self.calls += 1

    def total(self):
        jax.effects_barrier()
        return self.calls


def variances(sampler, sde, data_var, start=1.0):
    """Variance of Gaussian data's samples, from the table alone.

    Args:
      start: variance of u_1 over the prior's.
    """
    table = sampler.table(sde)
    sigma = np.sqrt(np.asarray(sde.var(jnp.asarray(table["t"]))))
    alpha = np.asarray(sde.alpha(jnp.asarray(table["t"])))
    rate = sigma / (alpha**2 * data_var + sigma**2) - table["anchor"]
    var = start * sde.prior_var
    for k in range(len(rate)):
        slope = table["anchor"][k] + table["scale"][k] * rate[k]
        gain = table["keep"][k] + table["weights"][k, 0] * slope
        var = gain**2 * var + table["noise"][k] ** 2
    return var


def classes(base):
    """Every concrete class below ``base`` that a module of lsgm.samplers defines."""
    found = {}
    for module in pkgutil.iter_modules(samplers.__path__):
        module = importlib.import_module(f"lsgm.samplers.{module.name}")
        for name, cls in inspect.getmembers(module, inspect.isclass):
            if issubclass(cls, base) and not inspect.isabstract(cls):
                found[name] = cls
    return [found[name] for name in sorted(found) if not name.startswith("_")]
