"""Functions of JAX computed by NumPy: nothing is compiled, however many the shapes.

For what a process computes once: a network's first parameters, an optimiser's zeros.
Random bits are those of JAX; other numbers agree with it to rounding. The counter-based
generator is Threefry-2x32 with 20 rounds: Salmon et al., "Parallel Random Numbers: As
Easy as 1, 2, 3", SC 2011.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
import jax.core
import jax.extend
import numpy as np

from lsgm.typing import Array

# A NumPy array, or a JAX array where it holds random keys.
Value: TypeAlias = Any
Equation: TypeAlias = Any

# Counters at a time: what their rounds work on stays in a core's cache.
BLOCK = 1 << 15
ROTATIONS = (13, 15, 26, 6), (17, 29, 16, 24)
PARITY = 0x1BD11BDA


def evaluate(fn: Callable[..., Any], *args: Any) -> Any:
    """``fn(*args)`` without compiling it; only what its result needs is computed.

    Inside of another traced function, the outermost ``evaluate`` among them, it is a
    plain call.

    Args:
      args: arrays, or trees of them. For those that only hand over shapes, any will do.
    """
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(args)):
        return fn(*args)
    traced, shapes = jax.make_jaxpr(fn, return_shape=True)(*args)
    outputs = _run(traced.jaxpr, traced.consts, jax.tree.leaves(args))
    placed = [jax.device_put(value) for value in outputs]
    return jax.tree.unflatten(jax.tree.structure(shapes), placed)


def _run(jaxpr: Any, consts: Sequence[Any], inputs: Sequence[Any]) -> list[Value]:
    """Outputs of a traced function, by the equations that they need."""
    values = dict(zip(jaxpr.constvars, map(_hold, consts), strict=True))
    values |= dict(zip(jaxpr.invars, map(_hold, inputs), strict=True))

    def read(atom: Any) -> Value:
        return _hold(atom.val) if hasattr(atom, "val") else values[atom]

    for equation in _needed(jaxpr):
        outputs = _compute(jaxpr, equation, list(map(read, equation.invars)))
        values |= dict(zip(equation.outvars, outputs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _hold(value: Any) -> Value:
    return value if _is_key(value) else np.asarray(value)


def _is_key(value: Any) -> bool:
    return isinstance(value, jax.Array) and jax.dtypes.issubdtype(
        value.dtype, jax.dtypes.prng_key
    )


def _needed(jaxpr: Any) -> list[Equation]:
    """The equations that outputs depend on, in their order."""
    needed = set(map(id, jaxpr.outvars))
    kept = []
    for equation in reversed(jaxpr.eqns):
        if needed.intersection(map(id, equation.outvars)):
            kept.append(equation)
            needed.update(map(id, equation.invars))
    return kept[::-1]


def _compute(jaxpr: Any, equation: Equation, inputs: list[Value]) -> list[Value]:
    name, params = equation.primitive.name, equation.params
    if name in ("jit", "pjit", "closed_call"):
        inner = params["jaxpr"]
        return _run(inner.jaxpr, inner.consts, inputs)
    if name == "custom_jvp_call":
        inner = params["call_jaxpr"]
        return _run(inner.jaxpr, inner.consts, inputs)
    if name == "split":
        return np.split(inputs[0], np.cumsum(params["sizes"])[:-1], params["axis"])
    if name == "scan" and params["length"]:
        return _scan(params, inputs)
    if name == "random_bits" and _is_known(inputs[0]):
        return [random_bits(inputs[0], params["shape"], params["bit_width"])]
    if any(map(_is_key, inputs)):
        return _ask_jax(jaxpr, equation, inputs)
    if name in SAME:
        return [np.asarray(SAME[name](*inputs))]
    if name in SHAPED and (out := SHAPED[name](params, *inputs)) is not None:
        return [np.asarray(out)]
    return _ask_jax(jaxpr, equation, inputs)


def _scan(params: dict[str, Any], inputs: list[Value]) -> list[Value]:
    """A loop: constants, then what is carried on, then what it runs along."""
    body, length, carried = params["jaxpr"], params["length"], params["num_carry"]
    first = params["num_consts"]
    fixed, carry = inputs[:first], inputs[first : first + carried]
    along = inputs[first + carried :]
    steps = range(length)[::-1] if params["reverse"] else range(length)
    rows = {}
    for i in steps:
        step = [*fixed, *carry, *(_hold(values[i]) for values in along)]
        outputs = _run(body.jaxpr, body.consts, step)
        carry, rows[i] = outputs[:carried], outputs[carried:]
    return [*carry, *map(np.stack, zip(*(rows[i] for i in range(length)), strict=True))]


def _ask_jax(jaxpr: Any, equation: Equation, inputs: list[Value]) -> list[Value]:
    """What no rule here covers: compiled by itself, and run."""
    pairs = zip(equation.invars, inputs, strict=True)
    given = {atom: value for atom, value in pairs if not hasattr(atom, "val")}
    alone = jaxpr.replace(
        constvars=[], invars=[*given], outvars=equation.outvars, eqns=[equation]
    )
    closed = jax.extend.core.ClosedJaxpr(alone, [])
    outputs = jax.extend.core.jaxpr_as_fun(closed)(*given.values())
    return [_hold(value) for value in outputs]


def _is_known(key: Array) -> bool:
    return (
        key.shape == ()
        and str(jax.random.key_impl(key)) == "threefry2x32"
        and jax.config.jax_threefry_partitionable  # pyright: ignore
    )


def random_bits(key: Array, shape: tuple[int, ...], width: int) -> np.ndarray:
    """``jax.random.bits`` of a Threefry key, unsigned integers of ``width`` bits.

    Raises:
      ValueError: more than 2^32 numbers.
    """
    size = int(np.prod(shape, dtype=np.int64))
    if size > 1 << 32:
        raise ValueError(f"{size} numbers at a time; at most 2^32 can be drawn")
    first, second = np.asarray(jax.random.key_data(key)).tolist()
    parts = [
        _threefry(first, second, np.arange(i, min(i + BLOCK, size), dtype=np.uint32))
        for i in range(0, size, BLOCK)
    ]
    if not parts:
        return np.zeros(shape, f"uint{width}")
    high = np.concatenate([part[0] for part in parts])
    low = np.concatenate([part[1] for part in parts])
    if width == 64:
        return (high.astype(np.uint64) << np.uint64(32) | low).reshape(shape)
    return (high ^ low).astype(f"uint{width}").reshape(shape)


def _threefry(first: int, second: int, counter: np.ndarray) -> tuple[Any, Any]:
    """Both words of the cipher of the 64-bit numbers (0, counter)."""
    keys = [np.uint32(k) for k in (first, second, first ^ second ^ PARITY)]
    x = np.full(counter.shape, keys[0])
    y = counter + keys[1]
    rotated = np.empty_like(y)
    for i in range(5):
        for r in ROTATIONS[i % 2]:
            x += y
            np.right_shift(y, np.uint32(32 - r), out=rotated)
            np.left_shift(y, np.uint32(r), out=y)
            y |= rotated
            y ^= x
        x += keys[(i + 1) % 3]
        # Modulo 2^32, which a scalar would warn of.
        y += np.uint32((int(keys[(i + 2) % 3]) + i + 1) & 0xFFFFFFFF)
    return x, y


def _divide(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """As XLA: integers are rounded towards zero."""
    quotient = np.asarray(np.divide(x, y))
    return quotient if quotient.dtype == x.dtype else np.trunc(quotient).astype(x.dtype)


def _select(which: np.ndarray, *cases: np.ndarray) -> np.ndarray:
    return np.choose(which.astype(np.intp), cases)


def _broadcast(params: Any, x: np.ndarray, *_: Any) -> np.ndarray:
    shape = [1] * len(params["shape"])
    for axis, size in zip(params["broadcast_dimensions"], x.shape, strict=True):
        shape[axis] = size
    return np.broadcast_to(x.reshape(shape), params["shape"])


def _bitcast(params: Any, x: np.ndarray) -> np.ndarray | None:
    dtype = np.dtype(params["new_dtype"])
    return x.view(dtype) if dtype.itemsize == x.dtype.itemsize else None


def _slice(params: Any, x: np.ndarray) -> np.ndarray:
    starts, limits = params["start_indices"], params["limit_indices"]
    strides = params["strides"] or (1,) * x.ndim
    return x[tuple(map(slice, starts, limits, strides))]


def _iota(params: Any, *_: Any) -> np.ndarray:
    shape, axis = params["shape"], params["dimension"]
    line = np.arange(shape[axis], dtype=params["dtype"])
    return np.broadcast_to(line.reshape([-1] + [1] * (len(shape) - axis - 1)), shape)


def _dot(params: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Batch axes first, then the free ones of both."""
    (x_sum, y_sum), (x_batch, y_batch) = params["dimension_numbers"]
    x_free = [a for a in range(x.ndim) if a not in (*x_sum, *x_batch)]
    y_free = [a for a in range(y.ndim) if a not in (*y_sum, *y_batch)]
    batch = tuple(x.shape[a] for a in x_batch)
    summed = int(np.prod([x.shape[a] for a in x_sum], dtype=int))
    left = x.transpose(*x_batch, *x_free, *x_sum).reshape(*batch, -1, summed)
    right = y.transpose(*y_batch, *y_sum, *y_free).reshape(*batch, summed, -1)
    free = [x.shape[a] for a in x_free] + [y.shape[a] for a in y_free]
    return np.matmul(left, right).reshape(*batch, *free)


# Of their inputs alone; the result's type follows from theirs.
SAME: dict[str, Callable[..., Any]] = {
    "abs": np.abs,
    "add": np.add,
    "and": np.bitwise_and,
    "copy": np.copy,
    "copy_p": np.copy,
    "div": _divide,
    "eq": np.equal,
    "exp": np.exp,
    "ge": np.greater_equal,
    "gt": np.greater,
    "le": np.less_equal,
    "log": np.log,
    "lt": np.less,
    "max": np.maximum,
    "min": np.minimum,
    "mul": np.multiply,
    "ne": np.not_equal,
    "neg": np.negative,
    "not": np.invert,
    "or": np.bitwise_or,
    "select_n": _select,
    "sign": np.sign,
    "sqrt": np.sqrt,
    "stop_gradient": lambda x: x,
    "sub": np.subtract,
    "xor": np.bitwise_xor,
}


def _reduce(operation: Callable[..., Any]) -> Callable[..., np.ndarray]:
    return lambda params, x: operation(x, axis=params["axes"], dtype=x.dtype)


# Of their parameters too; None where JAX has to do it.
SHAPED: dict[str, Callable[..., Any]] = {
    "bitcast_convert_type": _bitcast,
    "broadcast_in_dim": _broadcast,
    "concatenate": lambda params, *x: np.concatenate(x, params["dimension"]),
    "convert_element_type": lambda params, x: x.astype(params["new_dtype"]),
    "dot_general": _dot,
    "integer_pow": lambda params, x: x ** np.asarray(params["y"], x.dtype),
    "iota": _iota,
    "reduce_max": lambda params, x: np.max(x, axis=params["axes"]),
    "reduce_sum": _reduce(np.sum),
    "reshape": lambda params, x, *_: (
        None if params["dimensions"] else x.reshape(params["new_sizes"])
    ),
    "shift_left": lambda params, x, n: np.left_shift(x, n),
    "shift_right_logical": lambda params, x, n: (
        np.right_shift(x, n) if x.dtype.kind == "u" else None
    ),
    "slice": _slice,
    "squeeze": lambda params, x: np.squeeze(x, params["dimensions"]),
    "stack": lambda params, *x: np.stack(x, params["axis"]),
    "transpose": lambda params, x: np.transpose(x, params["permutation"]),
}
