r"""CRC-32C of long strings, in NumPy: TFRecords carry one for every record.

The register r of a CRC is linear over GF(2). A byte x turns it into

    r <- T[(r ^ x) & 255] ^ (r >> 8)                                         (1)

and a string starts from r = 2^32 - 1 and ends with the complement. Starting from
all ones equals starting from zero with the string's first four bytes complemented,
and from zero, leading zero bytes change nothing. So a string is padded in front to
K rows of m bytes, (1) runs down all rows at once, and the rows are joined in pairs,

    r(left right) = Z_n r(left) ^ r(right),                                  (2)

where Z_n, n zero bytes, is a 32x32 matrix over GF(2) that doubles by squaring.
Castagnoli's polynomial, reflected: RFC 3720, appendix B.4.
"""

import numpy as np
from jaxtyping import UInt32

POLYNOMIAL = 0x82F63B78
ONES = 0xFFFFFFFF
ROWS = 256
SHORT = 4 * ROWS


def crc32c(data: bytes) -> int:
    """The checksum of ``data``."""
    return _by_byte(data) if len(data) < SHORT else _by_rows(data)


def masked(data: bytes) -> int:
    """The checksum as a TFRecord stores it: rotated and shifted."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & ONES


def _table() -> UInt32[np.ndarray, "256"]:
    r = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        r = np.where(r & 1, r >> 1 ^ np.uint32(POLYNOMIAL), r >> 1)
    return r.astype(np.uint32)


TABLE = _table()
TABLE_LIST = TABLE.tolist()


def _by_byte(data: bytes) -> int:
    """Eq. (1)."""
    r = ONES
    for x in data:
        r = TABLE_LIST[(r ^ x) & 255] ^ r >> 8
    return r ^ ONES


def _by_rows(data: bytes) -> int:
    """Eq. (1) on rows, then Eq. (2)."""
    m = -(-len(data) // ROWS)
    rows = np.zeros(ROWS * m, np.uint8)
    rows[-len(data) :] = np.frombuffer(data, np.uint8)
    rows[-len(data) :][:4] ^= 255
    columns = np.ascontiguousarray(rows.reshape(ROWS, m).T)
    r = np.zeros(ROWS, np.uint32)
    for column in columns:
        r = TABLE[r.astype(np.uint8) ^ column] ^ r >> 8
    zeros = _power(_ZERO_BYTE, m)
    while len(r) > 1:
        r = _apply(zeros, r[::2]) ^ r[1::2]
        zeros = _apply(zeros, zeros)
    return int(r[0]) ^ ONES


def _apply(
    matrix: UInt32[np.ndarray, "32"], r: UInt32[np.ndarray, " k"]
) -> UInt32[np.ndarray, " k"]:
    """A matrix, given by the images of the 32 single bits, times each register."""
    bits = r[None] >> np.arange(32, dtype=np.uint32)[:, None] & 1
    return np.bitwise_xor.reduce(bits * matrix[:, None], axis=0)


def _power(matrix: UInt32[np.ndarray, "32"], n: int) -> UInt32[np.ndarray, "32"]:
    result = _BITS
    while n:
        result = _apply(matrix, result) if n & 1 else result
        matrix, n = _apply(matrix, matrix), n >> 1
    return result


_BITS = np.left_shift(np.uint32(1), np.arange(32, dtype=np.uint32))
_ZERO_BYTE = TABLE[_BITS.astype(np.uint8)] ^ _BITS >> 8
