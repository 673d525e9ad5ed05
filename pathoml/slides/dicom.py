"""What the header of a DICOM file says: of which series it is, what it shows, and which elements
that may name a patient are filled in.

Only as much as telling slides apart needs (DICOM PS3.5, chapter 7; PS3.10, chapter 7): pixels are
OpenSlide's. Values are read up to VALUE_BYTES and never leave this package but as identifiers of
series.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

PREAMBLE_BYTES, MAGIC = 128, b"DICM"
VALUE_BYTES = 1024
MOST_ELEMENTS = 20_000  # of a header; a damaged file may go on for ever
MOST_DEPTH = 16  # of sequences in sequences
LAST_GROUP = 0x5200  # from here on: frames and pixels
UNDEFINED = 0xFFFFFFFF  # length of what ends by a mark
LONG = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
IMPLICIT, BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
MICROSCOPY = "1.2.840.10008.5.1.4.1.1.77.1.6"  # VL Whole Slide Microscopy Image Storage
INDEX = "1.2.840.10008.1.3.10"  # Media Storage Directory Storage: a DICOMDIR
SERIES, SOP_CLASS, IMAGE_TYPE, MEDIA_CLASS = (
    (0x0020, 0x000E),
    (0x0008, 0x0016),
    (0x0008, 0x0008),
    (0x0002, 0x0002),
)
# elements that may name a patient, from DICOM PS3.15, table E.1-1, by their keywords in PS3.6
NAMING: dict[tuple[int, int], str] = {
    (0x0008, 0x0012): "InstanceCreationDate",
    (0x0008, 0x0020): "StudyDate",
    (0x0008, 0x0021): "SeriesDate",
    (0x0008, 0x0022): "AcquisitionDate",
    (0x0008, 0x0023): "ContentDate",
    (0x0008, 0x002A): "AcquisitionDateTime",
    (0x0008, 0x0050): "AccessionNumber",
    (0x0008, 0x0080): "InstitutionName",
    (0x0008, 0x0081): "InstitutionAddress",
    (0x0008, 0x0090): "ReferringPhysicianName",
    (0x0008, 0x1010): "StationName",
    (0x0008, 0x1040): "InstitutionalDepartmentName",
    (0x0008, 0x1048): "PhysiciansOfRecord",
    (0x0008, 0x1050): "PerformingPhysicianName",
    (0x0008, 0x1060): "NameOfPhysiciansReadingStudy",
    (0x0008, 0x1070): "OperatorsName",
    (0x0010, 0x0010): "PatientName",
    (0x0010, 0x0020): "PatientID",
    (0x0010, 0x0030): "PatientBirthDate",
    (0x0010, 0x0040): "PatientSex",
    (0x0010, 0x1000): "OtherPatientIDs",
    (0x0010, 0x1001): "OtherPatientNames",
    (0x0010, 0x1005): "PatientBirthName",
    (0x0010, 0x1010): "PatientAge",
    (0x0010, 0x1040): "PatientAddress",
    (0x0010, 0x2154): "PatientTelephoneNumbers",
    (0x0010, 0x4000): "PatientComments",
    (0x0020, 0x0010): "StudyID",
    (0x0020, 0x4000): "ImageComments",
    (0x0040, 0x0512): "ContainerIdentifier",
    (0x0040, 0x0551): "SpecimenIdentifier",
    (0x0040, 0xA075): "VerifyingObserverName",
    (0x0040, 0xA123): "PersonName",
    (0x2200, 0x0002): "LabelText",
    (0x2200, 0x0005): "BarcodeValue",
}
WANTED = {SERIES, SOP_CLASS, IMAGE_TYPE, MEDIA_CLASS, *NAMING}
Tag = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class DicomHeader:
    """What a DICOM file says of itself; "" where it does not."""

    series: str  # SeriesInstanceUID
    kind: str  # SOPClassUID
    flavour: str  # ImageType, such as ORIGINAL, PRIMARY, VOLUME, NONE with backslashes between
    filled: Mapping[str, str]  # keyword -> value, of elements that may name a patient

    @property
    def is_microscopy(self) -> bool:
        """Whether it is an image of a slide: a level of it, its label or its overview."""
        return self.kind == MICROSCOPY

    @property
    def is_index(self) -> bool:
        """Whether it lists other files: a DICOMDIR."""
        return self.kind == INDEX

    @property
    def shows(self) -> str:
        """ "label", "macro", "thumbnail", or "volume" for a level of the slide."""
        words = self.flavour.upper().split("\\")
        return next((name for word, name in PICTURES.items() if word in words), "volume")


PICTURES = {"LABEL": "label", "OVERVIEW": "macro", "THUMBNAIL": "thumbnail"}


def read_header(path: Path) -> DicomHeader | None:
    """Return the header of a DICOM file, as far as it is whole; None of any other file."""
    found: dict[Tag, bytes] = {}
    try:
        with path.open("rb") as file:
            if file.read(PREAMBLE_BYTES + len(MAGIC))[PREAMBLE_BYTES:] != MAGIC:
                return None
            syntax = _read_group_2(file, found)
            order = ">" if syntax == BIG_ENDIAN else "<"
            _Elements(file, order, found, is_explicit=syntax != IMPLICIT).read(end=None, depth=0)
    except OSError:
        return None
    text = {tag: value.decode("utf-8", "replace").strip(" \0") for tag, value in found.items()}
    return DicomHeader(
        series=text.get(SERIES, ""),
        kind=text.get(SOP_CLASS) or text.get(MEDIA_CLASS, ""),
        flavour=text.get(IMAGE_TYPE, ""),
        filled={word: text[tag] for tag, word in NAMING.items() if text.get(tag)},
    )


def series_of(paths: Iterable[Path]) -> dict[str, list[Path]]:
    """Return the series of slides among files: identifier -> files of its levels, the largest
    first. A series of nothing but label and overview is no slide.
    """
    levels: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        header = read_header(path)
        if header and header.is_microscopy and header.shows == "volume":
            levels[header.series].append(path)
    return {
        series: sorted(files, key=lambda p: (-p.stat().st_size, p.name))
        for series, files in levels.items()
    }


def _read_group_2(file: BinaryIO, found: dict[Tag, bytes]) -> str:
    """Read the file's own group, which is always explicit and little endian; return its transfer
    syntax, and leave the file where the data begin.
    """
    syntax = ""
    while True:
        start = file.tell()
        head = file.read(8)
        if len(head) < 8 or struct.unpack("<H", head[:2])[0] != 2:
            file.seek(start)
            return syntax
        tag, length = struct.unpack("<HH", head[:4]), struct.unpack("<H", head[6:])[0]
        if head[4:6] in LONG:
            rest = file.read(4)
            length = struct.unpack("<I", rest)[0] if len(rest) == 4 else 0
        value = file.read(min(length, VALUE_BYTES))
        file.seek(max(0, length - VALUE_BYTES), 1)
        if tag == (2, 0x10):
            syntax = value.decode("ascii", "replace").strip(" \0")
        elif tag in WANTED:
            found[tag] = value


class _Elements:
    """The elements of one file, read one after the other; sequences are entered."""

    def __init__(
        self, file: BinaryIO, order: str, found: dict[Tag, bytes], *, is_explicit: bool
    ) -> None:
        self._file, self._order, self._found = file, order, found
        self._is_explicit = is_explicit
        self._left = MOST_ELEMENTS

    def read(self, *, end: int | None, depth: int) -> None:
        """Read elements up to a position, to the mark that ends an item, or to the frames."""
        while (end is None or self._file.tell() < end) and self._left > 0:
            self._left -= 1
            start = self._file.tell()
            head = self._file.read(8)
            if len(head) < 8:
                return
            tag: Tag = struct.unpack(self._order + "HH", head[:4])
            if depth == 0 and tag[0] >= LAST_GROUP:
                return
            if tag in ((0xFFFE, 0xE00D), (0xFFFE, 0xE0DD)):  # end of an item, of a sequence
                if tag[1] == 0xE0DD:  # is the caller's
                    self._file.seek(start)
                return
            kind, length = self._kind_and_length(head)
            if length is None:
                return
            if kind == b"SQ" or length == UNDEFINED:
                self._sequence(length, depth + 1)
                continue
            if tag in WANTED and tag not in self._found:
                value = self._file.read(min(length, VALUE_BYTES))
                self._file.seek(max(0, length - VALUE_BYTES), 1)
                if value.strip(b" ^\0"):
                    self._found[tag] = value
            else:
                self._file.seek(length, 1)

    def _kind_and_length(self, head: bytes) -> tuple[bytes, int | None]:
        if not self._is_explicit:
            return b"", struct.unpack(self._order + "I", head[4:])[0]
        kind = head[4:6]
        if kind not in LONG:
            return kind, struct.unpack(self._order + "H", head[6:])[0]
        rest = self._file.read(4)
        return kind, struct.unpack(self._order + "I", rest)[0] if len(rest) == 4 else None

    def _sequence(self, length: int, depth: int) -> None:
        end = None if length == UNDEFINED else self._file.tell() + length
        if depth > MOST_DEPTH:
            self._left = 0
            return
        while (end is None or self._file.tell() < end) and self._left > 0:
            self._left -= 1
            head = self._file.read(8)
            if len(head) < 8:
                return
            tag: Tag = struct.unpack(self._order + "HH", head[:4])
            size = struct.unpack(self._order + "I", head[4:])[0]
            if tag != (0xFFFE, 0xE000):  # the mark that ends it, or damage
                return
            stop = None if size == UNDEFINED else self._file.tell() + size
            self.read(end=stop, depth=depth)
            if stop is not None:
                self._file.seek(stop)
        if end is not None:
            self._file.seek(end)
