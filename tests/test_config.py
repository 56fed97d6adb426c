"""From a config to objects, and errors that name key, value and what is allowed."""

import abc
import dataclasses
import math
import re
from collections.abc import Callable
from typing import Any, Literal, Protocol

import flax.linen as nn
import pytest
from ml_collections import ConfigDict, FieldReference, config_dict

from lsgm.config import ConfigError, build, check, check_name


class Shape(abc.ABC):
    """A base class that fields ask for."""

    @abc.abstractmethod
    def area(self) -> float: ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Square(Shape):
    side: float = 1.0

    def __post_init__(self) -> None:
        if self.side <= 0:
            raise ValueError(f"side = {self.side}: must be positive")

    def area(self) -> float:
        return self.side**2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Colour:
    name: Literal["red", "green"] = "red"


class Drawable(Protocol):
    def draw(self) -> None: ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scene:
    width: int
    shape: Shape
    title: str | None = None
    zoom: float = 1.0
    sizes: tuple[int, ...] = ()
    weights: tuple[float, ...] = ()
    rates: dict[str, float] = dataclasses.field(default_factory=dict)
    colour: Colour | None = None
    others: dict[str, Shape] = dataclasses.field(default_factory=dict)
    row: tuple[Shape, ...] = ()
    drawable: Drawable | None = None
    fill: Shape | float = 0.0
    paint: Callable[..., Any] | None = None
    anything: dict[str, Any] = dataclasses.field(default_factory=dict)
    derived: int = dataclasses.field(default=0, init=False)


class Net(nn.Module):
    """A Linen module, which is a dataclass with two fields of its own."""

    features: int
    dtype: Any = None

    @nn.compact
    def __call__(self, x):
        return nn.Dense(self.features)(x)


class NoDataclass:
    pass


def piece(cls, /, **fields):
    return {"target": f"{__name__}:{cls}", **fields}


def scene(**fields):
    return piece("Scene", **{"width": 3, "shape": piece("Square"), **fields})


def test_builds_a_piece_and_what_it_holds():
    built = build(
        scene(
            shape=piece("Square", side=2.0),
            title="t",
            sizes=[1, 2],
            colour=piece("Colour", name="green"),
            others={"a": piece("Square"), "b": piece("Square", side=3.0)},
            row=(piece("Square", side=4.0), piece("Square")),
        )
    )
    assert built == Scene(
        width=3,
        shape=Square(side=2.0),
        title="t",
        sizes=(1, 2),
        colour=Colour(name="green"),
        others={"a": Square(), "b": Square(side=3.0)},
        row=(Square(side=4.0), Square()),
    )
    assert isinstance(built.row, tuple) and isinstance(built.sizes, tuple)


def test_whole_numbers_become_real_where_the_field_is():
    built = build(scene(zoom=2, weights=[1, 2.5], rates={"a": 1}, fill=3), key="scene")
    reals = (built.zoom, *built.weights, built.rates["a"], built.fill)
    assert reals == (2, 1, 2.5, 1, 3)
    assert all(type(real) is float for real in reals)
    assert type(built.width) is int


@pytest.mark.parametrize("fields", [dict(title=None), dict(colour=None), dict()])
def test_optional_fields_take_none_or_nothing(fields):
    assert build(scene(**fields)) == Scene(width=3, shape=Square())


def test_fields_may_be_given_by_the_caller():
    spec = piece("Scene", width=3)
    assert build(spec, shape=Square(side=5.0)).shape == Square(side=5.0)
    with pytest.raises(ConfigError, match="missing shape$"):
        build(spec)


@pytest.mark.parametrize("locked", [False, True])
def test_reads_config_dicts_and_references(locked):
    side = FieldReference(2.0)
    config = ConfigDict(
        scene(shape=piece("Square", side=side), others={"a": piece("Square")})
    )
    # A reference inside a tuple, which a ConfigDict stores as it is.
    config.row = (piece("Square", side=side),)
    if locked:
        config.lock()
    config.shape.side = 7.0
    assert build(config) == Scene(
        width=3,
        shape=Square(side=7.0),
        others={"a": Square()},
        row=(Square(side=7.0),),
    )


def test_linen_modules_are_pieces():
    built = build(piece("Net", features=4))
    assert built == Net(features=4)
    for own in ("parent", "name"):
        with pytest.raises(ConfigError, match=r"allowed are dtype, features"):
            build(piece("Net", features=4, **{own: None}))


def test_a_piece_may_be_what_a_field_calls():
    assert build(scene(paint=piece("Net", features=2))).paint == Net(features=2)


def test_check_constructs_nothing():
    spec = scene(shape=piece("Square", side=-1.0))
    assert check(spec) is Scene
    with pytest.raises(ConfigError, match="must be positive"):
        build(spec)


HERE = re.escape(__name__)


@pytest.mark.parametrize(
    ("fields", "key", "message"),
    [
        # Names.
        ({"widht": 3}, "widht", "= 3: allowed are anything.*did you mean 'width'"),
        ({"derived": 1}, "derived", "allowed are"),
        ({"shape": piece("Square", sid=1.0)}, "shape.sid", "did you mean 'side'"),
        ({"row": (piece("Square", sid=1.0),)}, "row.0.sid", "did you mean 'side'"),
        # Types.
        ({"width": "3"}, "width", "= '3': expected int$"),
        ({"width": 3.5}, "width", "= 3.5: expected int$"),
        ({"width": None}, "width", "= None: expected int$"),
        ({"zoom": True}, "zoom", "= True: expected float$"),
        ({"zoom": "2"}, "zoom", "= '2': expected float$"),
        ({"title": 3}, "title", r"= 3: expected Optional\[str\]|str | None"),
        ({"sizes": [1, "2"]}, "sizes", r"\(1, '2'\): expected tuple\[int, ...\]"),
        ({"sizes": 3}, "sizes", r"= 3: expected tuple\[int, ...\]"),
        ({"weights": [1, True]}, "weights", r"expected tuple\[float, ...\]"),
        ({"rates": {"a": "b"}}, "rates", r"expected dict\[str, float\]"),
        (
            {"colour": piece("Colour", name="gren")},
            "colour.name",
            "= 'gren': allowed are green, red; did you mean 'green'",
        ),
        ({"width": True}, "width", "= True: expected int$"),
        ({"sizes": [1, True]}, "sizes", r"expected tuple\[int, ...\]"),
        ({"fill": True}, "fill", "= True: expected"),
        # Numbers that are none, wherever they stand.
        ({"zoom": math.nan}, "zoom", "= nan: expected a finite number$"),
        ({"zoom": math.inf}, "zoom", "= inf: expected a finite number$"),
        ({"zoom": 10**400}, "zoom", "expected a finite number$"),
        ({"width": math.nan}, "width", "= nan: expected a finite number$"),
        ({"weights": [1.0, -math.inf]}, "weights.1", "= -inf: expected a finite"),
        ({"rates": {"a": math.nan}}, "rates.a", "= nan: expected a finite number$"),
        ({"anything": {"a": [math.nan]}}, "anything.a.0", "expected a finite number"),
        # Pieces without what their field calls.
        (
            {"drawable": piece("Colour")},
            "drawable.target",
            f"expected.*{HERE}.Drawable.*; it has no draw$",
        ),
        ({"paint": piece("Colour")}, "paint.target", "expected.*Callable"),
        # Pieces where there are none, and the other way round.
        ({"width": piece("Square")}, "width.target", "expected int$"),
        ({"sizes": piece("Square")}, "sizes.target", r"expected tuple\[int, ...\]"),
        ({"shape": piece("Colour")}, "shape.target", rf"expected {HERE}.Shape$"),
        ({"colour": piece("Square")}, "colour.target", f"expected.*{HERE}.Colour"),
        ({"width": {"a": piece("Square")}}, "width", "expected int$"),
        ({"row": {"a": piece("Square")}}, "row", r"expected tuple\["),
        ({"others": {"a": piece("Colour")}}, "others.a.target", "Shape$"),
        ({"others": {"a": piece("Square"), "b": 3}}, "others.b", "= 3: expected"),
        ({"anything": {"a": piece("Square"), "b": 3}}, "anything.b", "'target'"),
        ({"shape": "square"}, "shape", rf"= 'square': expected {HERE}.Shape"),
        ({"colour": "red"}, "colour", "a dictionary with its class as 'target'"),
        ({"drawable": "pen"}, "drawable", "a dictionary with its class as 'target'"),
        ({"shape": {"side": 1.0}}, "shape", f"expected {HERE}.Shape"),
        # Values that the class refuses.
        ({"shape": piece("Square", side=-1.0)}, "shape.side", "= -1.0: must be pos"),
        ({"others": {"a": piece("Square", side=0)}}, "others.a.side", "= 0: .*must"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else None,
)
def test_errors_name_key_value_and_what_is_allowed(fields, key, message):
    with pytest.raises(ConfigError) as error:
        build(scene(**fields), "scene")
    assert error.value.key == f"scene.{key}"
    assert str(error.value).startswith(f"config.scene.{key} = ")
    assert re.search(message, str(error.value)), str(error.value)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (f"{__name__}:Squar", "allowed are .*Square; did you mean 'Square'"),
        (f"{__name__}:Shape", "allowed are .*Square"),
        (f"{__name__}:NoDataclass", "allowed are Colour, Net, Pen, Scene, Square"),
        (f"{__name__}:piece", "allowed are Colour, Net, Pen, Scene, Square"),
        (f"{__name__}.Square", "expected 'package.module:Class'"),
        (3, "expected 'package.module:Class'"),
        (".x:Y", "expected 'package.module:Class'"),
        ("a..b:C", "expected 'package.module:Class'"),
        ("a.b:1", "expected 'package.module:Class'"),
        ("tests.raises_on_import:C", "cannot be imported .ZeroDivisionError: division"),
        ("lsgm.sdes.vpsd:VPSDE", "no such module .*did you mean 'vpsde'"),
        ("lsgm.sde.vpsde:VPSDE", "no such module .*did you mean 'sdes'"),
        ("lsmg.sdes.vpsde:VPSDE", "no such module"),
        ("lsgm.sdes.scalar:VariancePreservingSDE", "abstract"),
    ],
)
def test_unknown_targets_name_the_nearest(target, message):
    with pytest.raises(ConfigError) as error:
        build(scene(shape={"target": target}))
    assert error.value.key == "shape.target"
    assert re.search(message, str(error.value)), str(error.value)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pen:
    """Draws, by a field: what a class has of a protocol may be one."""

    draw: int = 0


def test_a_piece_with_all_that_a_protocol_asks_for_is_taken():
    assert build(scene(drawable=piece("Pen"))).drawable == Pen()


@pytest.mark.parametrize("name", ["vae", "_a1", "A" * 64])
def test_names_that_folders_may_have(name):
    check_name("stages", name)


@pytest.mark.parametrize(
    "name", ["", "../up", "/abs", "a/b", "a.b", "1a", "a b", "é", "a\n", "A" * 65, 3]
)
def test_names_that_are_no_identifiers_are_refused(name):
    with pytest.raises(ConfigError, match="config.stages = .*expected a name") as error:
        check_name("stages", name)
    assert repr(name) in str(error.value)


def test_missing_fields_are_listed_in_order():
    with pytest.raises(ConfigError, match="^config = .*missing width, shape$"):
        build(piece("Scene"))


def test_what_is_no_piece_is_refused():
    with pytest.raises(ConfigError, match="config.scene = .*expected a piece"):
        build({"width": 3}, "scene")


def test_a_placeholder_without_value_is_named():
    config = ConfigDict(scene())
    config.shape.side = config_dict.required_placeholder(float)
    with pytest.raises(ConfigError, match=r"config.shape.side = None: a value has to"):
        build(config)
    config.shape.side = 2.0
    assert build(config).shape.side == 2.0


def test_what_is_no_text_is_refused_where_one_of_several_words_is_expected():
    spec = dict(target="lsgm.data.images:Images", binarize=())
    with pytest.raises(ConfigError, match=r"binarize = \(\): allowed are dynamic, n"):
        check(spec)
