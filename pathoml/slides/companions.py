"""Files that a slide consists of beside the one that opens it: of VMS and VMU the JPEG or NGR
parts, the map and the macro photograph, of MRXS its folder.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path

HAMAMATSU = (".vms", ".vmu")
MIRAX = ".mrxs"
UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")
MOST_INDEX_BYTES = 1_000_000  # of a .vms, which is a page of text
MACRO_KEY = "macroimage"
ENTRY = re.compile(r"^\s*([^=;#\[\]]+?)\s*=\s*(.*?)\s*$", re.MULTILINE)


def hamamatsu_entries(path: Path) -> Mapping[str, str]:
    """Return the keys of a .vms or .vmu and what they hold; none of a file that is no text.

    Source: openslide.org/formats/hamamatsu, the key file of VMS and VMU.
    """
    return {key: value for key, value in ENTRY.findall(hamamatsu_text(path)) if value}


def hamamatsu_text(path: Path) -> str:
    """Return a .vms or .vmu as text, in whatever a Windows machine wrote it; "" if it cannot be
    read.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MOST_INDEX_BYTES)
    except OSError:
        return ""
    for encoding in ("utf-16",) if content[:2] in UTF_16_MARKS else ("utf-8-sig", "cp1252"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    return content.decode("latin-1")


def companions(path: Path) -> dict[str, Path]:
    """Return the files beside a .vms or .vmu that it names and that are there, by the key that
    names them; none of other slides.
    """
    if path.suffix.lower() not in HAMAMATSU:
        return {}
    entries = hamamatsu_entries(path)
    beside = {_plain(p.name): p for p in path.parent.iterdir() if p.is_file()} if entries else {}
    found = {}
    for key, value in entries.items():
        part = beside.get(_plain(value.replace("\\", "/").rsplit("/", 1)[-1]))
        if part is not None and part != path:
            found[key] = part
    return found


def _plain(name: str) -> str:
    """Return a file's name as Windows compares it."""
    return unicodedata.normalize("NFC", name).casefold()


def is_macro(key: str) -> bool:
    """Return whether a key of a .vms names the photograph of the whole glass, label included."""
    return key.lower().startswith(MACRO_KEY)


def data_folder(path: Path) -> Path | None:
    """Return the folder of an .mrxs that holds its pixels; None of other slides."""
    return path.with_suffix("") if path.suffix.lower() == MIRAX else None
