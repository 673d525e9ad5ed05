"""Take rows out of a workbook, and nothing else: widths, colours, formulas with their values, other
sheets and what only the program that wrote it understands stay, byte for byte.

The rows are cut out of the sheets' XML. Other rows keep their numbers, so that no formula has to
be understood: where a row was is an empty one. A text that only cut cells had is emptied in the
table of texts.

Source: ECMA-376 part 1, 18.3.1.73 (row), 18.4 (shared strings), 18.6 (calculation chain, which a
program writes anew where it is missing).
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.parsers import expat

from pathoml.errors import CohortError
from pathoml.store.files import atomic_path
from pathoml.store.workbooks import read_sheets, sheet_parts

SHARED_STRINGS = "xl/sharedStrings.xml"
CALCULATION_CHAIN = "xl/calcChain.xml"
# of the parts that say which parts there are
NAMES_OF_CHAIN = re.compile(rb"<(?:Override|Relationship)\b[^>]*calcChain[^>]*/>")
LISTS_OF_PARTS = {"[Content_Types].xml", "xl/_rels/workbook.xml.rels"}
EMPTY_TEXT = b"<t></t>"


def remove_workbook_rows(path: Path, column: str, values: Collection[str]) -> int:
    """Remove the rows of every sheet that have one of the values in the column, and return how many
    they were.

    Raises:
        CohortError: the workbook is damaged, or a merged cell spans a row that goes and one that
            stays.
    """
    unwanted = set(values)
    cuts = rows_to_remove(path, column, unwanted)
    if not cuts:
        return 0
    with zipfile.ZipFile(path) as archive:
        contents = {info: archive.read(info) for info in archive.infolist()}
    by_name = {info.filename: content for info, content in contents.items()}
    sheets = {name: _read_sheet(content) for name, content in by_name.items() if _is_sheet(name)}
    new: dict[str, bytes] = {
        part: _without(
            by_name[part],
            [sheets[part].spans[line] for line in lines if line in sheets[part].spans],
        )
        for part, lines in cuts.items()
    }
    if SHARED_STRINGS in by_name:
        kept = {
            text
            for part, sheet in sheets.items()
            for line, texts in sheet.texts.items()
            if line not in cuts.get(part, ())
            for text in texts
        }
        gone = {
            text
            for part, lines in cuts.items()
            for line in lines
            for text in sheets[part].texts.get(line, ())
        }
        new[SHARED_STRINGS] = _emptied(by_name[SHARED_STRINGS], gone - kept)
    chain_goes = CALCULATION_CHAIN in by_name
    with atomic_path(path) as temporary:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            for info, content in contents.items():
                if info.filename == CALCULATION_CHAIN:
                    continue
                content = new.get(info.filename, content)
                if chain_goes and info.filename in LISTS_OF_PARTS:
                    content = NAMES_OF_CHAIN.sub(b"", content)
                archive.writestr(info, content, compress_type=info.compress_type)
        still = sum(len(_lines_with(rows, column, unwanted)[1]) for rows in read_sheets(temporary))
        if still:
            raise CohortError(
                f"{path.name}: {still} rows could not be taken out; nothing was changed. Remove"
                " them in a spreadsheet program."
            )
    return sum(map(len, cuts.values()))


def rows_to_remove(path: Path, column: str, values: Collection[str]) -> dict[str, set[int]]:
    """Return the rows that `remove_workbook_rows` would remove, by the part of their sheet.

    Raises:
        CohortError: as there.
    """
    cuts = {}
    for part, rows in zip(sheet_parts(path), read_sheets(path)):
        place, lines = _lines_with(rows, column, set(values))
        if lines:
            with zipfile.ZipFile(path) as archive:
                merged = _read_sheet(archive.read(part)).merged
            cuts[part] = _with_merged(path, merged, lines, place)
    return cuts


def _lines_with(
    rows: Sequence[tuple[int, Sequence[str]]], column: str, unwanted: Collection[str]
) -> tuple[int, set[int]]:
    """Return where the column stands, from 1, 0 where a sheet has none, and the rows to go."""
    place, lines = 0, set()
    for number, cells in rows:
        if not place:
            place = list(cells).index(column) + 1 if column in cells else 0
        elif place <= len(cells) and cells[place - 1] in unwanted:
            lines.add(number)
    return place, lines


def _is_sheet(name: str) -> bool:
    return name.startswith("xl/worksheets/") and name.endswith(".xml")


@dataclass
class _Sheet:
    spans: dict[int, tuple[int, int]] = field(default_factory=dict)  # row -> bytes of its element
    texts: dict[int, set[int]] = field(default_factory=dict)  # row -> shared texts of its cells
    merged: list[str] = field(default_factory=list)  # as B2:B4


def _read_sheet(content: bytes) -> _Sheet:
    found = _Sheet()
    parser = expat.ParserCreate()
    state: dict[str, Any] = {"row": 0, "begins": 0, "shared": False, "value": None}

    def begin(tag: str, attributes: Mapping[str, str]) -> None:
        name = tag.rpartition(":")[2]
        if name == "row":
            state["row"] = int(attributes.get("r") or state["row"] + 1)
            state["begins"] = parser.CurrentByteIndex
        elif name == "c":
            state["shared"] = attributes.get("t") == "s"
        elif name == "v":
            state["value"] = ""
        elif name == "mergeCell":
            found.merged.append(attributes.get("ref", ""))

    def text(data: str) -> None:
        if state["value"] is not None:
            state["value"] += data

    def end(tag: str) -> None:
        name = tag.rpartition(":")[2]
        if name == "v":
            if state["shared"] and state["value"].strip().isdigit():
                found.texts.setdefault(state["row"], set()).add(int(state["value"]))
            state["value"] = None
        elif name == "row":
            at = parser.CurrentByteIndex
            closes = content.index(b">", at) + 1  # of </row>, or of <row/> itself
            found.spans[state["row"]] = (state["begins"], closes)

    parser.StartElementHandler, parser.EndElementHandler = begin, end
    parser.CharacterDataHandler = text
    parser.Parse(content, True)
    return found


def _without(content: bytes, spans: Sequence[tuple[int, int]]) -> bytes:
    kept, at = [], 0
    for begins, ends in sorted(spans):
        kept.append(content[at:begins])
        at = ends
    return b"".join([*kept, content[at:]])


def _emptied(content: bytes, numbers: Collection[int]) -> bytes:
    """Return the table of shared texts with some of them empty; the others keep their numbers."""
    parser = expat.ParserCreate()
    inner: list[tuple[int, int]] = []  # bytes between <si> and </si>
    begun: list[int] = []

    def begin(tag: str, _: Mapping[str, str]) -> None:
        if tag.rpartition(":")[2] == "si":
            begun.append(content.index(b">", parser.CurrentByteIndex) + 1)

    def end(tag: str) -> None:
        if tag.rpartition(":")[2] == "si":
            inner.append((begun.pop(), parser.CurrentByteIndex))

    parser.StartElementHandler, parser.EndElementHandler = begin, end
    parser.Parse(content, True)
    parts, at = [], 0
    for number, (begins, ends) in enumerate(inner):
        if number in numbers and ends > begins:  # <si/> is empty
            parts += [content[at:begins], EMPTY_TEXT]
            at = ends
    return b"".join([*parts, content[at:]])


def _with_merged(path: Path, merged: Sequence[str], lines: Collection[int], place: int) -> set[int]:
    """Return the rows to go, with those that a merged cell of the column counts among them.

    Raises:
        CohortError: another merged cell spans a row that goes and one that stays.
    """
    from openpyxl.utils.cell import range_boundaries

    spans = [tuple(int(n or 0) for n in range_boundaries(one)) for one in merged]
    all_lines = set(lines)
    for left, first, right, last in spans:
        if left <= place <= right and first in lines:
            all_lines.update(range(first, last + 1))
    for one, (_, first, _, last) in zip(merged, spans):
        inside = [line in all_lines for line in range(first, last + 1)]
        if any(inside) and not all(inside):
            raise CohortError(
                f"{path.name}: the merged cell {one} spans a row of the patient and one of"
                " somebody else. Unmerge it, fill its value into each row, and save the workbook."
            )
    return all_lines
