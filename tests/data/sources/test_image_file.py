"""Files of many formats: read whole and right, or refused; never cut in silence."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from lsgm.data.errors import DataError
from lsgm.data.sources import image_file
from lsgm.data.sources.image_folder import ImageFolder

X = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
LOSSLESS = {
    "WEBP": {"lossless": True},
    "AVIF": {"quality": 100, "subsampling": "4:4:4"},
}
FORMATS = ["BMP", "GIF", "TIFF", "PPM", "TGA", "PCX", "QOI", "JPEG2000", "WEBP", "PNG"]


def encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def deep_png(colour, channels):
    """One pixel of 16 bits per channel, from the format's description."""

    def chunk(name, data):
        checksum = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + checksum

    header = struct.pack(">IIBBBBB", 1, 1, 16, colour, 0, 0, 0)
    pixels = zlib.compress(b"\0" + b"\x12\x34" * channels)
    chunks = {b"IHDR": header, b"IDAT": pixels, b"IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*item) for item in chunks.items())


def deep_tiff():
    """One RGB pixel of 16 bits per channel; little-endian, uncompressed."""
    entries = [(256, 3, 1, 1), (257, 3, 1, 1), (258, 3, 3, 122), (259, 3, 1, 1)]
    entries += [(262, 3, 1, 2), (273, 4, 1, 128), (277, 3, 1, 3), (278, 3, 1, 1)]
    entries += [(279, 4, 1, 6)]
    fields = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    start = b"II*\0" + struct.pack("<IH", 8, len(entries)) + fields + bytes(4)
    assert len(start) == 122
    return start + struct.pack("<3H", 16, 16, 16) + struct.pack("<3H", 1, 2, 3)


def deep_codestream():
    """A JPEG 2000 whose header is changed to 12 bits per component."""
    raw = bytearray(encoded(Image.fromarray(X), "JPEG2000"))
    start = raw.index(b"\xff\x4f\xff\x51") + 4
    for component in range(3):
        raw[start + 38 + 3 * component] = 11
    return bytes(raw)


@pytest.mark.parametrize("kind", FORMATS)
def test_formats_are_read(kind):
    image = Image.fromarray(X)
    if kind == "GIF":
        image = image.quantize(64)
    raw = encoded(image, kind, **LOSSLESS.get(kind, {}))
    expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(image_file.pixels(raw, "a"), expected)
    assert image_file.shape(raw, "a") == (5, 7, 3)


def test_avif_is_read():
    """Its colours are rounded on the way."""
    raw = encoded(Image.fromarray(X), "AVIF", **LOSSLESS["AVIF"])
    np.testing.assert_allclose(image_file.pixels(raw, "a").astype(int), X, atol=8)


DEEP = {
    **{f"png{c}": deep_png(c, n) for c, n in ((0, 1), (2, 3), (4, 2), (6, 4))},
    "tiff": deep_tiff(),
    "ppm": b"P6 1 1 65535\n" + bytes(6),
    "pgm": b"P5 1 1 1023\n" + bytes(2),
    "jp2": deep_codestream(),
}


@pytest.mark.parametrize("name", DEEP)
@pytest.mark.parametrize("read", [image_file.pixels, image_file.shape])
def test_more_than_8_bits_are_refused(name, read):
    with pytest.raises(DataError, match="a.*more than 8 bits per channel"):
        read(DEEP[name], "a")


def test_flag_of_a_deep_avif():
    raw = bytearray(encoded(Image.fromarray(X), "AVIF"))
    assert image_file.avif_bits(bytes(raw)) == 8
    raw[raw.index(b"av1C") + 6] |= 0x40
    assert image_file.avif_bits(bytes(raw)) == 16


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "PNG", "WEBP"])
@pytest.mark.parametrize("read", [image_file.pixels, image_file.shape])
def test_several_frames_are_refused(kind, read):
    frames = [Image.fromarray(image) for image in (X, 255 - X)]
    raw = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match="several frames"):
        read(raw, "a")


def test_a_cameras_preview_is_no_frame():
    frames = [Image.fromarray(image) for image in (X, X[:4])]
    raw = encoded(frames[0], "MPO", save_all=True, append_images=frames[1:])
    assert image_file.pixels(raw, "a").shape == (5, 7, 3)


def test_5_bits_are_not_16():
    """A BMP of 16 bits per pixel."""
    sizes = struct.pack("<IiiHHIIiiII", 40, 2, 1, 1, 16, 0, 4, 0, 0, 0, 0)
    raw = b"BM" + struct.pack("<IHHI", 58, 0, 0, 54) + sizes
    raw += struct.pack("<HH", 0x7FFF, 0)
    pixels = image_file.pixels(raw, "a")
    np.testing.assert_array_equal(pixels, [[[255] * 3, [0] * 3]])


def test_suffixes_are_pillows():
    Image.init()
    known = Image.registered_extensions()
    for kind, suffixes in image_file.FORMATS.items():
        assert {known[suffix] for suffix in suffixes} == {kind}


def test_every_format_of_a_folder_counts(tmp_path):
    (tmp_path / "train").mkdir()
    names = [f"{i}.png" for i in range(3)] + [f"{i}.bmp" for i in range(3, 9)]
    for name in (*names, "9.tif", "10.gif", "11.JFIF", "12.PPM"):
        Image.fromarray(X).save(tmp_path / "train" / name)
    (tmp_path / "train" / "13.heic").write_bytes(b"heic")
    (tmp_path / "list.txt").write_text("list")
    source = ImageFolder(root=str(tmp_path))
    assert len(source.open("train")) == 13
    assert source.notes() == ["left out, by suffix: 1 .heic, 1 .txt"]
