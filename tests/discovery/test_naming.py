"""The sheet on which people name phenotypes tells them nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from support.tissues import cohort_of

from pathoml.discovery.naming import place_of_sheet, write_naming_sheet


def test_the_naming_sheet_shows_raters_no_name_and_repeats_a_tenth(tmp_path: Path) -> None:
    cohort = cohort_of(np.zeros(20), 4)
    place = place_of_sheet(tmp_path, "abc", [3, 0, 1, 2])
    write_naming_sheet(tmp_path, cohort, [[], [], [], []], place=place, codebook="abc")
    sheet = tmp_path / "naming_sheet"
    texts = [(sheet / f"ratings_rater{r}.csv").read_text() for r in (1, 2)]
    rows = [text.splitlines()[1:] for text in texts]
    assert all(len(r) == 60 + 6 for r in rows)
    assert [line.split(",")[2] for line in rows[0]] != [line.split(",")[2] for line in rows[1]]
    for text in (*texts, (sheet / "index.html").read_text()):
        assert not any(word in text for word in ("S1", "P1", "centre", "event", "months"))
    assert (sheet / "key.csv").read_text().splitlines()[0] == "item,slide_id,phenotype"


def rated(features: Path, codebook: str) -> Path:
    """Write the sheet of a codebook, and a rating on it."""
    cohort = cohort_of(np.zeros(6), 2)
    place = place_of_sheet(features, codebook, [3, 0, 1, 2])
    write_naming_sheet(features, cohort, [[], [], [], []], place=place, codebook=codebook)
    path = features / place.name / "ratings_rater1.csv"
    text = path.read_text().splitlines()
    path.write_text("\n".join([text[0], text[1].replace(",,,0,", ",clear,4,0,"), *text[2:]]))
    return path


def test_a_sheet_on_which_nobody_wrote_is_written_over(tmp_path: Path) -> None:
    cohort = cohort_of(np.zeros(6), 2)
    for codebook in ("one", "two"):
        place = place_of_sheet(tmp_path, codebook, [0, 1, 2])
        write_naming_sheet(tmp_path, cohort, [[], [], []], place=place, codebook=codebook)
    assert [path.name for path in tmp_path.iterdir()] == ["naming_sheet"]


def test_phenotypes_of_another_codebook_get_a_sheet_beside_the_one_with_ratings(
    tmp_path: Path,
) -> None:
    path = rated(tmp_path, "one")
    place = place_of_sheet(tmp_path, "two", [0, 1, 2])
    assert place.name == "naming_sheet-2"
    assert [sheet.folder for sheet in place.kept] == [path.parent]


def test_the_same_codebook_keeps_its_sheet_its_phenotypes_and_its_codes(tmp_path: Path) -> None:
    path = rated(tmp_path, "one")
    before = (path.parent / "key.csv").read_text()
    place = place_of_sheet(tmp_path, "one", [2, 1, 0, 3])
    assert (place.name, place.phenotypes) == ("naming_sheet", (0, 1, 3))
    cohort = cohort_of(np.zeros(6), 2)
    write_naming_sheet(tmp_path, cohort, [[], [], [], []], place=place, codebook="one")
    assert (path.parent / "key.csv").read_text() == before


def test_codes_of_two_codebooks_differ_so_that_no_rating_is_taken_for_anothers(
    tmp_path: Path,
) -> None:
    keys = [
        {line.split(",")[0] for line in (path.parent / "key.csv").read_text().splitlines()[1:]}
        for path in (rated(tmp_path, "one"), rated(tmp_path, "two"))
    ]
    assert not keys[0] & keys[1]
