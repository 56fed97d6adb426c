"""Lists of file names as people keep them: any line ends, slashes, Unicode forms."""

import codecs
import pathlib
import unicodedata

# UTF-32's little-endian mark begins with that of UTF-16: it comes first.
MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def read_list(path: pathlib.Path) -> list[str]:
    """The lines of a text file that are not empty.

    Raises:
      ValueError: no text in UTF-8, or in UTF-16 or UTF-32 with its mark; names the
        file.
    """
    raw = path.read_bytes()
    encoding = next((e for mark, e in MARKS.items() if raw.startswith(mark)), "utf-8")
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in {encoding}: {error.reason}") from error
    if "\0" in text:
        raise ValueError(
            f"{path} is no text in UTF-8: save it as UTF-8, one name a line"
        )
    # Not splitlines(): names may hold other separators, such as U+2028.
    lines = (line.strip() for line in text.replace("\r", "\n").split("\n"))
    return [line for line in lines if line]


def comparable(path: str) -> str:
    """``path`` with "/" between its parts and letters composed (NFC)."""
    path = unicodedata.normalize("NFC", path.replace("\\", "/"))
    while path.startswith("./"):
        path = path[2:]
    return path
