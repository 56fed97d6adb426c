"""Sets that hold each picture at several sizes, such as originals beside thumbnails.

With ``resize`` they would become copies of one picture, on both sides of a split.
"""

import re
from collections.abc import Iterable, Mapping

import numpy as np

from lsgm.data.errors import DataError
from lsgm.data.fit import Fit
from lsgm.data.sources.base import Examples

GROUPS, MEMBERS = 32, 16
SIDE = 8  # compared at this size
NEAR = 6.0  # mean absolute difference in levels of 0 .. 255

Place = tuple[Examples, int]


def require_one_size(splits: Mapping[str, Examples]) -> None:
    """Raise a DataError if pictures of one name are the same at other sizes.

    Names are those of files, or numbers of records. ``GROUPS`` groups of one name
    are looked at; half of those in which sizes differ have to be alike.
    """
    groups: dict[str, list[Place]] = {}
    for examples in splits.values():
        for i in range(len(examples)):
            groups.setdefault(_key(examples.name(i)), []).append((examples, i))
    several = [group[:MEMBERS] for group in groups.values() if len(group) > 1]
    looked = several[:: max(1, len(several) // GROUPS)]
    found = [pair for pair in map(_other_size, looked) if pair is not None]
    alike = [pair for pair in found if _alike(*pair)]
    if alike and 2 * len(alike) >= len(found):
        names = " and ".join(
            f"{examples.name(i)} ({'x'.join(map(str, examples.shape(i)[:2]))})"
            for examples, i in alike[0]
        )
        message = "show the same picture: give the folder or file of one size as root"
        raise DataError("root", names, message)


def _key(name: str) -> str:
    """The number of a record, or a file's name without its suffix."""
    record = re.search(r"\[[^\]]*\]$", name)
    return record.group() if record else name.rpartition("/")[2].rpartition(".")[0]


def _other_size(group: Iterable[Place]) -> tuple[Place, Place] | None:
    """The first of a group and one of another size and the same aspect."""
    try:
        sized = [(place, place[0].shape(place[1])) for place in group]
    except DataError:  # unreadable: told where it is read
        return None
    first, (h, w, _) = sized[0]
    for place, (other_h, other_w, _) in sized[1:]:
        # Rounding moves a side by less than one pixel.
        same_aspect = abs(h * other_w - w * other_h) < max(h, w, other_h, other_w)
        if (h, w) != (other_h, other_w) and same_aspect:
            return first, place
    return None


def _alike(one: Place, other: Place) -> bool:
    side = min(SIDE, *one[0].shape(one[1])[:2], *other[0].shape(other[1])[:2])
    fit = Fit(image_shape=(side, side, 1), grey=True, resize="box")
    try:
        small = [
            fit(e[i]["image"], e.name(i)).astype(np.float32) for e, i in (one, other)
        ]
    except DataError:
        return False
    return float(np.abs(small[0] - small[1]).mean()) <= NEAR
