"""A text file is read whatever program wrote it."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.hospital_tables import csv_text, twelve

from pathoml.errors import CohortError
from pathoml.store.raw_tables import read_csv
from pathoml.store.tables import read_table

NEEDS = ("patient_id", "pfs")


def file_of(folder: Path, content: str | bytes) -> Path:
    path = folder / "patients.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_every_encoding_and_mark_gives_the_same_cells(
    tmp_path: Path, encoding: str, separator: str
) -> None:
    content = csv_text(twelve(centre=["Köln"] * 12), separator)
    found = read_csv(file_of(tmp_path, content.encode(encoding)))
    plain = read_csv(file_of(tmp_path, csv_text(twelve(centre=["Köln"] * 12))))
    assert found.rows == plain.rows


@pytest.mark.parametrize(
    "above",
    ["sep=;\r\n", '"sep=;"\n', "Sarcoma, all, centres, of, 2024\n\n", "Export;2024\n;\n", "\n"],
)
def test_lines_above_the_header_are_not_the_header(tmp_path: Path, above: str) -> None:
    table = read_table(file_of(tmp_path, above + csv_text(twelve(), ";")), needs=NEEDS)
    assert table.columns == tuple(twelve())
    assert [row["patient_id"] for row in table.rows] == twelve()["patient_id"]
    assert table.understood == "semicolon, UTF-8"


def test_a_skipped_title_is_said_and_lines_are_those_of_the_file(tmp_path: Path) -> None:
    table = read_table(file_of(tmp_path, "Export 2024\n\n" + csv_text(twelve())), needs=NEEDS)
    assert table.notes == ("line 1 is above the header and not read: 'Export 2024'",)
    assert table.header_line == 3
    assert next(iter(table.numbered()))[0] == 4


def test_a_title_over_a_table_whose_columns_nobody_knows_is_named(tmp_path: Path) -> None:
    table = read_table(file_of(tmp_path, "Export 2024\n" + csv_text(twelve())))
    with pytest.raises(CohortError, match="Is line 1 a title"):
        table.require(("patient_id",))


def test_cells_that_keep_their_zeros_as_text_are_their_text(tmp_path: Path) -> None:
    cells = read_csv(file_of(tmp_path, 'patient_id,pfs\n="007",3\n\ufeff008\u200b,4\n')).rows
    assert [row[0] for _, row in cells] == ["patient_id", "007", "008"]


def test_row_names_without_a_header_do_not_disturb(tmp_path: Path) -> None:
    table = read_table(file_of(tmp_path, '"","patient_id","pfs"\n"1","A",3\n"2","B",4\n'))
    assert [row["patient_id"] for row in table.rows] == ["A", "B"]


def test_a_column_without_a_name_is_named_by_its_place(tmp_path: Path) -> None:
    content = "patient_id,pfs,\nA,3,\nB,4,seen twice\n"
    with pytest.raises(CohortError, match=r"column 3 has no name .* line 3 holds 'seen twice'"):
        read_table(file_of(tmp_path, content))
    table = read_table(file_of(tmp_path, content.replace(",", ";")))
    assert table.notes == ("column 3 has no name and is not read",)
    assert table.columns == ("patient_id", "pfs")


def test_a_workbook_that_is_called_csv_is_called_a_workbook(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match=r"is a workbook. Call it patients.xlsx"):
        read_csv(file_of(tmp_path, b"PK\x03\x04\x00\x00"))
