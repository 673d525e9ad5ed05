"""What in a slide file may name a patient: said by kind, never shown, never copied, never changed.

Only names of properties are looked at, and whether they hold anything; label and macro pictures are
known by their names, their pixels are never read. Sources: Bisson et al., J Pathol Inform 14 (2023)
100221 (anonymisation of whole-slide images); DICOM PS3.15, annex E.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import openslide

KINDS: dict[str, re.Pattern[str]] = {  # of a property's last word, upper and lower case alike
    "patient": re.compile(
        r"patient(id|name|birthdate|sex|age|comments)|otherpatientids|medicalrecord", re.IGNORECASE
    ),
    "accession or specimen number": re.compile(
        r"accession|specimenidentifier|containeridentifier|studyid$|casenumber", re.IGNORECASE
    ),
    "barcode": re.compile(r"barcode", re.IGNORECASE),
    "file name": re.compile(r"filename|(^|[^a-z])title$|slide.?name", re.IGNORECASE),
    "person": re.compile(r"(^|[^a-z])user|operator|physician|observer", re.IGNORECASE),
    "date": re.compile(r"date|(^|[^a-z])time$|acquisitiontime|created", re.IGNORECASE),
}
EMPTY = re.compile(r"^[\s^]*$")  # DICOM writes an empty person as ^^^^
PICTURES = {f"openslide.associated.{name}.width": f"{name} picture" for name in ("label", "macro")}
IN_A_NAME = {
    "date in the file's name": re.compile(
        r"(?<!\d)(19|20)\d\d[-_.]?(0[1-9]|1[0-2])[-_.]?([0-2]\d|3[01])(?!\d)|(?<!\d)[0-3]?\d\.[01]?\d\.(19|20)\d\d"
    ),
    "accession number in the file's name": re.compile(
        r"(?<![A-Za-z0-9])[A-Z]{1,2}[-_ ]?(19|20)?\d\d[-_/ ]\d{3,6}(?!\d)"
    ),
}


def identifiers_left(path: Path) -> list[str]:
    """Return the kinds of identifiers that a slide file still holds; of a file that OpenSlide
    cannot read, those of its name.
    """
    try:
        with openslide.OpenSlide(path) as handle:
            properties = dict(handle.properties)
    except (openslide.OpenSlideError, OSError):
        properties = {}
    return identifier_kinds(properties, path.name)


def identifier_kinds(properties: Mapping[str, str], file_name: str) -> list[str]:
    """Return the kinds of identifiers among a slide's properties and in its file's name.

    >>> properties = {"aperio.User": "mueller", "aperio.MPP": "0.25",
    ...               "openslide.associated.label.width": "9"}
    >>> identifier_kinds(properties, "S_2024-03-01.svs")
    ['person', 'label picture', "date in the file's name"]
    >>> identifier_kinds({"dicom.PatientName": "^^^^", "dicom.AccessionNumber": ""}, "S1.dcm")
    []
    """
    filled = [
        name.rsplit(".", 1)[-1]
        for name, value in properties.items()
        if not EMPTY.match(value) and not name.startswith("openslide.")
    ]
    found = [
        kind for kind, pattern in KINDS.items() if any(pattern.search(word) for word in filled)
    ]
    found += [kind for name, kind in PICTURES.items() if name in properties]
    return found + [
        kind for kind, pattern in IN_A_NAME.items() if pattern.search(Path(file_name).stem)
    ]


def by_id(reason: str, slide_id: str, path: Path | None) -> str:
    """Return what a reader said of a file, with the slide's id in the place of its name, which may
    name a patient.

    >>> by_id("Slide Mueller 1956.svs is an empty file.", "S1", Path("/data/Mueller 1956.svs"))
    'Slide S1 is an empty file.'
    >>> by_id("Slide 1 has 11 tiles.", "S7", Path("/data/1"))
    'Slide S7 has 11 tiles.'
    """
    if path is None:
        return reason
    name = rf"(?<!\w)(?:{re.escape(str(path))}|{re.escape(path.name)})(?!\w)"
    return re.sub(name, lambda _: slide_id, reason)
