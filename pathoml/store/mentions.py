"""Whether text, keys and columns name a patient or a slide: by the id as a whole, in a place where
an id stands. Patients may be called 1, 2, 3, and a slide as another patient is.

In a table an id stands in a column of patients or of slides, in JSON under such a key. In running
text, which has neither, an id that is like no other word (P012, 20031177) is known wherever it
stands, and any other only behind a word that says what it is: "patient 5", "FAILED 7:".
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

PATIENT, SLIDE = "patient", "slide"
SEPARATED = re.compile(r"[\W_]+")
OF_PATIENT = re.compile(
    r"(study|hospital)?(patients?|pat|case|subject|participant|pid|mrn)"
    r"(ids?|nrs?|no|num|numbers?|codes?|names?)?"
)
OF_SLIDE = re.compile(r"(slides?|wsis?|slidefile|image|imagefile)(ids?|nrs?|no|num|names?|codes?)?")
ANY_ID = {"id", "ids", "name", "names"}  # under a key of patients they are patients' ids
# keys of ours: lists of patients in splits and models; what was read, by slide
LISTS_OF_PATIENTS = {"train", "test", "val", "validation", "scored", "without", "left_out"}
BY_SLIDE = {"embeddings", "tiles", "maps"}
ITEM = "item"  # of the naming sheet: a code of a slide
STATIC_MARKER = "pathoml-static.txt"  # in a copy of the viewer that needs no server
LEAST_DIGITS = 6  # that make a number like no other
NOT_IN_WORD = r"[A-Za-z0-9_-]"
BEFORE_PATIENT = r"(?:patient|subject|participant|case|pat\.?)(?:[ _-]?(?:id|nr|no|number))?"
BEFORE_SLIDE = r"(?:slide|wsi|image)(?:[ _-]?(?:id|nr|no|number))?"
BETWEEN = r"""["']?\s*[:=#]?\s*["'(]?"""
SAID_OF_SLIDES = r"(?:FAILED|MISSING|UNREADABLE)"  # by our own steps
SLIDE_FILE = r"\.(?:h5|png|jpe?g|geojson|svs|ndpi|mrxs|scn|bif|vms|tiff?|pt|h5ad|csv)\b"


def item_code(slide_id: str, codebook: str) -> str:
    """Return the code of a slide on the naming sheet of a codebook: it does not sort or read like
    the id, and what was said of one codebook is not taken for another.
    """
    return "i" + hashlib.sha256(f"naming sheet {codebook} {slide_id}".encode()).hexdigest()[:7]


def static_stem(slide_id: str) -> str:
    """Return the name of a slide's files in a copy that needs no server: every file system takes
    it, and it is different for every slide.
    """
    return hashlib.sha256(slide_id.encode()).hexdigest()[:16]


def kind_of(name: str) -> str:
    """Return what the ids of a column, or under a key, are of: "patient", "slide", or "".

    >>> kind_of("patient_id"), kind_of("Case ID"), kind_of("slide"), kind_of("fold")
    ('patient', 'patient', 'slide', '')
    """
    plain = SEPARATED.sub("", name).lower()
    if OF_PATIENT.fullmatch(plain):
        return PATIENT
    return SLIDE if OF_SLIDE.fullmatch(plain) else ""


def is_unlike_words(some_id: str) -> bool:
    """Return whether an id is like no other word or number, so that it is known in running text.

    >>> [is_unlike_words(one) for one in ("P012", "20031177", "5", "main", "0.25")]
    [True, True, False, False, False]
    """
    letters, digits = (sum(map(test, some_id)) for test in (str.isalpha, str.isdigit))
    return digits >= LEAST_DIGITS or bool(letters and digits)


@dataclass(frozen=True, kw_only=True)
class Ids:
    """Whom somebody looks for."""

    patients: frozenset[str]
    slides: frozenset[str]
    items: frozenset[str] = frozenset()  # codes of the slides on naming sheets
    other_patients: frozenset[str] = field(default=frozenset(), repr=False)  # everybody else
    other_slides: frozenset[str] = field(default=frozenset(), repr=False)

    @cached_property
    def stems(self) -> frozenset[str]:
        """The names of the slides' files in a copy that needs no server."""
        return frozenset(map(static_stem, self.slides))

    @cached_property
    def every(self) -> frozenset[str]:
        return self.patients | self.slides

    @cached_property
    def unlike_words(self) -> frozenset[str]:
        """The ids that are known wherever they stand."""
        return frozenset(filter(is_unlike_words, self.every)) | self.items | self.stems

    def of(self, kind: str) -> frozenset[str]:
        """Return the ids that count in a column or under a key of that kind."""
        return {PATIENT: self.patients, SLIDE: self.slides}.get(kind, self.unlike_words)

    @cached_property
    def words(self) -> re.Pattern[str]:
        """A pattern of the ids in running text."""
        ways = []
        if self.unlike_words:  # P012_overview.png is about P012
            ways.append(f"(?:{_any_of(self.unlike_words)})(?![A-Za-z0-9])")
        if self.patients:
            one = f"(?:{_any_of(self.patients)})(?!{NOT_IN_WORD})"
            ways += [f"(?i:{BEFORE_PATIENT}){BETWEEN}{one}", rf"left out {one}(?=:)"]
        if self.slides:
            one = f"(?:{_any_of(self.slides)})(?!{NOT_IN_WORD})"
            ways += [
                rf"(?i:{BEFORE_SLIDE}){BETWEEN}{one}(?! of \d)",
                rf"{SAID_OF_SLIDES} (?:\w+ )?{one}(?=:)",
                rf"[/\\]{one}(?={SLIDE_FILE})",
            ]
        if not ways:
            return re.compile(r"(?!)")
        return re.compile(rf"(?:(?<!{NOT_IN_WORD})|(?=[/\\]))(?:{'|'.join(ways)})")

    @cached_property
    def longer(self) -> re.Pattern[str] | None:
        """A pattern of others' ids that contain one of these: S1 is no part of the slide S1.2."""
        held = [
            other
            for other in self.other_patients | self.other_slides
            if other not in self.every and any(one in other for one in self.every)
        ]
        if not held:
            return None
        return re.compile(rf"(?<!{NOT_IN_WORD})(?:{_any_of(held)})(?!{NOT_IN_WORD})")


def _any_of(ids: Iterable[str]) -> str:
    return "|".join(re.escape(one) for one in sorted(ids, key=lambda one: (-len(one), one)))


def in_text(text: str, ids: Ids) -> bool:
    """Return whether running text names somebody.

    >>> ids = Ids(patients=frozenset({"5", "P12"}), slides=frozenset({"7"}))
    >>> [in_text(text, ids) for text in ("5 folds", "patient 5 died", "P12,P120", "slide 7 of 9")]
    [False, True, True, False]
    """
    if not ids.words.search(text):
        return False
    if ids.longer is None:
        return True
    return bool(ids.words.search(ids.longer.sub(lambda found: "\0" * len(found[0]), text)))


def in_json(value: Any, ids: Ids, *, words: bool, kind: str = "") -> bool:
    """Return whether a value of JSON holds an id where an id stands.

    Args:
        words: look for ids in running text too.
        kind: what ids directly in the value would be of.
    """
    if isinstance(value, str):
        return value in ids.of(kind) or (words and in_text(value, ids))
    if isinstance(value, Mapping):
        if any(str(key) in ids.of(kind) for key in value):
            return True
        return any(
            _is_number_of(str(key), one, ids)
            or in_json(one, ids, words=words, kind=_kind_under(str(key), kind, one))
            for key, one in value.items()
        )
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return any(in_json(one, ids, words=words, kind=kind) for one in value)
    return False


def _kind_under(key: str, above: str, value: Any) -> str:
    if key in LISTS_OF_PATIENTS:
        return PATIENT if isinstance(value, list) else ""
    if key in BY_SLIDE:
        return SLIDE if isinstance(value, Mapping) else ""
    return kind_of(key) or (above if key.lower() in ANY_ID else "")


def _is_number_of(key: str, value: Any, ids: Ids) -> bool:
    """Whether a number under a key is somebody's: "patients": 16 counts them."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return (
        is_number
        and not is_many(key)
        and bool(kind := kind_of(key))
        and (str(value) in ids.of(kind))
    )


def is_many(name: str) -> bool:
    """Return whether a name is of several: a column "patients" counts them.

    >>> is_many("patients"), is_many("patient_id")
    (True, False)
    """
    return name.strip().lower().endswith("s")


def in_rows(rows: Iterable[Sequence[str]], ids: Ids, *, words: bool) -> bool:
    """Return whether rows of cells hold an id in a column of patients, of slides or of items; the
    header is the first row that names such a column.

    Args:
        words: look for ids in running text too, in every cell.
    """
    columns: dict[int, frozenset[str]] = {}
    for cells in rows:
        for place, wanted in columns.items():
            cell = cells[place] if place < len(cells) else ""
            if cell in wanted or (cell.startswith("'") and cell[1:] in wanted):
                return True
        if not columns:
            columns = {
                place: ids.items | ids.slides if cell.lower() == ITEM else ids.of(kind_of(cell))
                for place, cell in enumerate(cells)
                if (kind_of(cell) and not is_many(cell)) or cell.lower() == ITEM
            }
        if words and any(in_text(cell, ids) for cell in cells):
            return True
    return False
