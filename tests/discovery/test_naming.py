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
