"""A study: one experiment varied along named axes, each point with several seeds.

A study is a config of its own, with the experiment inside:

    title     what the page is called
    base      a complete experiment config (``lsgm.runs.experiment``)
    axes      {axis: {label: {"dotted.key": value, ...}, ...}, ...}
    seeds     one run of every point for each
    match     "steps": every stage trains the steps that its config says; "flop": as
              many as cost what the base's stage costs; "total_flop": all stages
              together cost what the base's cost (``lsgm.studies.budget``)
    measures  what the page shows: names or paths, see ``lsgm.studies.measures``

Points are the product of the axes. A label may change several keys together, such as
the resolution of the latents with the number of levels of all networks. In a tuple of
pieces the class is the name, as in ``evaluation.measures.Distances.manifolds``.
"""

import copy
import dataclasses
import itertools
import re
from collections.abc import Mapping
from typing import Any, Literal

from beartype.door import is_bearable
from ml_collections import ConfigDict

from lsgm.config import ConfigError, fields_of, is_piece, locate, nearest, plain
from lsgm.studies import budget
from lsgm.studies.measures import MEASURES

Match = Literal["steps", "flop", "total_flop"]
Axes = dict[str, dict[str, dict[str, Any]]]
NAME = re.compile(r"[\w.,+-]+")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study:
    """What is varied, over what, and what is looked at."""

    title: str
    base: dict[str, Any]
    axes: Axes
    seeds: tuple[int, ...]
    match: Match
    measures: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudyRun:
    """One point with one seed.

    Attributes:
      labels: of the point, by axis.
      config: the resolved experiment.
    """

    labels: dict[str, str]
    seed: int
    config: dict[str, Any]

    @property
    def point(self) -> str:
        """The point's name: its labels."""
        return "_".join(self.labels.values())

    @property
    def name(self) -> str:
        """The run's name, and its folder's."""
        return f"{self.point}_seed{self.seed}"


def from_config(config: Mapping[str, Any] | ConfigDict) -> Study:
    """Check a study's config.

    Raises:
      ConfigError: names the key, the value, and what is allowed.
    """
    spec = plain(config)
    known = fields_of(Study)
    for name, value in spec.items():
        if name not in known:
            raise ConfigError(name, value, nearest(name, known))
        if not is_bearable(value, known[name].hint):
            raise ConfigError(name, value, f"expected {known[name].hint}")
    if absent := known.keys() - spec:
        raise ConfigError("", spec.get("title"), f"missing {', '.join(sorted(absent))}")
    study = Study(**spec)
    _check_names(study)
    _check_measures(study)
    if not study.seeds or len(set(study.seeds)) < len(study.seeds):
        raise ConfigError("seeds", study.seeds, "give at least one, none of them twice")
    return study


def _check_names(study: Study) -> None:
    changed: dict[str, str] = {}
    if not study.axes:
        raise ConfigError("axes", study.axes, "give at least one axis")
    for axis, labels in study.axes.items():
        if not labels:
            raise ConfigError(f"axes.{axis}", labels, "give at least one label")
        for label in labels:
            if not NAME.fullmatch(label):
                allowed = "letters, digits and _ . , + - (folders are named so)"
                raise ConfigError(f"axes.{axis}", label, allowed)
        for key in {key for value in labels.values() for key in value}:
            if changed.setdefault(key, axis) != axis:
                raise ConfigError(
                    f"axes.{axis}", key, f"axis {changed[key]!r} changes it too"
                )
    if "seed" in changed:
        raise ConfigError(f"axes.{changed['seed']}", "seed", "belongs into 'seeds'")


def _check_measures(study: Study) -> None:
    pieces = study.base.get("evaluation", {}).get("measures", ())
    measured = [locate(piece, "base.evaluation.measures").name for piece in pieces]
    for name in study.measures:
        first, _, rest = name.partition(".")
        if rest and first not in measured:
            allowed = f"a path starts with a measure of the base: {sorted(measured)}"
            raise ConfigError("measures", name, allowed)
        if not rest and name not in MEASURES:
            raise ConfigError("measures", name, nearest(name, MEASURES))


def runs(study: Study) -> list[StudyRun]:
    """All runs, the first seed of every point first: what it compiles, the others
    find compiled.

    Raises:
      ConfigError: a key that the base does not have.
    """
    points = [_point(study, labels) for labels in itertools.product(*_labels(study))]
    found = [
        StudyRun(labels=labels, seed=seed, config={**config, "seed": seed})
        for seed in study.seeds
        for labels, config in points
    ]
    names = [run.name for run in found]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ConfigError("axes", twice[0], "two points have this name; rename a label")
    return found


def _labels(study: Study) -> list[list[tuple[str, str]]]:
    return [[(axis, label) for label in labels] for axis, labels in study.axes.items()]


def _point(
    study: Study, labels: tuple[tuple[str, str], ...]
) -> tuple[dict[str, str], dict[str, Any]]:
    config = study.base
    for axis, label in labels:
        for key, value in study.axes[axis][label].items():
            config = replaced(config, key, value, f"axes.{axis}.{label}")
    if study.match == "flop":
        config = budget.matched(config, study.base)
    if study.match == "total_flop":
        config = budget.matched_in_total(config, study.base)
    return dict(labels), config


def replaced(
    config: Mapping[str, Any], key: str, value: Any, where: str
) -> dict[str, Any]:
    """A copy of ``config`` with another value under the dotted ``key``.

    Args:
      where: what asks for it, for messages.

    Raises:
      ConfigError: there is no such key, nor such a field of the piece there.
    """
    new = copy.deepcopy(dict(config))
    place: Any = new
    *path, name = key.split(".")
    for depth, part in enumerate(path):
        inner = _inner(place)
        if part not in inner:
            at = ".".join(path[: depth + 1])
            raise ConfigError(
                where, key, f"the base has no {at!r}; " + _near(part, inner)
            )
        place = inner[part]
    if not isinstance(place, dict):
        raise ConfigError(where, key, f"name a field of one of {[*_inner(place)]}")
    known = {*place, *(fields_of(locate(place, where)) if is_piece(place) else ())}
    if name not in known:
        raise ConfigError(where, key, f"no {name!r} there; " + _near(name, known))
    place[name] = value
    return new


def _inner(place: Any) -> dict[str, Any]:
    """What can be gone into: dictionaries by key; pieces of a tuple by class, where
    no other is of that class."""
    if isinstance(place, dict):
        return {name: value for name, value in place.items() if _holds_keys(value)}
    names = [piece["target"].rpartition(":")[2] for piece in place]
    found = zip(names, place, strict=True)
    return {name: piece for name, piece in found if names.count(name) == 1}


def _holds_keys(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return bool(value) and all(map(is_piece, value))
    return isinstance(value, dict)


def _near(name: str, names: Any) -> str:
    return nearest(name, names) if names else "there is nothing to choose from"
