"""The wheel: the package, its data files, and nothing else."""

import pathlib
import zipfile

from hatchling.builders.wheel import WheelBuilder

ROOT = pathlib.Path(__file__).parents[1]
DATA = (".npz", ".html", ".mplstyle", ".json", ".md", "LICENSE")


def test_the_wheel_holds_the_package_with_its_data_only(tmp_path):
    (built,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path))
    with zipfile.ZipFile(built) as wheel:
        held = {n for n in wheel.namelist() if ".dist-info/" not in n}
    files = [p for p in (ROOT / "lsgm").rglob("*") if p.is_file()]
    expected = {
        str(path.relative_to(ROOT)) for path in files if "__pycache__" not in path.parts
    }
    assert held == expected
    for suffix in DATA:
        assert any(name.endswith(suffix) for name in held), suffix
