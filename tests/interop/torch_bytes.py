"""Files as PyTorch writes them, put together opcode by opcode, without PyTorch."""

import argparse
import collections
import io
import pickle
import struct
import zipfile

import numpy as np

TYPES = {"f2": "Half", "f4": "Float", "f8": "Double", "i4": "Int", "i8": "Long"}
ORDERED = b"ccollections\nOrderedDict\n)R"
MACHINE = {
    "protocol_version": 1001,
    "little_endian": True,
    "type_sizes": {"short": 2, "int": 4, "long": 4},
}


class Size(tuple):
    """Stands for ``torch.Size``."""


def plain(value):
    """Opcodes that push a value of plain types."""
    return pickle.dumps(value, 2)[2:-1]


def tensor(kind, key, count, offset, shape, stride, legacy):
    """Opcodes that push a tensor."""
    storage = b"(" + plain("storage") + b"ctorch\n" + kind.encode() + b"Storage\n"
    storage += plain(key) + plain("cpu") + plain(count) + (b"N" if legacy else b"")
    parts = [plain(part) for part in (offset, shape, stride, False)]
    call = b"ctorch._utils\n_rebuild_tensor_v2\n("
    return call + storage + b"tQ" + b"".join(parts) + ORDERED + b"tR"


def pickled(items):
    """A pickle of an ordered dictionary, which carries versions as PyTorch's does."""
    pairs = b"".join(plain(name) + value for name, value in items.items())
    versions = plain({"_metadata": {"": {"version": 1}}})
    return b"\x80\x02" + ORDERED + b"(" + pairs + b"u" + versions + b"b."


def of(state, legacy):
    """A pickle of a state dictionary, and its storages by key."""
    items, storages = {}, {}
    for number, (name, array) in enumerate(state.items()):
        array, key = np.asarray(array), str(1000 + number)
        strides = tuple(s // array.itemsize for s in array.strides)
        # As it lies in memory: transposed arrays keep their strides.
        storages[key] = array.ravel(order="K")
        kind = TYPES[array.dtype.str[1:]]
        items[name] = tensor(
            kind, key, array.size, 0, array.shape, strides, legacy=legacy
        )
    return pickled(items), storages


def sequence(state):
    """A file as before PyTorch 1.6."""
    return in_sequence(*of(state, legacy=True))


def in_sequence(content, storages, keys=None, machine=MACHINE):
    head = [0x1950A86A20F9469CFC6C, 1001, machine]
    parts = [pickle.dumps(part, 2) for part in head] + [content]
    parts.append(pickle.dumps(sorted(storages) if keys is None else keys, 2))
    for _, numbers in sorted(storages.items()):
        parts += [struct.pack("<q", numbers.size), numbers.tobytes()]
    return b"".join(parts)


def content_of(value, storages, legacy):
    """Opcodes that push nested content; adds its numbers to ``storages``."""

    def inner(part):
        return content_of(part, storages, legacy)

    if isinstance(value, argparse.Namespace):
        return b"cargparse\nNamespace\n)\x81" + inner(vars(value)) + b"b"
    if isinstance(value, Size):
        return b"ctorch\nSize\n" + plain(tuple(value)) + b"\x85R"
    if isinstance(value, dict):
        kind = ORDERED if isinstance(value, collections.OrderedDict) else b"}"
        pairs = b"".join(inner(k) + inner(v) for k, v in value.items())
        return kind + b"(" + pairs + b"u"
    if isinstance(value, list):
        return b"](" + b"".join(map(inner, value)) + b"e"
    if isinstance(value, np.ndarray):
        key, dense = str(len(storages)), value.ravel(order="K")
        storages[key] = dense
        strides = tuple(s // value.itemsize for s in value.strides)
        kind = TYPES[value.dtype.str[1:]]
        where = (0, value.shape, strides)
        return tensor(kind, key, value.size, *where, legacy=legacy)
    return plain(value)


def run(content, layout):
    """A file of nested content: arrays are its tensors."""
    storages, legacy = {}, layout == "sequence"
    pickled = b"\x80\x02" + content_of(content, storages, legacy) + b"."
    return (in_sequence if legacy else in_zip)(pickled, storages)


def zipped(state):
    """A file as since PyTorch 1.6."""
    return in_zip(*of(state, legacy=False))


def in_zip(content, storages, order=b"little"):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/byteorder", order)
        for key, numbers in storages.items():
            archive.writestr(f"archive/data/{key}", numbers.tobytes())
        archive.writestr("archive/version", b"3\n")
    return file.getvalue()
