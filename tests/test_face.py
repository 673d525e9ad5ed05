"""The package and its rooms offer what their stubs list, whatever else was imported before, and
cost nothing until it is asked for.
"""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import pathoml
from pathoml import offered

PACKAGE = Path(pathoml.__file__).parent
FACES = [
    ".".join(stub.relative_to(PACKAGE.parent).parent.parts)
    for stub in sorted(PACKAGE.rglob("__init__.pyi"))
]
EXTENDED = ("encoders", "engines", "interop", "mil", "slides.readers")  # by one file each


def in_a_fresh_interpreter(code: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("package", FACES)
def test_every_name_is_what_its_stub_says_even_after_all_modules_were_imported(package):
    face = importlib.import_module(package)
    for module in pkgutil.iter_modules(face.__path__):
        if module.name != "__main__":
            importlib.import_module(f"{package}.{module.name}")
    for name, (module, inside) in offered(package, Path(face.__file__).with_suffix(".pyi")).items():
        defined = importlib.import_module(module)
        assert getattr(face, name) is (getattr(defined, inside) if inside else defined), name


@pytest.mark.parametrize("package", FACES)
def test_no_name_is_that_of_a_module_beside_it(package):
    face = importlib.import_module(package)
    assert {module.name for module in pkgutil.iter_modules(face.__path__)} & {
        *face.__all__
    } == set()


@pytest.mark.parametrize("package", FACES)
def test_a_face_lists_its_names_sorted_and_shows_them(package):
    face = importlib.import_module(package)
    assert face.__all__ == sorted(face.__all__)
    assert {*face.__all__} <= {*dir(face)}


@pytest.mark.parametrize("package", FACES)
def test_a_face_and_its_stub_say_the_same_sentence(package):
    stub = Path(importlib.import_module(package).__file__).with_suffix(".pyi")
    assert stub.read_text().split('"""')[1] == stub.with_suffix(".py").read_text().split('"""')[1]


def test_every_room_has_a_sentence_of_its_own():
    rooms = [folder.parent for folder in PACKAGE.rglob("__init__.py")]
    assert [
        str(room) for room in rooms if not (room / "__init__.py").read_text().startswith('"""')
    ] == []


@pytest.mark.parametrize("room", EXTENDED)
def test_a_room_that_takes_new_files_says_how_one_is_added(room):
    assert "docs/extend.md" in str(importlib.import_module(f"pathoml.{room}").__doc__)


def test_a_name_that_is_not_offered_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'pathoml' has no attribute 'open_slides'"):
        pathoml.open_slides  # noqa: B018


def test_importing_the_package_loads_nothing_heavy_and_takes_no_time():
    code = (
        "import time, sys; start = time.process_time(); import pathoml; took = "
        "time.process_time() - start; sys.stdout.write(' '.join([str(took), *sys.modules]))"
    )
    runs = [in_a_fresh_interpreter(code) for _ in range(3)]
    assert min(float(took) for took, *_ in runs) < 0.05
    assert {"torch", "pandas", "numpy", "scipy", "pydantic", "yaml"} & {*runs[0]} == set()


def test_a_name_loads_what_it_needs_and_no_more():
    code = "import pathoml, sys; pathoml.harrell_c; sys.stdout.write(' '.join(sys.modules))"
    assert {"torch", "pandas", "pydantic"} & {*in_a_fresh_interpreter(code)} == set()


def test_a_room_is_there_without_being_imported_by_name():
    code = "import pathoml, sys; sys.stdout.write(pathoml.survival.concordance.harrell_c.__name__)"
    assert in_a_fresh_interpreter(code) == ["harrell_c"]
