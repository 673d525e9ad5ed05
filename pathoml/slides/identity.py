"""What in a slide file may name a patient: said by kind, never shown, never copied, never changed.

Names of properties and tags are looked at, whether they hold anything, and whether free text looks
like a date or a number of a specimen; label and macro pictures are known by their names, their
pixels are never read. Sources: Bisson et al., J Pathol Inform 14 (2023)
100221 (anonymisation of whole-slide images); DICOM PS3.15, annex E.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import openslide

from pathoml.slides.companions import HAMAMATSU, companions, hamamatsu_entries, is_macro
from pathoml.slides.dicom import DicomHeader, read_header
from pathoml.slides.written_tags import in_text, written_tags

KINDS: dict[str, re.Pattern[str]] = {  # of a property's last word, upper and lower case alike
    "patient": re.compile(
        r"patient|medicalrecord|birth.?date|date.?of.?birth|(^|[^a-z])(mrn|dob)$|sur.?name|"
        r"(first|last|family|given).?name|geburt|vorname|nachname",
        re.IGNORECASE,
    ),
    "accession or specimen number": re.compile(
        r"accession|specimen.?(identifier|id|number|no)$|containeridentifier|study.?id$"
        r"|case.?(number|no|id)$|label.?text|(block|slide|histo\w*).?(number|no)$",
        re.IGNORECASE,
    ),
    "barcode": re.compile(r"barcode(?!no[rgb]$)", re.IGNORECASE),  # NDPI: colours of a camera
    "file name": re.compile(
        r"filename|documentname|pagename|(^|[^a-z])title$|slide.?name", re.IGNORECASE
    ),
    "person": re.compile(
        r"(^|[^a-z])user(?!.?comment)|operator|physician|observer|artist|author|copyright"
        r"|owner.?name|experimenter|pathologist|personname|by.?line",
        re.IGNORECASE,
    ),
    "date": re.compile(
        r"date(?!rating)|(^|[^a-z])time$|acquisitiontime|created|creation.?time", re.IGNORECASE
    ),
    "institution or computer": re.compile(
        r"host.?(computer|name)|(computer|machine|station).?name|institution|hospital|department",
        re.IGNORECASE,
    ),
    "place": re.compile(r"^gps", re.IGNORECASE),
    "comment in free text": re.compile(r"comments?$|caption", re.IGNORECASE),
}
PROSE = re.compile(r"description|comment|subject|keywords", re.IGNORECASE)
WORDS = re.compile(r"[^\W\d_]{2}")
STRUCTURED = re.compile(r"\s*(<|\{|Aperio|ImageJ=|Adobe|Created with)", re.IGNORECASE)
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
    """Return the kinds of identifiers that a slide still holds, in its files, their names and the
    files beside it that are parts of it; of what cannot be read, those of its name.
    """
    headers = _dicom_headers(path)
    if headers:
        written = {(word, value) for header in headers.values() for word, value in _said(header)}
        pictures = {f"{header.shows} picture" for header in headers.values()}
        names = (path.name, *(file.name for file in headers))
        return _kinds(written, pictures & set(PICTURES.values()), names)
    try:
        with openslide.OpenSlide(path) as handle:
            properties = dict(handle.properties)
    except (openslide.OpenSlideError, OSError):
        properties = {}
    parts = companions(path)
    written = {*_last_words(properties), *written_tags(path)}
    written.update(hamamatsu_entries(path).items() if path.suffix.lower() in HAMAMATSU else ())
    for part in set(parts.values()):
        written.update(written_tags(part))
    pictures = {kind for name, kind in PICTURES.items() if name in properties}
    pictures |= {"macro picture" for key in parts if is_macro(key)}
    return _kinds(written, pictures, (path.name,))


def _dicom_headers(path: Path) -> dict[Path, DicomHeader]:
    """Return the headers of a DICOM slide: of all files of a folder, or of a file's series."""
    if path.is_dir():
        found = {p: read_header(p) for p in sorted(path.iterdir()) if p.is_file()}
        return {p: header for p, header in found.items() if header}
    own = read_header(path)
    if own is None:
        return {}
    beside = {p: read_header(p) for p in sorted(path.parent.iterdir()) if p.is_file() and p != path}
    return {path: own, **{p: h for p, h in beside.items() if h and own.series == h.series}}


def _said(header: DicomHeader) -> Iterator[tuple[str, str]]:
    yield from header.filled.items()
    for word, value in header.filled.items():
        if "Comment" in word:
            yield from in_text(value)


def _last_words(properties: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, value in properties.items():
        if not EMPTY.match(value) and not name.startswith("openslide."):
            yield name.rsplit(".", 1)[-1], value


def identifier_kinds(properties: Mapping[str, str], file_name: str) -> list[str]:
    """Return the kinds of identifiers among a slide's properties and in its file's name.

    >>> properties = {"aperio.User": "mueller", "aperio.MPP": "0.25",
    ...               "openslide.associated.label.width": "9"}
    >>> identifier_kinds(properties, "S_2024-03-01.svs")
    ['person', 'label picture', "date in the file's name"]
    >>> identifier_kinds({"dicom.PatientName": "^^^^", "dicom.AccessionNumber": ""}, "S1.dcm")
    []
    """
    pictures = {kind for name, kind in PICTURES.items() if name in properties}
    return _kinds(set(_last_words(properties)), pictures, (file_name,))


def kinds_in_a_name(name: str) -> list[str]:
    """Return the kinds of identifiers that a name looks like: of a file, a slide or a patient.

    >>> kinds_in_a_name("E 2019-01234 HE"), kinds_in_a_name("S0001")
    (["accession number in the file's name"], [])
    """
    return [kind for kind, pattern in IN_A_NAME.items() if pattern.search(name)]


def _kinds(
    written: Iterable[tuple[str, str]], pictures: Iterable[str], names: Iterable[str]
) -> list[str]:
    """Return the kinds of identifiers among names of properties with what they hold, pictures, and
    names of files, in the order of the tables.
    """
    found: set[str] = set()
    for word, value in written:
        if EMPTY.match(value):
            continue
        found |= {kind for kind, pattern in KINDS.items() if pattern.search(word)}
        if PROSE.search(word):
            found |= _kinds_in_prose(value)
    in_names = {kind for name in names for kind in kinds_in_a_name(Path(name).stem)}
    shown = [kind for kind in PICTURES.values() if kind in set(pictures)]
    return [*(k for k in KINDS if k in found), *shown, *(k for k in IN_A_NAME if k in in_names)]


def _kinds_in_prose(text: str) -> set[str]:
    """Return what free text seems to hold: what is structured is judged by its keys.

    >>> sorted(_kinds_in_prose("Mueller H21-774411 1951-07-23"))
    ['accession or specimen number', 'comment in free text', 'date']
    >>> _kinds_in_prose("ImageJ=1.53"), _kinds_in_prose('{"shape": [3, 4]}')
    (set(), set())
    """
    date, number = IN_A_NAME.values()
    found = {"date"} if date.search(text) else set()
    if number.search(text):
        found.add("accession or specimen number")
    if WORDS.search(text) and not (STRUCTURED.match(text) or any(in_text(text))):
        found.add("comment in free text")
    return found


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
