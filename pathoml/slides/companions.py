"""Files that a slide consists of beside the one that opens it: of VMS and VMU the JPEG or NGR
parts, the map and the macro photograph, of MRXS its folder.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

HAMAMATSU = (".vms", ".vmu")
MIRAX = ".mrxs"
MOST_INDEX_BYTES = 1_000_000  # of a .vms, which is a page of text
MACRO_KEY = "macroimage"
ENTRY = re.compile(r"^\s*([^=;#\[\]]+?)\s*=\s*(.*?)\s*$", re.MULTILINE)


def hamamatsu_entries(path: Path) -> Mapping[str, str]:
    """Return the keys of a .vms or .vmu and what they hold; none of a file that is no text.

    Source: openslide.org/formats/hamamatsu, the key file of VMS and VMU.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MOST_INDEX_BYTES).decode("utf-8", "replace")
    except OSError:
        return {}
    return {key: value for key, value in ENTRY.findall(text) if value}


def companions(path: Path) -> dict[str, Path]:
    """Return the files beside a .vms or .vmu that it names and that are there, by the key that
    names them; none of other slides.
    """
    if path.suffix.lower() not in HAMAMATSU:
        return {}
    found = {}
    for key, value in hamamatsu_entries(path).items():
        part = path.parent / value.replace("\\", "/").rsplit("/", 1)[-1]
        if part.name and part.is_file() and part != path:
            found[key] = part
    return found


def is_macro(key: str) -> bool:
    """Return whether a key of a .vms names the photograph of the whole glass, label included."""
    return key.lower().startswith(MACRO_KEY)


def data_folder(path: Path) -> Path | None:
    """Return the folder of an .mrxs that holds its pixels; None of other slides."""
    return path.with_suffix("") if path.suffix.lower() == MIRAX else None
