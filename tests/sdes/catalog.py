"""Every SDE of the package, found by scanning it: a new one enters the laws."""

import importlib
import inspect
import pkgutil

import lsgm.sdes
from lsgm.sdes.base import SDE
from lsgm.sdes.scalar import ScalarSDE
from lsgm.sdes.subvpsde import SubVPSDE
from lsgm.sdes.vpsde import VPSDE

# Settings beyond the defaults, by class name; a class not named here enters with
# its defaults.
SETTINGS = {
    "VPSDE": ({}, {"var_0": 0.01, "beta_0": 0.5, "beta_1": 8.0}),
    "GeometricVPSDE": ({}, {"var_min": 1e-4, "var_max": 0.99, "var_0": 0.0}),
    "PowerVPSDE": ({}, {"power": 3, "beta_0": 0.7, "var_0": 1e-3}),
    "SubVPSDE": ({}, {"var_0": 1e-3, "beta_0": 0.3, "beta_1": 12.0}),
    "CLD": ({}, {"beta_0": 0.1, "beta_1": 7.0, "mass": 1.0, "gamma": 1.0}),
    "MatchedCLD": ({"like": VPSDE()}, {"like": SubVPSDE(), "gamma": 1.0}),
    "VESDE": ({"var_max": 50.0}, {"var_min": 1e-2, "var_max": 4.0}),
}


def _classes() -> list[type]:
    found = []
    for info in pkgutil.iter_modules(lsgm.sdes.__path__, "lsgm.sdes."):
        module = importlib.import_module(info.name)
        for cls in vars(module).values():
            if (
                inspect.isclass(cls)
                and issubclass(cls, SDE)
                and not inspect.isabstract(cls)
                and cls.__module__ == module.__name__
            ):
                found.append(cls)
    return found


ALL = [
    cls(**kwargs) for cls in _classes() for kwargs in SETTINGS.get(cls.__name__, [{}])
]
SCALAR = [sde for sde in ALL if isinstance(sde, ScalarSDE)]
