"""Which part of the path is the folder where Python was started, and who is kept from it."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import pytest

from pathoml.working_folder import SAFE_PATH, NotFromHere, StartedSafely, path_elsewhere


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a module in it, as an interactive Python has it on its path."""
    (tmp_path / "planted_module.py").write_text("value = 1\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    monkeypatch.delenv("PYTHONPATH", raising=False)
    yield tmp_path
    sys.modules.pop("planted_module", None)


def imported_by(name: str) -> object:
    """Import the module as code of a module of that name would."""
    scope: dict[str, object] = {"__name__": name, "__file__": f"/somewhere/{name}.py"}
    exec("import planted_module as found", scope)
    return scope["found"]


@pytest.mark.usefixtures("here")
def test_what_pathoml_imports_is_not_found_there_and_what_others_import_is() -> None:
    with pytest.raises(ModuleNotFoundError, match="planted_module"):
        imported_by("pathoml.training.step")
    assert imported_by("somebody_else").value == 1  # type: ignore[attr-defined]


def test_code_of_the_folder_that_pathoml_calls_imports_what_lies_beside_it(here: Path) -> None:
    scope: dict[str, object] = {"__name__": "pathoml.calling"}
    (here / "mine.py").write_text(
        "def tell():\n    import planted_module as p\n    return p.value\n"
    )
    mine = importlib.import_module("mine")
    exec("def call(what): return what()", scope)
    try:
        assert scope["call"](mine.tell) == 1  # type: ignore[operator]
    finally:
        del sys.modules["mine"]


def test_to_look_where_a_module_lies_is_not_to_import_it(here: Path) -> None:
    scope: dict[str, object] = {"__name__": "pathoml.plugins"}
    exec("import importlib.util\nspec = importlib.util.find_spec('planted_module')", scope)
    assert scope["spec"].origin == str(here / "planted_module.py")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("first", "pythonpath", "left_out"),
    [
        ("", None, True),  # a session
        ("{here}", None, True),  # python -m
        ("{here}", "{here}", True),  # named as well: the second stays
        ("/usr/lib", None, False),
        ("{here}/sub", None, False),
    ],
)
def test_the_folder_is_left_out_where_python_put_it(
    here: Path, monkeypatch: pytest.MonkeyPatch, first: str, pythonpath: str | None, left_out: bool
) -> None:
    first = first.format(here=here)
    rest = ["/usr/lib/python", *([str(here)] if pythonpath else [])]
    monkeypatch.setattr(sys, "path", [first, *rest])
    if pythonpath:
        monkeypatch.setenv("PYTHONPATH", pythonpath.format(here=here))
    assert path_elsewhere() == (rest if left_out else [first, *rest])


def test_an_empty_part_of_pythonpath_is_nobodys_wish(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", ["/usr/bin", str(here), "/usr/lib/python"])
    assert str(here) in path_elsewhere()
    monkeypatch.setenv("PYTHONPATH", f"/opt/tools{os.pathsep}")
    assert path_elsewhere() == ["/usr/bin", "/usr/lib/python"]


def test_a_child_is_handed_the_folder_last_and_its_own_safe_path(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", f"/opt/tools{os.pathsep}")
    monkeypatch.delenv(SAFE_PATH, raising=False)
    before = list(sys.path)
    with StartedSafely():
        assert (os.environ[SAFE_PATH], os.environ["PYTHONPATH"]) == ("1", "/opt/tools")
        assert sys.path[-1] == f"{here}/."
        assert "" not in sys.path
        handed = list(sys.path)
    assert (sys.path, SAFE_PATH in os.environ) == (before, False)
    monkeypatch.setenv("PYTHONPATH", "/opt/tools")
    monkeypatch.setattr(sys, "path", handed)  # as in the child
    assert path_elsewhere() == handed[:-1]


def test_a_folder_that_was_removed_under_us_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert path_elsewhere() == [entry for entry in sys.path if entry]
    assert NotFromHere().find_spec("json") is None
