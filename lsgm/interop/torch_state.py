"""State dictionaries in PyTorch's files, read without PyTorch.

A file is a pickle of names and tensors; a tensor in it is a call that rebuilds it from
a storage, which the pickle only mentions:

    _rebuild_tensor_v2(storage, offset, shape, stride, ...)
    storage = ("storage", type, key, device, count),

    x[i_1, ..., i_n] = storage[offset + sum_k i_k stride_k].                   (1)

The numbers of a storage stand elsewhere. Since PyTorch 1.6 the file is a zip with the
pickle as ``<any>/data.pkl`` and each storage as ``<any>/data/<key>``. Before, it was a
sequence: a magic number, a version, a description of the machine, the pickle, the list
of keys, and for each of them a count (int64) and the numbers.

A pickle can call whatever it names. Here it may name storages' types, ordered
dictionaries and the rebuilding of a tensor, which stands for a function that notes its
arguments; nothing is looked up by name, so whatever else it names is refused.
"""

import collections
import io
import math
import pathlib
import pickle
import struct
import zipfile
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from lsgm.interop.torch_file import FileError

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001
# Little-endian, which all machines write that matter here; others are refused.
TYPES = {
    "HalfStorage": "<f2",
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "IntStorage": "<i4",
    "LongStorage": "<i8",
}


class Storage(NamedTuple):
    """Numbers that stand elsewhere in the file."""

    dtype: str
    key: str
    count: int


class Tensor(NamedTuple):
    """A view of a storage, Eq. (1)."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


def read(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Tensors by name; those of floating point in float32.

    Raises:
      FileError: the pickle names what is refused (the message says what), the file is
        damaged, or it holds something else.
    """
    try:
        raw = path.read_bytes()
        zipped = raw.startswith(b"PK\x03\x04")
        content, numbers = (_from_zip if zipped else _from_sequence)(raw)
        if not _is_state(content):
            raise FileError("it is no state dictionary")
        return {name: _array(tensor, numbers) for name, tensor in dict(content).items()}
    except FileError as error:
        raise FileError(f"{path} is refused: {error}") from error
    except Exception as error:  # A damaged pickle raises anything.
        raise FileError(f"{path} is damaged: {error!r}") from error


class _Unpickler(pickle.Unpickler):
    """Builds nothing but containers, texts, numbers, and records of tensors.

    Attributes:
      storages: those that were mentioned, by key.
    """

    def __init__(self, file: io.BytesIO):
        super().__init__(file)
        self.storages: dict[str, Storage] = {}

    def find_class(self, module_name: str, global_name: str) -> Any:
        match module_name, global_name:
            case "collections", "OrderedDict":
                return collections.OrderedDict
            case "torch._utils", "_rebuild_tensor_v2":
                # A new one, since the pickle can set attributes of what it names.
                return lambda *arguments: _rebuilt(*arguments)
            case "torch", _ if global_name in TYPES:
                return TYPES[global_name]
        raise FileError(f"it names {module_name}.{global_name}")

    def persistent_load(self, pid: Any) -> Storage:
        match pid:
            case ("storage", str(dtype), str(key), str(_), int(count), *rest) if (
                dtype in TYPES.values() and count >= 0 and rest in ([], [None])
            ):
                storage = Storage(dtype, key, count)
                if self.storages.setdefault(key, storage) == storage:
                    return storage
        raise ValueError(f"no storage: {pid!r}")


def _rebuilt(storage: Any, offset: Any, shape: Any, stride: Any, *_: Any) -> Tensor:
    numbers = (offset, *shape, *stride)
    if not isinstance(storage, Storage) or len(shape) != len(stride):
        raise ValueError(f"no tensor: shape {shape}, stride {stride}")
    if not all(type(n) is int and n >= 0 for n in numbers):
        raise ValueError(f"no tensor: offset, shape, stride {numbers}")
    return Tensor(storage, offset, tuple(shape), tuple(stride))


def _from_zip(raw: bytes) -> tuple[Any, dict[str, np.ndarray]]:
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        names = archive.namelist()
        (pickled,) = (n for n in names if pathlib.PurePath(n).match("*/data.pkl"))
        folder = pickled.removesuffix("data.pkl")
        if f"{folder}byteorder" in names:
            order = archive.read(f"{folder}byteorder")
            _expect(order == b"little", f"byte order {order!r}")
        reader = _Unpickler(io.BytesIO(archive.read(pickled)))
        content, numbers = reader.load(), {}
        for key, storage in reader.storages.items():
            entry = archive.getinfo(f"{folder}data/{key}")
            size = np.dtype(storage.dtype).itemsize * storage.count
            _expect(entry.file_size == size, f"storage {key} has {entry.file_size}")
            numbers[key] = np.frombuffer(archive.read(entry), storage.dtype)
    return content, numbers


def _from_sequence(raw: bytes) -> tuple[Any, dict[str, np.ndarray]]:
    file = io.BytesIO(raw)
    magic, version, machine = (_Unpickler(file).load() for _ in range(3))
    _expect((magic, version) == (MAGIC, VERSION), "no file of PyTorch")
    _expect(machine["little_endian"] is True, "byte order")
    reader = _Unpickler(file)
    content, keys, numbers = reader.load(), _Unpickler(file).load(), {}
    _expect(sorted(keys) == sorted(reader.storages), "storages differ from their list")
    for key in keys:
        dtype, _, count = reader.storages[key]
        (stated,) = struct.unpack("<q", file.read(8))
        _expect(stated == count, f"storage {key} has {stated} numbers")
        data = file.read(count * np.dtype(dtype).itemsize)
        numbers[key] = np.frombuffer(data, dtype)
        _expect(len(numbers[key]) == count, f"storage {key} ends early")
    return content, numbers


def _expect(condition: bool, otherwise: str) -> None:
    if not condition:
        raise ValueError(otherwise)


def _is_state(content: Any) -> bool:
    return isinstance(content, Mapping) and all(
        isinstance(name, str) and isinstance(tensor, Tensor)
        for name, tensor in dict(content).items()
    )


def _array(tensor: Tensor, numbers: Mapping[str, np.ndarray]) -> np.ndarray:
    """Eq. (1), in memory of its own."""
    (_, key, count), offset, shape, stride = tensor
    steps = ((n - 1) * s for n, s in zip(shape, stride, strict=True))
    fits = offset + sum(steps) < count and math.prod(shape) <= count
    _expect(fits or 0 in shape, f"tensor {shape} is larger than its storage")
    data = numbers[key]
    if 0 in shape:
        view = np.empty(shape, data.dtype)
    else:
        strides = [data.itemsize * s for s in stride]
        view = np.lib.stride_tricks.as_strided(data[offset:], shape, strides)
    floating = np.issubdtype(data.dtype, np.floating)
    return np.array(view, np.float32 if floating else data.dtype)
