"""Tests mirror the package: pathoml/ROOM/MODULE.py is tested in tests/ROOM/test_MODULE.py, or the
table below says where and why.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatch
from pathlib import Path

from support.sources import PACKAGE, ROOT

# Modules, * for several -> where they are tested, and why there. The most general come last.
ELSEWHERE = {
    # one test for every file of a folder that users add to
    "encoders/*": ("contracts/test_encoders.py", "each file of the folder meets one contract"),
    "mil/*": ("contracts/test_heads.py", "each file of the folder meets one contract"),
    "slides/readers/*": ("contracts/test_readers.py", "each file of the folder meets one contract"),
    "training/imported_*": ("training/test_imported.py", "what is recorded is what is made anew"),
    "study/needs_of_a_run": ("study/test_needs.py", "the second half of one estimate"),
    "study/treatment_start": ("study/test_timing.py", "a start is a date among dates"),
    "interop/features": ("contracts/test_interop.py", "what imported formats have in common"),
    "interop/h5ad": ("interop/test_maps.py", "the exports of one map agree with one another"),
    "interop/ome_tiff": ("interop/test_maps.py", "the exports of one map agree with one another"),
    "interop/qupath": ("interop/test_maps.py", "the exports of one map agree with one another"),
    "interop/*": ("contracts/test_interop.py", "each file of the folder meets one contract"),
    # a verb says what its step did; the steps are tested by their own names
    "cli/*": ("whole/test_end_to_end.py", "a verb is seen to work when a whole study is done"),
    "spawning": ("whole/test_code_of_a_study.py", "children are seen to import nothing of a study"),
    "errors": ("cli/test_help.py", "what a user reads when something is wrong"),
    "bundles/predicting": ("bundles/test_locking.py", "a bundle is worth what it predicts"),
    "bundles/opening": ("bundles/test_locking.py", "what was locked, opened again and fed"),
    "store/withdrawal_search": ("store/test_withdrawal.py", "what is found goes or is listed"),
    # parts of one network or one loop
    "bags/projection": (
        "whole/test_learning.py",
        "a projection is worth what is learned behind it",
    ),
    "bags/tile_bank": ("training/test_model_stack.py", "the stack is what reads from the bank"),
    "training/stacked_layers": ("training/test_model_stack.py", "layers of the stack"),
    "training/fit": ("contracts/test_heads.py", "heads of other kinds are fitted through it"),
    "training/models": ("whole/test_learning.py", "models are written, read and score alike"),
    "training/*": ("whole/test_learning.py", "a planted effect is learned, and noise is not"),
    "embedding/dinov2_names": ("encoders/test_finding.py", "weights are found, then renamed"),
    "embedding/restaining": ("embedding/test_recolouring.py", "the two ways to a common stain"),
    "embedding/*": ("embedding/test_loop.py", "the loop is where slides, tiles and network meet"),
    # the machine: what it costs or breaks is seen by those who use it
    "compute/measured": ("embedding/test_batch_sizes.py", "what was measured is remembered"),
    "compute/processes": ("embedding/test_fleet.py", "processes share the cores and devices"),
    "compute/*": ("embedding/test_loop.py", "devices and freed memory matter where tiles are read"),
    "slides/probing": ("whole/test_faults.py", "a slide that hangs or kills the reader"),
    "slides/reopening": ("whole/test_faults.py", "a slide whose drive goes away"),
    "slides/stains": ("slides/test_colour.py", "stains are found in the colours"),
    # files of the store that hold one thing for one step
    "store/foreign": ("contracts/test_interop.py", "files of other tools"),
    "store/set_aside": ("embedding/test_outdated.py", "features are what is set aside"),
    "study/feature_recipes": ("bags/test_origin.py", "features are held against their recipes"),
    "evaluation/in_sample": ("bundles/test_learned_from.py", "a bundle says who was in its sample"),
    "store/hypotheses": ("evaluation/test_step.py", "q values count what was ever tested"),
    "store/sheet_rows": ("store/test_workbooks.py", "a sheet is read through its workbook"),
    "store/probe": ("whole/test_faults.py", "a file that hangs or kills a C library"),
    "study/layout": ("embedding/test_loop.py", "where a step writes; else its own examples"),
    # the statistics: one table of cohorts, one script of R
    "survival/*": ("survival/test_agreement_with_r.py", "one R script answers for all, once"),
    # steps, of which the parts are seen in what the step writes
    "bundles/drift": ("bundles/test_locking.py", "drift is told from the bundle that was locked"),
    "discovery/spots": ("discovery/test_spatial.py", "spots of other assays on the same slide"),
    "discovery/phenotype_maps": ("interop/test_figures.py", "phenotypes drawn on a slide"),
    "discovery/*": ("discovery/test_step.py", "the step writes what they return"),
    "evaluation/analysis_plan": ("evaluation/test_step.py", "a changed plan is refused"),
    "evaluation/nomogram": ("report/test_details.py", "the points on the page"),
    "evaluation/start_stop": ("study/test_timing.py", "rows from entry, treatment and exit"),
    "evaluation/*": ("evaluation/test_step.py", "sections of metrics.json of one study"),
    "explanation/marks": ("bundles/test_maps.py", "maps that were not found faithful are marked"),
    "explanation/contributions": ("whole/test_learning.py", "contributions sum to the score"),
    "explanation/*": ("explanation/test_faithfulness.py", "maps of a model of known behaviour"),
    "report/*": ("report/test_page.py", "figures and words as the page shows them"),
    "synthetic/sts_patients": ("synthetic/test_sts.py", "patients of that cohort"),
    "synthetic/containers": ("slides/readers/test_jpeg_tiff.py", "slides as scanners write them"),
    "synthetic/*": ("synthetic/test_cohort.py", "parts of one drawn cohort"),
    "tiling/*": ("tiling/test_step.py", "parts of one step"),
    "viewer/static_copy": ("viewer/test_browser.py", "the pages without the server"),
    "viewer/*": ("viewer/test_server.py", "answers of one server"),
}


def without_test(package: Path, tests: Path) -> list[str]:
    """Return the modules, as ROOM/MODULE, that have no tests/ROOM/test_MODULE.py.

    A leading underscore is not part of a module's name here.
    """
    found = []
    for path in sorted(package.rglob("*.py")):
        if path.stem.startswith("__"):
            continue
        place = path.relative_to(package).with_suffix("")
        name = place.name.lstrip("_")
        if not (tests / place.parent / f"test_{name}.py").is_file():
            found.append((place.parent / name).as_posix())
    return found


def unexplained(names: Iterable[str], table: Mapping[str, tuple[str, str]]) -> list[str]:
    """Return the modules that no line of the table names."""
    return [name for name in names if not any(fnmatch(name, line) for line in table)]


def idle_lines(names: Iterable[str], table: Mapping[str, tuple[str, str]]) -> list[str]:
    """Return the lines of the table that are the first to name no module."""
    first = {next((line for line in table if fnmatch(name, line)), "") for name in names}
    return [line for line in table if line not in first]


def test_every_module_has_a_test_of_its_name_or_a_line_that_says_where():
    assert unexplained(without_test(PACKAGE, ROOT / "tests"), ELSEWHERE) == []


def test_every_line_of_the_table_is_needed_and_leads_to_a_test():
    assert idle_lines(without_test(PACKAGE, ROOT / "tests"), ELSEWHERE) == []
    assert [
        where for where, _ in ELSEWHERE.values() if not (ROOT / "tests" / where).is_file()
    ] == []


def test_a_module_without_test_or_line_and_an_idle_line_are_found(fake_house, tmp_path):
    house = fake_house(
        {"__init__.py": "", "store/_hdf5.py": "", "store/files.py": "", "mil/a.py": ""}
    )
    (tmp_path / "tests" / "store").mkdir(parents=True)
    (tmp_path / "tests" / "store" / "test_hdf5.py").touch()
    names = without_test(house, tmp_path / "tests")
    assert names == ["mil/a", "store/files"]
    table = {"mil/*": ("contracts/test_heads.py", "a"), "bags/*": ("bags/test_reading.py", "b")}
    assert unexplained(names, table) == ["store/files"]
    assert idle_lines(names, table) == ["bags/*"]
