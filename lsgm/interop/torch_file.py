"""PyTorch's files, read without PyTorch; nothing in them is executed.

A file is a pickle of names and tensors; a tensor in it is a call that rebuilds it from
a storage, which the pickle only mentions:

    _rebuild_tensor_v2(storage, offset, shape, stride, ...)
    storage = ("storage", type, key, device, count),

    x[i_1, ..., i_n] = storage[offset + sum_k i_k stride_k].                   (1)

The numbers of a storage stand elsewhere. Since PyTorch 1.6 the file is a zip with the
pickle as ``<any>/data.pkl`` and each storage as ``<any>/data/<key>``. Before, it was a
sequence: a magic number, a version, a description of the machine, the pickle, the list
of keys, and for each of them a count (int64) and the numbers.

A pickle can call whatever it names. Here it may name what published files do: types of
storages, ordered dictionaries, the rebuilding of a tensor or a parameter, sizes,
numbers of NumPy, and ``argparse.Namespace``. Each name stands for something of this
file that builds plain values; nothing is looked up by name, so whatever else it names
is refused. So is a small file that would unfold to a large one.
"""

import collections
import dataclasses
import io
import math
import pathlib
import pickle
import re
import struct
import zipfile
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from lsgm.interop.pickle_cost import MAX_NODES, require_cheap
from lsgm.limits import (
    TooLargeError,
    cut,
    require_archive_ratio,
    require_ratio,
    shorten,
)

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001
# Little-endian, which all machines write that matter here; others are refused.
TYPES = {
    "HalfStorage": "<f2",
    "BFloat16Storage": "<u2",  # the upper halves of numbers in float32
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "IntStorage": "<i4",
    "LongStorage": "<i8",
}
# NumPy's module of that function has another name since its version 2.
SCALARS = ("numpy.core.multiarray", "numpy._core.multiarray")


class FileError(ValueError):
    """A file of a published run that cannot be used."""


class Storage(NamedTuple):
    """Numbers that stand elsewhere in the file."""

    dtype: str
    key: str
    count: int


Numbers: TypeAlias = Callable[[Iterable[Storage]], Mapping[str, np.ndarray]]


class Tensor(NamedTuple):
    """A view of a storage, Eq. (1)."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TorchFile:
    """What a file holds; the numbers of its tensors are read when asked for.

    Attributes:
      content: containers, texts, numbers and ``Tensor``. A namespace is a dictionary,
        a size a tuple, and a number of NumPy one of Python.
      numbers: those of some storages, by key.
    """

    path: pathlib.Path
    content: Any
    numbers: Numbers

    def arrays(self, state: Any) -> dict[str, np.ndarray]:
        """The tensors of a state dictionary by name; those of floating point in
        float32.

        Raises:
          FileError: ``state`` is something else, or a tensor is damaged.
        """
        if not _is_state(state):
            raise FileError(f"{self.path} is refused: it is no state dictionary")
        tensors: dict[str, Tensor] = dict(state)

        def read() -> dict[str, np.ndarray]:
            # Many tensors may be views of one storage.
            sizes = (math.prod(tensor.shape) for tensor in tensors.values())
            require_ratio(8 * sum(sizes), self.path.stat().st_size)
            numbers = self.numbers({tensor.storage for tensor in tensors.values()})
            return {n: _array(t, numbers[t.storage.key]) for n, t in tensors.items()}

        return _guard(self.path, read)


def open_file(path: pathlib.Path) -> TorchFile:
    """Read the pickle of a file.

    Raises:
      FileError: the pickle names what is refused (the message says what), or the file
        is damaged.
    """

    def load() -> TorchFile:
        if zipfile.is_zipfile(path):
            content, numbers = _from_zip(path)
        else:
            content, numbers = _from_sequence(path.read_bytes())
        plain, _ = _plain(content, {})
        return TorchFile(path=path, content=plain, numbers=numbers)

    return _guard(path, load)


def read_state(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Tensors by name of a file that is nothing but a state dictionary.

    Raises:
      FileError: as ``open_file``, or the file holds something else.
    """
    file = open_file(path)
    return file.arrays(file.content)


def _guard(path: pathlib.Path, read: Callable[[], Any]) -> Any:
    """What ``read`` returns; its errors name the file."""
    try:
        return read()
    except (FileError, TooLargeError) as error:
        raise FileError(f"{path} is refused: {error}") from error
    except Exception as error:  # A damaged pickle raises anything.
        kind = type(error).__name__
        raise FileError(f"{path} is damaged: {kind}: {cut(str(error))}") from error


class _Unpickler(pickle.Unpickler):
    """Builds nothing but containers, texts, numbers, and records of tensors.

    Functions and classes that it hands out are new ones each time, since a pickle can
    set attributes of what it names.

    Attributes:
      storages: those that were mentioned, by key.
    """

    def __init__(self, file: io.BytesIO):
        require_cheap(file)
        super().__init__(file)
        self.storages: dict[str, Storage] = {}

    def find_class(self, module_name: str, global_name: str) -> Any:
        match module_name, global_name:
            case "collections", "OrderedDict":
                return collections.OrderedDict
            case "torch._utils", "_rebuild_tensor_v2":
                return lambda *arguments: _rebuilt(*arguments)
            case "torch._utils", "_rebuild_parameter":
                return lambda *arguments: _parameter(*arguments)
            case "torch", "Size":
                return lambda sizes=(): _size(sizes)
            case "torch", _ if global_name in TYPES:
                return TYPES[global_name]
            case "argparse", "Namespace":
                return type("Namespace", (_Namespace,), {})
            case "numpy", "dtype":
                return lambda *arguments: _DType(*arguments)
            case _, "scalar" if module_name in SCALARS:
                return lambda dtype, data: _number(dtype, data)
            case "_codecs", "encode":
                return lambda text, encoding: _bytes(text, encoding)
        name = f"{module_name}.{global_name}"
        raise FileError(f"it names {cut(name if name.isprintable() else repr(name))}")

    def persistent_load(self, pid: Any) -> Storage:
        match pid:
            case ("storage", str(dtype), str(key), str(_), int(count), *rest) if (
                dtype in TYPES.values() and count >= 0 and rest in ([], [None])
            ):
                storage = Storage(dtype, key, count)
                if self.storages.setdefault(key, storage) == storage:
                    return storage
        raise ValueError(f"no storage: {shorten(pid)}")


class _Namespace:
    """Stands for ``argparse.Namespace``."""


class _DType:
    """Stands for ``numpy.dtype``: a name such as "f8", and a state that is ignored but
    for the byte order."""

    def __init__(self, name: str, *_: Any):
        _expect(bool(re.fullmatch(r"b1|[fiu][1248]", name)), f"NumPy's type {name!r}")
        self.name = name

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _expect(state[1] in ("<", "|"), f"byte order {state[1]!r}")


def _number(dtype: Any, data: Any) -> Any:
    _expect(isinstance(dtype, _DType) and isinstance(data, bytes), "no number of NumPy")
    (number,) = np.frombuffer(data, f"<{dtype.name}")
    return number.item()


def _bytes(text: Any, encoding: Any) -> bytes:
    """How a pickle of protocol 2 writes bytes."""
    _expect(isinstance(text, str) and encoding == "latin1", f"encoding {encoding!r}")
    return text.encode("latin1")


def _size(sizes: Any) -> tuple[int, ...]:
    _expect(all(type(n) is int for n in sizes), f"no size: {shorten(sizes)}")
    return tuple(sizes)


def _rebuilt(storage: Any, offset: Any, shape: Any, stride: Any, *_: Any) -> Tensor:
    numbers = (offset, *shape, *stride)
    whole = all(type(n) is int and 0 <= n < 2**63 for n in numbers)
    if not isinstance(storage, Storage) or len(shape) != len(stride) or not whole:
        where = f"offset {shorten(offset)}, shape {shorten(shape)}"
        raise ValueError(f"no tensor: {where}, stride {shorten(stride)}")
    return Tensor(storage, offset, tuple(shape), tuple(stride))


def _parameter(data: Any, *_: Any) -> Tensor:
    """A tensor that gradients were taken of, which is nothing to us."""
    _expect(isinstance(data, Tensor), f"no parameter: {shorten(data)}")
    return data


def _plain(content: Any, known: dict[int, tuple[Any, int]]) -> tuple[Any, int]:
    """``content`` with the namespaces in it as dictionaries, and its number of nodes.

    Args:
      known: the same of containers that were met before, by identity.
    """
    if isinstance(content, _Namespace):
        content = vars(content)
    is_leaf = isinstance(content, Tensor | Storage)
    if is_leaf or not isinstance(content, dict | list | tuple):
        return content, 1
    if id(content) in known:
        return known[id(content)]
    values = content.values() if isinstance(content, dict) else content
    found = [_plain(value, known) for value in values]
    nodes = 1 + sum(nodes for _, nodes in found)
    if nodes > MAX_NODES:
        raise TooLargeError(f"it unfolds to over {MAX_NODES:,} nodes")
    plain: Any = [value for value, _ in found]
    if isinstance(content, dict):
        plain = dict(zip(content, plain, strict=True))
    elif isinstance(content, tuple):
        plain = tuple(plain)
    known[id(content)] = plain, nodes
    return plain, nodes


def _from_zip(path: pathlib.Path) -> tuple[Any, Numbers]:
    with zipfile.ZipFile(path) as archive:
        require_archive_ratio(path, archive)
        names = archive.namelist()
        (pickled,) = (n for n in names if pathlib.PurePath(n).match("*/data.pkl"))
        folder = pickled.removesuffix("data.pkl")
        if f"{folder}byteorder" in names:
            order = archive.read(f"{folder}byteorder")
            _expect(order == b"little", f"byte order {order!r}")
        reader = _Unpickler(io.BytesIO(archive.read(pickled)))
        content = reader.load()
        for key, storage in reader.storages.items():
            entry = archive.getinfo(f"{folder}data/{key}")
            size = np.dtype(storage.dtype).itemsize * storage.count
            _expect(entry.file_size == size, f"storage {key} has {entry.file_size}")

    def numbers(storages: Iterable[Storage]) -> dict[str, np.ndarray]:
        with zipfile.ZipFile(path) as archive:
            return {
                key: np.frombuffer(archive.read(f"{folder}data/{key}"), dtype)
                for dtype, key, _ in storages
            }

    return content, numbers


def _from_sequence(raw: bytes) -> tuple[Any, Numbers]:
    file = io.BytesIO(raw)
    magic, version, machine = (_Unpickler(file).load() for _ in range(3))
    _expect((magic, version) == (MAGIC, VERSION), "no file of PyTorch")
    _expect(machine["little_endian"] is True, "byte order")
    reader = _Unpickler(file)
    content, keys, numbers = reader.load(), _Unpickler(file).load(), {}
    texts = isinstance(keys, list) and all(isinstance(key, str) for key in keys)
    same = texts and sorted(keys) == sorted(reader.storages)
    _expect(same, "storages differ from their list")
    for key in keys:
        dtype, _, count = reader.storages[key]
        (stated,) = struct.unpack("<q", file.read(8))
        _expect(stated == count, f"storage {key} has {stated} numbers")
        data = file.read(count * np.dtype(dtype).itemsize)
        numbers[key] = np.frombuffer(data, dtype)
        _expect(len(numbers[key]) == count, f"storage {key} ends early")
    return content, lambda _: numbers


def _expect(condition: bool, otherwise: str) -> None:
    if not condition:
        raise ValueError(otherwise)


def _is_state(content: Any) -> bool:
    return isinstance(content, Mapping) and all(
        isinstance(name, str) and isinstance(tensor, Tensor)
        for name, tensor in content.items()
    )


def _array(tensor: Tensor, data: np.ndarray) -> np.ndarray:
    """Eq. (1), in memory of its own."""
    (_, _, count), offset, shape, stride = tensor
    steps = ((n - 1) * s for n, s in zip(shape, stride, strict=True))
    fits = offset + sum(steps) < count and math.prod(shape) <= count
    _expect(fits or 0 in shape, f"tensor {shape} is larger than its storage")
    if 0 in shape:
        view = np.empty(shape, data.dtype)
    else:
        strides = [data.itemsize * s for s in stride]
        view = np.lib.stride_tricks.as_strided(data[offset:], shape, strides)
    if data.dtype == np.uint16:
        return np.asarray(view.astype(np.uint32) << 16).view(np.float32)
    floating = np.issubdtype(data.dtype, np.floating)
    return np.array(view, np.float32 if floating else data.dtype)
