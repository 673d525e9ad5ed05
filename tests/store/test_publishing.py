"""The files of a step become a run's together: whoever is killed, and when, leaves a run as it was,
done, or to do again.
"""

from __future__ import annotations

import os
import shutil
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from pathoml.errors import StoreError
from pathoml.store import publishing as module
from pathoml.store.files import read_json
from pathoml.store.publishing import (
    Outputs,
    is_fresh,
    is_whole,
    publishing,
    renew_proofs,
    unfinished_steps,
    unproved,
    withdraw_outputs,
)
from pathoml.types import Recipe

OUTPUTS = Outputs(
    always=("scores.csv",),
    globs=("scores.csv", "maps/*.h5", "sheet/ratings.csv"),
    by_people=("sheet/ratings.csv",),
)
OLD = Recipe(step="train", inputs={"epochs": 3})
NEW = Recipe(step="train", inputs={"epochs": 60})
FILES = {  # recipe -> what it leaves
    "old": {"scores.csv": "old scores", "maps/S1.h5": "old 1", "maps/S2.h5": "old 2"},
    "new": {"scores.csv": "new scores", "maps/S1.h5": "new 1", "maps/S3.h5": "new 3"},
}


def publish(run: Path, recipe: Recipe, files: dict[str, str], outputs: Outputs = OUTPUTS) -> None:
    with publishing(run, recipe, outputs) as out:
        for name, text in files.items():
            (out.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (out.folder / name).write_text(text)


def contents(run: Path) -> dict[str, str]:
    """Return name -> text of the files that anybody sees, but provenance.json."""
    return {
        path.relative_to(run).as_posix(): path.read_text()
        for path in run.rglob("*")
        if path.is_file()
        and path.name != "provenance.json"
        and not any(part.startswith(".") for part in path.relative_to(run).parts)
    }


@pytest.fixture
def run(tmp_path: Path) -> Path:
    publish(tmp_path / "main", OLD, FILES["old"])
    return tmp_path / "main"


def test_a_step_that_was_done_is_up_to_date_under_its_recipe_and_no_other(run):
    assert is_fresh(run, OLD, OUTPUTS)
    assert not is_fresh(run, NEW, OUTPUTS)
    assert contents(run) == FILES["old"]


def test_files_that_the_new_recipe_does_not_make_go_with_the_old_one(run):
    publish(run, NEW, FILES["new"])
    assert contents(run) == FILES["new"]
    assert is_fresh(run, NEW, OUTPUTS)


def test_an_error_on_the_way_leaves_the_run_as_it_was(run):
    before = (run / "provenance.json").read_bytes()
    with suppress(ZeroDivisionError), publishing(run, NEW, OUTPUTS) as out:
        (out.folder / "scores.csv").write_text("half")
        raise ZeroDivisionError
    assert contents(run) == FILES["old"]
    assert (run / "provenance.json").read_bytes() == before
    assert [path.name for path in run.iterdir() if path.name.startswith(".")] == []


CHANGES = ("replace", "unlink", "mkdir", "rmdir", "fsync")  # of os: what touches the disk


def killed_at(run: Path, number: int) -> bool:
    """Publish the new recipe in a child that is killed before its n-th change of the disk; return
    whether it was.
    """
    child = os.fork()
    if child == 0:
        left = [number]

        def counted(change):
            def stop(*args, **kwargs):
                left[0] -= 1
                if left[0] < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return change(*args, **kwargs)

            return stop

        for name in CHANGES:
            setattr(os, name, counted(getattr(os, name)))
        publish(run, NEW, FILES["new"])
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def test_killed_before_any_change_of_the_disk_a_run_is_old_or_new_or_to_do_again(run, tmp_path):
    seen, number = set(), 0
    while True:
        copy = tmp_path / f"copy {number}"
        shutil.copytree(run, copy)
        if not killed_at(copy, number):
            break
        fresh = [recipe for recipe in (OLD, NEW) if is_fresh(copy, recipe, OUTPUTS)]
        found = contents(copy)
        if fresh == [OLD]:
            assert found == FILES["old"]
        elif fresh == [NEW]:
            assert found == FILES["new"]
        else:
            assert unfinished_steps(copy) == ["train"]
            values = found.values()  # on the way from one to the other, but never of both
            assert set(values) <= set(FILES["old"].values()) or set(values) <= set(
                FILES["new"].values()
            )
        seen.add(tuple(recipe.inputs["epochs"] for recipe in fresh))
        publish(copy, OLD, FILES["old"])  # whoever comes next
        assert contents(copy) == FILES["old"]
        assert is_fresh(copy, OLD, OUTPUTS)
        assert unfinished_steps(copy) == []
        assert [path.name for path in copy.iterdir() if path.name.startswith(".")] == []
        number += 1
    assert seen == {(3,), (), (60,)}
    assert number > 20


def test_a_file_that_is_missing_cut_off_changed_or_foreign_is_named(run):
    (run / "scores.csv").write_text("OLD scores")
    (run / "maps/S1.h5").unlink()
    (run / "maps/S2.h5").write_text("old")
    (run / "maps/S9.h5").write_text("of another run")
    assert unproved(run, "train", OUTPUTS) == [
        "maps/S1.h5 is missing",
        "maps/S2.h5 was changed since",
        "scores.csv was changed since",
        "maps/S9.h5 is not of this run",
    ]
    assert not is_fresh(run, OLD, OUTPUTS)


def test_many_files_of_a_folder_are_counted(run):
    shutil.rmtree(run / "maps")
    assert unproved(run, "train", OUTPUTS) == ["2 files of maps/ are missing"]


def test_a_change_that_keeps_size_and_time_is_noticed(run):
    path, before = run / "scores.csv", (run / "scores.csv").stat()
    path.write_text("sld scores")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert unproved(run, "train", OUTPUTS) == ["scores.csv was changed since"]


def test_a_copy_with_other_times_is_up_to_date(run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy, copy_function=shutil.copyfile)
    assert is_fresh(copy, OLD, OUTPUTS)


def test_proofs_of_a_copy_are_renewed_once_and_its_files_are_not_read_again(
    run, tmp_path, monkeypatch
):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy, copy_function=shutil.copyfile)
    (copy / "scores.csv").write_text("OLD scores")
    renew_proofs(copy)
    assert unproved(copy, "train", OUTPUTS) == ["scores.csv was changed since"]
    (copy / "scores.csv").write_text("old scores")
    renew_proofs(copy)
    monkeypatch.setattr(module, "sha256_of_file", lambda _: pytest.fail("a file was read"))
    assert is_fresh(copy, OLD, OUTPUTS)


def test_one_file_of_a_step_may_be_whole_while_another_is_not(run):
    assert is_whole(run, "train")
    (run / "maps/S1.h5").write_text("cut")
    assert is_whole(run, "train", "scores.csv")
    assert not is_whole(run, "train", "maps/S1.h5")
    assert not is_whole(run, "train")


def test_a_check_reads_no_file_that_was_not_touched(run, monkeypatch):
    monkeypatch.setattr(module, "sha256_of_file", lambda _: pytest.fail("a file was read"))
    assert is_fresh(run, OLD, OUTPUTS)


def test_what_lay_among_a_steps_files_and_was_not_its_own_is_set_aside(run):
    (run / "maps/S9.h5").write_text("of another run")
    publish(run, OLD, FILES["old"])
    assert contents(run) == {**FILES["old"], "not-of-this-run/maps/S9.h5": "of another run"}
    assert is_fresh(run, OLD, OUTPUTS)


def test_what_a_person_wrote_into_is_kept_and_what_nobody_wrote_into_is_renewed(run):
    sheet = run / "sheet/ratings.csv"
    publish(run, OLD, {**FILES["old"], "sheet/ratings.csv": "item,"})
    publish(run, NEW, {**FILES["new"], "sheet/ratings.csv": "item,of the new"})
    assert sheet.read_text() == "item,of the new"
    sheet.write_text("item,4")
    assert is_fresh(run, NEW, OUTPUTS)
    publish(run, OLD, {**FILES["old"], "sheet/ratings.csv": "item,"})
    publish(run, NEW, FILES["new"])
    assert sheet.read_text() == "item,4"


def test_a_step_that_takes_over_files_of_another_voids_it(run):
    imported = Recipe(step="import", inputs={})
    publish(run, imported, {"scores.csv": "imported"})
    assert contents(run) == {"scores.csv": "imported"}
    assert list(read_json(run / "provenance.json")["steps"]) == ["import"]


def test_a_run_of_before_there_were_proofs_is_up_to_date_while_its_files_are_there(run):
    content = read_json(run / "provenance.json")
    del content["files"]
    module.write_provenance(run, content)
    assert is_fresh(run, OLD, OUTPUTS)
    publish(run, NEW, FILES["new"])
    assert contents(run) == FILES["new"], "S2 is of the old recipe, listed or not"
    (run / "scores.csv").unlink()
    assert unproved(run, "train", OUTPUTS) == ["scores.csv is missing"]


def test_outputs_are_withdrawn_with_their_entry(run):
    withdraw_outputs(run, "train", OUTPUTS)
    assert contents(run) == {}
    assert read_json(run / "provenance.json")["steps"] == {}
    assert unfinished_steps(run) == []


def test_a_run_is_written_by_one_at_a_time(run):
    child = os.fork()
    if child == 0:
        with publishing(run, NEW, OUTPUTS):
            signal.pause()
    try:
        while not (run / ".new").is_dir():
            pass
        with pytest.raises(StoreError, match="`pathoml train` is at work"):
            publish(run, OLD, FILES["old"])
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    publish(run, OLD, FILES["old"])
    assert contents(run) == FILES["old"]
