"""Arrays from files that others may have made."""

import math
import pathlib
import zipfile

import numpy as np

from lsgm.limits import require_archive_ratio

# Headers of arrays by version of NumPy's format; later ones are of named fields.
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
    """The arrays of an npz by name.

    Raises:
      OSError: there is no such file, or no regular one.
      ValueError: no npz, a damaged one, one of pickled objects, or one that declares
        more than it holds.
    """
    if not path.is_file():  # a pipe would never end
        raise FileNotFoundError("no such file, or no regular one")
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            require_archive_ratio(path, archive)
            return {
                entry.filename.removesuffix(".npy"): _read_array(archive, entry)
                for entry in archive.infolist()
            }
    except OSError:
        raise
    except Exception as error:  # What was cut or changed raises anything.
        raise ValueError(f"not an npz of arrays: {error}") from error


def _read_array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(entry) as file:
        version = np.lib.format.read_magic(file)
        if version not in _HEADERS:
            raise ValueError(
                f"{entry.filename} has version {version} of NumPy's format"
            )
        try:
            shape, _, dtype = _HEADERS[version](file)
        except ValueError as error:
            # NumPy's own words advise to trust the file.
            message = f"{entry.filename} has a header that is damaged or too long"
            raise ValueError(message) from error
        if dtype.hasobject:
            raise ValueError(
                f"{entry.filename} holds pickled objects, which could run code; save "
                "numbers or texts"
            )
        size = math.prod(shape) * dtype.itemsize
        # NumPy makes room for all that is declared before it reads any.
        if size != entry.file_size - file.tell():
            raise ValueError(
                f"{entry.filename} declares {size:,} bytes, "
                f"and holds {entry.file_size - file.tell():,}"
            )
    with archive.open(entry) as file:
        return np.lib.format.read_array(file, allow_pickle=False)
