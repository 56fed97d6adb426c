"""Configs that somebody mistyped: one to three changes to a config that runs."""

import copy
import math
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

VALUES = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2,
    3,
    10**12,
    10**400,
    0.0,
    -0.5,
    0.5,
    1e-300,
    1e300,
    math.nan,
    math.inf,
    "",
    "x",
    "../x",
    (),
    (0,),
    (1, "a"),
    {},
    {"a": 1},
    {"target": ".x:Y"},
    {"target": "lsgm.sdes.vpsde:VPSDE"},
    {"target": "lsgm.networks.mlp:MLP", "features": -1},
)
Path = tuple[Any, ...]


def paths_of(tree: Any, path: Path = ()) -> Iterator[Path]:
    """Keys of all entries of a config, inner ones and leaves."""
    entries: Any = ()
    if isinstance(tree, dict):
        entries = tree.items()
    elif isinstance(tree, list):
        entries = enumerate(tree)
    for name, value in entries:
        yield (*path, name)
        yield from paths_of(value, (*path, name))


def as_lists(tree: Any) -> Any:
    """A config with lists for tuples, which can be changed in place."""
    if isinstance(tree, dict):
        return {name: as_lists(value) for name, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [as_lists(value) for value in tree]
    return tree


def entry(tree: Any, path: Path) -> Any:
    for name in path:
        tree = tree[name]
    return tree


def change(config: Any, path: Path, how: str, value: Any) -> None:
    """Replace, remove, or misname an entry in place; nothing if it is gone."""
    try:
        place = entry(config, path[:-1])
        old = place[path[-1]]
    except (KeyError, IndexError, TypeError):
        return
    if not isinstance(place, dict | list):
        return
    if how == "replace":
        place[path[-1]] = copy.deepcopy(value)
    else:
        del place[path[-1]]
        if how == "misname" and isinstance(place, dict):
            place[f"{path[-1]}x"] = old


@st.composite
def mutated(draw: st.DrawFn, config: Any) -> Any:
    """``config`` with one to three changes; a value may come from another key."""
    whole = tree = as_lists(config)
    paths = list(paths_of(whole))
    own = st.sampled_from(paths).map(lambda path: entry(whole, path))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(paths))
        how = draw(st.sampled_from(["replace"] * 4 + ["remove", "misname"]))
        value = draw(st.sampled_from(VALUES) | own)
        changed = copy.deepcopy(tree)
        change(changed, path, how, value)
        tree = changed
    return tree
