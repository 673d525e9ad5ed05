"""The rules of the house, read from the source: who may import whom and what, how the rooms hang
together, how a public function is called. Each rule is seen to fail on a small package.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.sources import PACKAGE, ROOT, called, imports, modules, spelled_out

# A room is a folder of the package, or a file beside them; it imports from lower floors only.
FLOOR_NAMES = ("keep", "know", "make", "gather", "learn", "answer", "people")
FLOORS = {
    # room: (floor, where torch may be imported)
    "__main__": (6, "no"),
    "cli": (6, "in functions"),
    "pipeline": (6, "in functions"),
    "report": (6, "in functions"),
    "viewer": (6, "in functions"),
    "interop": (6, "yes"),
    "evaluation": (5, "yes"),
    "explanation": (5, "yes"),
    "discovery": (5, "through floors 3 and 4"),
    "bundles": (5, "through floors 3 and 4"),
    "training": (4, "yes"),
    "mil": (4, "yes"),
    "bags": (3, "yes"),
    "embedding": (2, "yes"),
    "tiling": (2, "no"),
    "synthetic": (2, "no"),
    "slides": (1, "no"),
    "study": (1, "no"),
    "compute": (1, "devices, processes, measured"),
    "encoders": (1, "yes"),
    "survival": (1, "no"),
    "store": (0, "no"),
    "engines": (0, "no"),
    "types": (0, "no"),
    "errors": (0, "no"),
    "config": (0, "no"),
    "plugins": (0, "no"),
    "spawning": (0, "no"),
    "working_folder": (0, "no"),
    "_moved": (0, "no"),
}
# Beside the floor below: neighbours on one floor. Floor 0 is one heap, without circles.
SIDEWAYS = {
    "study": "encoders",  # the folder of an encoding is named after the encoder's own grid
    "bundles": "explanation",  # predict --maps
    "__main__": "cli",
    "cli": "interop pipeline report viewer",
    "pipeline": "interop report viewer",
}
# Among the rooms that hold steps or show them, only these see one another.
STEPS = "tiling embedding training evaluation explanation discovery bundles report viewer interop"
STEP_ARROWS = {
    "evaluation": "training",  # a finished run is read back; permutations train again
    "explanation": "training",
    "discovery": "training",
    "bundles": "training explanation",
    "interop": "training explanation",
    "viewer": "training explanation",  # training: what the score becomes without some tiles
}
CALLERS_OF_STEPS = ("cli", "pipeline")

# A heavy package and the rooms or modules that import it; those in brackets inside functions only.
HEAVY = {
    "torch": "bags compute.devices compute.measured compute.processes embedding encoders"
    " evaluation explanation interop mil training (cli) (pipeline) (report) (viewer)",
    "safetensors.torch": "training (embedding)",
    "torchvision": "(encoders)",
    "timm": "encoders",
    "transformers": "",
    "huggingface_hub": "(encoders)",
    "pytorch_lightning": "training.lightning",
    "lightning": "",
    "openslide": "slides (cli)",
    "h5py": "store",
    "ray": "(engines)",
    "typer": "cli",
    "rich": "(cli)",
    "starlette": "viewer (cli)",
    "uvicorn": "viewer.serving (cli) (viewer)",
    "sksurv": "",  # GPL-3: a test oracle
}
SURVIVAL_IMPORTS = (
    "numpy",
    "scipy",
    "threadpoolctl",  # of numpy's and scipy's own threads, one_thread.py
    "pathoml.errors",
    "pathoml.types",
    "pathoml.survival",
    "pathoml.face",  # what makes the room's face
)
MOST_ARROWS = 167  # between entries of `ls pathoml`; seven of how processes start
LONGEST_CHAIN = 10  # of rooms, each importing the next
MOST_POSITIONAL = 3
# a notebook says them in one breath: a head, on a cohort's bags, by these splits
FOUR_POSITIONAL = ("cross_validate",)


@dataclass(frozen=True, kw_only=True)
class Arrow:
    """One module of the package imports another, or a name of it."""

    source: str  # dotted below the package: store.files
    target: str
    name: str  # what is imported from it; "" is the module itself
    where: str  # file:line
    in_function: bool

    @property
    def rooms(self) -> tuple[str, str]:
        return room(self.source), room(self.target)


def room(module: str) -> str:
    """Return the entry of `ls pathoml` that a module belongs to."""
    return module.split(".")[0]


def arrows(package: Path) -> list[Arrow]:
    """Return every import of one module of the package by another."""
    trees = list(modules(package))
    names = {name for name, _, _ in trees}
    found = []
    for name, path, tree in trees:
        for one in imports(name, path, tree, package=package):
            top, *rest = one.name.split(".")
            if top != package.name:
                continue
            depth = next(
                n for n in range(len(rest), -1, -1) if not n or ".".join(rest[:n]) in names
            )
            target = ".".join(rest[:depth])
            if target != name:
                found.append(
                    Arrow(
                        source=name,
                        target=target,
                        name=".".join(rest[depth:]),
                        where=f"{path.relative_to(package)}:{one.line}",
                        in_function=one.in_function,
                    )
                )
    return found


def floor_findings(package: Path) -> list[str]:
    """Return a sentence for each room without a floor, and each import up or sideways."""
    places = {room(name) for name, _, _ in modules(package) if name}
    found = [
        f"{place!r} is on no floor. Add it to FLOORS in tests/whole/test_house.py and to"
        " docs/architecture.md."
        for place in sorted(places - set(FLOORS))
    ]
    for arrow in arrows(package):
        here, there = arrow.rooms
        if here == there or not {here, there} <= set(FLOORS):
            continue
        own, other = FLOORS[here][0], FLOORS[there][0]
        if other > own:
            found.append(f"{arrow.where}: {here} imports {there}, which is above its own floor.")
        elif other == own > 0 and there not in SIDEWAYS.get(here, "").split():
            found.append(f"{arrow.where}: {here} imports {there}, its neighbour.")
    return found


def step_findings(package: Path) -> list[str]:
    """Return a sentence for each import of a step, or of a room of steps, that has no business."""
    found = []
    for arrow in arrows(package):
        here, there = arrow.rooms
        if here == there or here in CALLERS_OF_STEPS or not here:
            continue
        if arrow.target == f"{there}.step":
            found.append(f"{arrow.where}: only pipeline.py and cli/ import {arrow.target}.")
        elif {here, there} <= set(STEPS.split()) and there not in STEP_ARROWS.get(here, "").split():
            found.append(f"{arrow.where}: {here} has no business in {there}.")
    return found


def heavy_findings(package: Path) -> list[str]:
    """Return a sentence for each heavy import out of place."""
    found = []
    for name, path, tree in modules(package):
        for one in imports(name, path, tree, package=package):
            top = one.name.split(".")[0]
            heavy = "safetensors.torch" if one.name.startswith("safetensors.torch") else top
            if heavy not in HEAVY:
                continue
            allowed = HEAVY[heavy].split()
            late = [place.strip("()") for place in allowed] if one.in_function else allowed
            if not {room(name), name} & set(late):
                found.append(
                    f"{path.relative_to(package)}:{one.line}: {heavy} may be imported in"
                    f" {' '.join(allowed) or 'tests'} only."
                )
    return found


def survival_findings(package: Path) -> list[str]:
    """Return what survival/ imports beside numpy, scipy, the errors, the types and Python's own."""
    return [
        f"{path.relative_to(package)}:{one.line}: {one.name}"
        for name, path, tree in modules(package)
        if room(name) == "survival"
        for one in imports(name, path, tree, package=package)
        if one.name.split(".")[0] not in sys.stdlib_module_names
        and not one.name.startswith(SURVIVAL_IMPORTS)
    ]


def calls_elsewhere(package: Path, place: str, functions: set[str]) -> list[str]:
    """Return the calls of functions, named as they end, that are made outside their room."""
    return [
        f"{path.relative_to(package)}:{call.lineno}: {function}"
        for name, path, tree in modules(package)
        if room(name) != place
        for function, call in called(tree)
        if function in functions or function.rpartition(".")[2] in functions
    ]


PRINTERS = {
    "print",
    "rich.print",
    "typer.echo",
    "typer.secho",
    "click.echo",
    "sys.stdout.write",
    "sys.stderr.write",
}
PADDERS = {
    "BagBatch",
    "pad_sequence",
    "pack_sequence",
    "torch.nn.functional.pad",
    "nn.functional.pad",
    "functional.pad",
}


def private_findings(package: Path) -> list[str]:
    """Return a sentence for each `_module` imported by another room, and each `_name` of another
    file.
    """
    found = []
    for arrow in arrows(package):
        here, there = arrow.rooms
        own = not arrow.source  # the package's __init__ may import a private module beside it
        if (
            here != there
            and not own
            and any(part.startswith("_") for part in arrow.target.split("."))
        ):
            found.append(f"{arrow.where}: {arrow.target} is for {there} only.")
        if arrow.name.startswith("_") and arrow.name != "__version__":
            found.append(f"{arrow.where}: {arrow.name} is private to {arrow.target}.")
    for name, path, tree in modules(package):
        full = spelled_out(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
                whose = full.get(ast.unparse(node.value), "")
                is_module = whose.startswith(f"{package.name}.") and whose.split(".")[-1].islower()
                if is_module and not node.attr.startswith("__"):
                    where = f"{path.relative_to(package)}:{node.lineno}"
                    found.append(f"{where}: {node.attr} is private to {whose}, not for {name}.")
    return found


def face_findings(package: Path) -> list[str]:
    """Return the imports of a name from a room's __init__ instead of the module that defines it.

    `import pathoml`, for its version, takes no name from a face.
    """
    faces = {name for name, path, _ in modules(package) if path.name == "__init__.py"}
    return [
        f"{arrow.where}: import {arrow.name or 'it'} from the module that defines it, not from"
        f" {arrow.target or package.name}."
        for arrow in arrows(package)
        if arrow.target in faces
        and arrow.source  # the package's own face may show what the rooms' faces do
        and (arrow.target or arrow.name)
        and (arrow.source, arrow.name) != ("__main__", "main")
        and arrow.name != "__version__"
        and not (arrow.name == "face" and arrow.source in faces)  # what makes a face
    ]


def positional_findings(package: Path) -> list[str]:
    """Return the public functions with more than three positional parameters; not a typer command,
    whose parameters are the options, nor the forward of a network, which torch calls.
    """
    found = []
    for name, path, tree in modules(package):
        for function, is_method in _public_functions(tree):
            names = [a.arg for a in (*function.args.posonlyargs, *function.args.args)]
            is_command = function.name.endswith("command") or names[:1] == ["ctx"]
            if (room(name) == "cli" and is_command) or (is_method and function.name == "forward"):
                continue
            if function.name in FOUR_POSITIONAL:
                continue
            if is_method and names and names[0] in ("self", "cls"):
                names = names[1:]
            if len(names) > MOST_POSITIONAL:
                where = f"{path.relative_to(package)}:{function.lineno}"
                found.append(f"{where}: {function.name}({', '.join(names)})")
    return found


def _public_functions(tree: ast.Module) -> Iterator[tuple[ast.FunctionDef, bool]]:
    for node in tree.body:
        inside = node.body if isinstance(node, ast.ClassDef) else [node]
        for one in inside:
            if isinstance(one, ast.FunctionDef) and (
                not one.name.startswith("_") or one.name == "__init__"
            ):
                yield one, isinstance(node, ast.ClassDef)


def global_findings(package: Path) -> list[str]:
    """Return the `global` statements: state of a module that a function changes."""
    return [
        f"{path.relative_to(package)}:{node.lineno}: global {', '.join(node.names)}"
        for _, path, tree in modules(package)
        for node in ast.walk(tree)
        if isinstance(node, ast.Global)
    ]


Graph = Mapping[str, set[str]]


def graph_of_files(package: Path) -> Graph:
    """Return the files that each file imports; the package's own face is none of them."""
    graph: dict[str, set[str]] = {name: set() for name, _, _ in modules(package) if name}
    for arrow in arrows(package):
        if arrow.source and arrow.target:
            graph[arrow.source].add(arrow.target)
    return graph


def graph_of_rooms(package: Path) -> Graph:
    """Return the rooms that each room imports."""
    graph: dict[str, set[str]] = {}
    for source, targets in graph_of_files(package).items():
        graph.setdefault(room(source), set()).update(room(t) for t in targets)
    return {source: targets - {source} for source, targets in graph.items()}


def circle(graph: Graph) -> list[str]:
    """Return a circle of a graph, [] if there is none.

    >>> circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}), circle({"a": {"b"}, "b": set()})
    (['b', 'c', 'b'], [])
    """
    finished: set[str] = set()

    def search(node: str, trail: list[str]) -> list[str]:
        if node in trail:
            return [*trail[trail.index(node) :], node]
        if node in finished:
            return []
        for target in sorted(graph.get(node, ())):
            if found := search(target, [*trail, node]):
                return found
        finished.add(node)
        return []

    return next((found for node in sorted(graph) if (found := search(node, []))), [])


def longest_chain(graph: Graph) -> list[str]:
    """Return the longest chain of a graph; a circle is a chain without end.

    >>> longest_chain({"a": {"b", "c"}, "b": {"c"}, "c": set()})
    ['a', 'b', 'c']
    """
    if found := circle(graph):
        return found * (len(graph) + 1)
    known: dict[str, list[str]] = {}

    def below(node: str) -> list[str]:
        if node not in known:
            known[node] = [node, *max((below(t) for t in graph.get(node, ())), key=len, default=[])]
        return known[node]

    return max((below(node) for node in sorted(graph)), key=len, default=[])


def reached(graph: Graph, start: str) -> set[str]:
    """Return every file that a file imports, directly or through others."""
    found: set[str] = set()
    todo = [start]
    while todo:
        for target in graph[todo.pop()] - found:
            found.add(target)
            todo.append(target)
    return found


def floors_table() -> str:
    """Return the table of floors of docs/architecture.md: paste it there when FLOORS changes."""
    rows = [
        f"| {floor} {FLOOR_NAMES[floor]} | {place} | {torch} |"
        for place, (floor, torch) in FLOORS.items()
    ]
    return "\n".join(["| floor | room | torch |", "| --- | --- | --- |", *rows])


def test_no_import_goes_up_or_to_a_neighbour_without_a_reason():
    assert floor_findings(PACKAGE) == []


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("study/cohort.py", "from pathoml.training.loop import train_models"),
        ("study/cohort.py", "import pathoml.training.loop as t"),
        ("study/cohort.py", "from pathoml import training"),
        ("slides/reading.py", "from ..tiling.grid import cut"),
        ("store/tiles.py", "def late():\n    from pathoml.tiling.grid import cut\n"),
        ("survival/cox.py", "from pathoml.study.cohort import read_cohort"),  # a neighbour
        ("study/cohort.py", "from pathoml.slides.reading import open_slide"),
        ("viewer/server.py", "from pathoml.report.page import write_page"),
    ],
)
def test_an_import_up_or_to_a_neighbour_is_found_however_it_is_written(fake_house, file, source):
    others = ("training/loop.py", "training/__init__.py", "tiling/grid.py", "study/cohort.py")
    others += ("slides/reading.py", "report/page.py")
    assert len(floor_findings(fake_house(dict.fromkeys(others, "") | {file: source}))) == 1


def test_imports_downwards_for_types_or_on_demand_of_the_face_are_no_findings(fake_house):
    house = fake_house(
        {
            "__init__.py": "def __getattr__(name):\n    from pathoml.cli.run import run\n",
            "cli/run.py": "from pathoml.report.page import write\nimport pathoml\n",
            "report/page.py": "from pathoml.errors import PathomlError\n",
            "errors.py": "from typing import TYPE_CHECKING\n"
            "if TYPE_CHECKING:\n    from pathoml.cli.run import run\n",
            "study/layout.py": "from pathoml.encoders.finding import find_encoder\n",
            "encoders/finding.py": "",
        }
    )
    assert floor_findings(house) == []


def test_a_room_without_a_floor_is_named_with_what_to_do(fake_house):
    assert floor_findings(fake_house({"gadget/shine.py": ""})) == [
        "'gadget' is on no floor. Add it to FLOORS in tests/whole/test_house.py and to"
        " docs/architecture.md."
    ]


def test_no_step_is_imported_by_another_room_and_rooms_of_steps_see_few_others():
    assert step_findings(PACKAGE) == []


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("evaluation/step.py", "from pathoml.training.step import train_study"),
        ("report/page.py", "def late():\n    from pathoml.evaluation.discrimination import c"),
        ("training/fit.py", "from pathoml.embedding.network import EncoderModel"),
    ],
)
def test_a_step_or_a_stranger_among_the_steps_is_found(fake_house, file, source):
    others = ("training/step.py", "evaluation/discrimination.py", "embedding/network.py")
    assert len(step_findings(fake_house(dict.fromkeys(others, "") | {file: source}))) == 1


def test_heavy_packages_are_imported_where_they_belong():
    assert heavy_findings(PACKAGE) == []


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("study/splits.py", "import torch"),
        ("survival/cox.py", "def fit():\n    from torch import nn\n"),
        ("tiling/grid.py", "import torch.nn.functional as F"),
        ("study/cohort.py", "from safetensors.torch import load_file"),
        ("cli/train.py", "import torch"),
        ("bags/reading.py", "import h5py"),
        ("training/loop.py", "import timm"),
        ("compute/shards.py", "import torch"),
    ],
)
def test_a_heavy_import_out_of_place_is_found(fake_house, file, source):
    assert "may be imported in" in " ".join(heavy_findings(fake_house({file: source})))


def test_the_command_line_may_import_torch_inside_a_function(fake_house):
    assert heavy_findings(fake_house({"cli/train.py": "def train():\n    import torch\n"})) == []


def test_the_statistics_import_numpy_and_scipy_only():
    assert survival_findings(PACKAGE) == []


@pytest.mark.parametrize("source", ["import pandas", "from pathoml.study.cohort import Cohort"])
def test_another_import_of_the_statistics_is_found(fake_house, source):
    files = {"survival/cox.py": f"import math\nimport numpy as np\n{source}\n"}
    assert len(survival_findings(fake_house(files))) == 1


def test_only_the_command_line_prints():
    assert calls_elsewhere(PACKAGE, "cli", PRINTERS) == []


@pytest.mark.parametrize(
    "source",
    ["print(1)", "from rich import print as say\nsay(1)", "import sys\nsys.stderr.write('x')"],
)
def test_printing_elsewhere_is_found(fake_house, source):
    house = fake_house({"cli/run.py": source, "store/files.py": source})
    assert len(calls_elsewhere(house, "cli", PRINTERS)) == 1


def test_only_bags_pads():
    assert calls_elsewhere(PACKAGE, "bags", PADDERS) == []


@pytest.mark.parametrize(
    "source",
    [
        "from torch.nn.utils.rnn import pad_sequence\npad_sequence([])",
        "import torch.nn.functional as F\nF.pad(features, (0, 1))",
        "from pathoml.types import BagBatch\nBagBatch(features=f, is_tile=m)",
    ],
)
def test_padding_elsewhere_is_found(fake_house, source):
    house = fake_house({"bags/batches.py": source, "training/loop.py": source})
    assert len(calls_elsewhere(house, "bags", PADDERS)) == 1


def test_what_is_private_to_a_room_or_a_file_is_used_there_only():
    assert private_findings(PACKAGE) == []


@pytest.mark.parametrize(
    "source",
    [
        "from pathoml.store._hdf5 import whole",
        "from pathoml.store import _hdf5",
        "from pathoml.store.files import _quote",
        "from pathoml.store import files\nfiles._quote('a')",
    ],
)
def test_a_private_module_or_name_in_other_hands_is_found(fake_house, source):
    house = fake_house(
        {
            "store/__init__.py": "",
            "store/_hdf5.py": "",
            "store/files.py": "from pathoml.store._hdf5 import whole",
            "study/cohort.py": source,
        }
    )
    assert len(private_findings(house)) == 1


def test_code_of_the_package_imports_the_defining_module_never_a_face():
    assert face_findings(PACKAGE) == []


@pytest.mark.parametrize(
    "source",
    [
        "from pathoml.store import read_tiles",
        "from pathoml import load_study",
        "import pathoml.store",
        "def late():\n    from ..store import read_tiles",
    ],
)
def test_an_import_from_a_face_is_found(fake_house, source):
    files = {"__init__.py": "", "store/__init__.py": "", "bags/reading.py": source}
    assert len(face_findings(fake_house(files))) == 1


def test_a_public_function_has_at_most_three_positional_parameters():
    assert positional_findings(PACKAGE) == []


@pytest.mark.parametrize(
    "source",
    [
        "def cut(slide, mask, grid, side): ...",
        "class Bag:\n    def __init__(self, a, b, c, d): ...",
        "class Bag:\n    def read(self, a, b, c, d=1): ...",
    ],
)
def test_a_fourth_positional_parameter_is_found(fake_house, source):
    assert len(positional_findings(fake_house({"tiling/grid.py": source}))) == 1


def test_commands_networks_and_private_functions_may_have_more_parameters(fake_house):
    house = fake_house(
        {
            "cli/__init__.py": "def train_command(a, b, c, d): ...\ndef root(ctx, a, b, c): ...",
            "mil/abmil.py": "class Head:\n    def forward(self, a, b, c, d): ...",
            "store/files.py": "def _all(a, b, c, d): ...\ndef three(a, b, c, *, d): ...",
        }
    )
    assert positional_findings(house) == []


def test_no_function_changes_the_state_of_its_module():
    assert global_findings(PACKAGE) == []


def test_a_function_that_changes_the_state_of_its_module_is_found(fake_house):
    source = "LAST = 0\ndef count():\n    global LAST\n    LAST += 1\n"
    assert global_findings(fake_house({"store/files.py": source})) == [
        "store/files.py:3: global LAST"
    ]


def test_no_circle_joins_rooms_or_files():
    assert circle(graph_of_rooms(PACKAGE)) == []
    assert circle(graph_of_files(PACKAGE)) == []


def test_a_circle_is_found_though_one_of_its_imports_waits_in_a_function(fake_house):
    late = "def late():\n    from pathoml.store.files import write\n"
    house = fake_house(
        {"store/files.py": "from pathoml.errors import StoreError\n", "errors.py": late}
    )
    assert circle(graph_of_files(house)) == ["errors", "store.files", "errors"]
    assert circle(graph_of_rooms(house)) == ["errors", "store", "errors"]


def test_the_rooms_hang_together_by_few_arrows_in_short_chains():
    graph = graph_of_rooms(PACKAGE)
    assert sum(len(targets) for targets in graph.values()) <= MOST_ARROWS
    chain = longest_chain(graph)
    assert len(chain) <= LONGEST_CHAIN, chain


def test_who_reads_a_bag_needs_few_files_and_no_slide_library():
    files = reached(graph_of_files(PACKAGE), "bags.reading")
    assert len(files) <= 15, sorted(files)
    libraries = {
        one.name.split(".")[0]
        for name, path, tree in modules(PACKAGE)
        if name in files | {"bags.reading"}
        for one in imports(name, path, tree, package=PACKAGE)
    }
    assert libraries & {"openslide", "cv2", "PIL"} == set()


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


SLOW = "torch timm pytorch_lightning pandas scipy sklearn matplotlib cv2 openslide lifelines"


def test_importing_the_package_loads_no_other():
    mine = loaded_modules("import pathoml") - loaded_modules("")
    assert mine - set(sys.stdlib_module_names) == {"pathoml"}


def test_help_loads_nothing_heavy():
    code = (
        "import sys\nfrom pathoml.cli import main\nsys.argv = ['pathoml', '--help']\ntry:\n   "
        " main()\nexcept SystemExit:\n    pass"
    )
    assert loaded_modules(code) & set(SLOW.split()) == set()


def test_rooms_that_need_no_torch_load_none():
    names = [
        f"pathoml.{name}"
        for name, path, _ in modules(PACKAGE)
        if FLOORS.get(room(name), (0, ""))[1] == "no"
        and path.stem != "ray"  # the engine imports ray when it is used; it is an extra
        and name != "__main__"
    ]
    assert "torch" not in loaded_modules("\n".join(f"import {name}" for name in names))


def test_the_architecture_page_has_the_floor_of_each_room():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert [row for row in floors_table().splitlines() if row not in page] == []
