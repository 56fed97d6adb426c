r"""Adams-Bashforth weights in any coordinate.

A step from s_k to s_{k+1} integrates the polynomial through the last slopes,

    u_{k+1} = keep u_k + sum_j w_kj f_{k-j},                               (1)
    w_kj = int_{s_k}^{s_{k+1}} L_j(x(s)) m(s) ds,                          (2)

where the Lagrange polynomials L_j are 1 at x_{k-j} and 0 at the other nodes, so that
slopes are interpolated in a coordinate x in which they are smooth, while the measure
m ds carries what is steep. The first steps have fewer slopes and lower order; as the
first of all has order 1, errors fall with the square of the step size at best once
it dominates them.

Source: Zhang and Chen, arXiv 2204.13902, Eq. 15.
"""

from collections.abc import Callable

import numpy as np

_NODES, _SHARES = np.polynomial.legendre.leggauss(64)


def adams_weights(
    s: np.ndarray,
    x_of_s: Callable[[np.ndarray], np.ndarray],
    measure: Callable[[np.ndarray], np.ndarray],
    order: int,
) -> np.ndarray:
    """Eq. (2) by Gauss-Legendre quadrature, float64 [steps, order].

    Args:
      s: ends of the steps, [steps + 1].
      measure: m(s).
    """
    x, width = x_of_s(s), np.diff(s)
    points = s[:-1, None] + 0.5 * width[:, None] * (1 + _NODES)
    at, shares = x_of_s(points), 0.5 * width[:, None] * _SHARES * measure(points)
    weights = np.zeros((len(width), order))
    for k in range(len(width)):
        nodes = x[max(0, k + 1 - order) : k + 1][::-1]
        for j in range(len(nodes)):
            weights[k, j] = np.sum(shares[k] * _lagrange(nodes, j, at[k]))
    return weights


def check_order(order: int) -> None:
    """Raises: ValueError beyond order 3, where no start is accurate enough."""
    if order not in (1, 2, 3):
        raise ValueError(f"order must be 1, 2 or 3, not {order}")


def _lagrange(nodes: np.ndarray, j: int, x: np.ndarray) -> np.ndarray:
    others = np.delete(nodes, j)
    return np.prod((x[:, None] - others) / (nodes[j] - others), axis=-1)
