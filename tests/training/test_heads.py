"""A head by name, by module or by file: found again by every step, named with the hash of its
source, and never taken from a folder where it merely lies.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.learning import planted_cohort, write_study
from torch import nn

from pathoml.bundles.locking import lock
from pathoml.cli.check import run as check
from pathoml.cli.console import Console
from pathoml.config import Study, load_study
from pathoml.errors import ConfigError, StoreError
from pathoml.evaluation.kept_blocks import Block, work
from pathoml.evaluation.permutation_blocks import PERMUTATIONS, read_blocks, repeated_validation
from pathoml.store.files import sha256_of_file
from pathoml.study.cohort import read_cohort
from pathoml.training.heads import find_head, is_installed, is_reference, source_sha256
from pathoml.training.model_stack import HeadSpec
from pathoml.training.models import load_models
from pathoml.training.recipe import train_recipe
from pathoml.training.run import load_run
from pathoml.training.step import train_study

CODE = (Path(__file__).parents[1] / "support/example_plugin/example_plugin/head.py").read_text()
QUICK = (
    "train.epochs=1", "train.seeds=1", "train.nested=false", "train.projection=4",
    "splits.folds=2", "splits.repeats=1", "significance.permutations=1",
)  # fmt: skip
OURS = "./ours.py:Head"


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that is embedded, with a head of its own beside study.yaml."""
    cohort, bags, _ = planted_cohort(24)
    folder = write_study(tmp_path_factory.mktemp("study"), cohort, bags).folder
    (folder / "ours.py").write_text(CODE)
    return folder


def with_head(folder: Path, head: str, run: str = "main") -> Study:
    return load_study(folder, [*QUICK, f"train.head={head}", f"run={run}"])


@pytest.fixture(scope="module")
def trained(embedded: Path) -> Study:
    study = with_head(embedded, OURS)
    train_study(study)
    return study


@pytest.fixture
def our_file(embedded: Path):
    """The head's file, as it was again after the test."""
    yield embedded / "ours.py"
    (embedded / "ours.py").write_text(CODE)


def test_a_head_of_a_file_beside_the_study_is_trained_and_read_again(trained: Study):
    run = load_run(trained)
    assert type(run.stack.head.head).__qualname__ == "Head"
    assert run.raw.shape == (2, 24)


def test_a_run_says_which_source_its_head_had(trained: Study):
    expected = sha256_of_file(trained.folder / "ours.py")
    models = json.loads((trained.run_folder / "models/models.json").read_text())
    steps = json.loads((trained.run_folder / "provenance.json").read_text())["steps"]
    assert (models["head"]["head"], models["head"]["source_sha256"]) == (OURS, expected)
    assert steps["train"]["inputs"]["train"]["head"] == OURS
    assert steps["train"]["inputs"]["head_source_sha256"] == expected
    assert str(trained.folder) not in json.dumps([models, steps])


def test_permutations_in_a_worker_find_the_head_of_the_study(trained: Study):
    read = Study.model_validate_json(trained.model_dump_json())
    block = Block(kind=PERMUTATIONS, study=read, block=range(1), threads=1)
    work(block)
    assert len(read_blocks(trained, repeated_validation(trained, load_run(trained))[0])) == 1


def test_another_source_makes_the_training_stale(trained: Study, our_file: Path):
    before = train_recipe(trained, read_cohort(trained))
    our_file.write_text(CODE + "# changed\n")
    assert train_recipe(trained, read_cohort(trained)) != before
    with pytest.raises(StoreError, match="Run `pathoml train`, or"):
        load_run(trained)
    with pytest.raises(StoreError, match="its source changed"):
        load_models(trained.run_folder / "models", torch.device("cpu"), train=trained.config.train)


def test_the_recipe_of_a_named_head_holds_no_source(embedded: Path):
    study = with_head(embedded, "abmil")
    assert "head_source_sha256" not in train_recipe(study, read_cohort(study)).inputs
    assert source_sha256("abmil") == ""


def test_models_of_a_file_are_not_built_for_whoever_did_not_name_it(trained: Study):
    for train in (None, with_head(trained.folder, "abmil").config.train):
        with pytest.raises(StoreError, match="its code is not run"):
            load_models(trained.run_folder / "models", torch.device("cpu"), train=train)


def test_a_run_with_the_head_of_a_file_cannot_be_locked(trained: Study):
    with pytest.raises(ConfigError, match="Put it into a package with an entry point"):
        lock(trained, "ours")
    assert not (trained.folder / "bundles").exists()


@pytest.mark.usefixtures("installed_example")
def test_a_run_with_the_class_of_an_installed_package_can_be_locked(embedded: Path):
    study = with_head(embedded, "example_plugin.head:Narrow", "narrow")
    train_study(study)
    models = lock(study, "narrow") / "models"
    stack, _, _ = load_models(models, torch.device("cpu"))
    assert stack.spec.head == "example_plugin.head:Narrow"


def test_a_class_that_is_given_is_built_and_named_by_where_it_lies():
    spec = HeadSpec.of(nn.Identity, in_dim=3, hidden=4, dropout=0.0)
    assert spec.head == "torch.nn.modules.linear:Identity"
    assert isinstance(spec.build(), nn.Identity)


class Notebook(nn.Module):
    """Stands for a class of a notebook."""

    def __init__(self, in_dim: int, *, dropout: float) -> None:
        super().__init__()
        self.sizes = (in_dim, dropout)


def test_a_class_of_the_running_program_has_a_hash_and_cannot_be_locked(monkeypatch):
    main = sys.modules["__main__"]
    monkeypatch.setattr(Notebook, "__module__", "__main__")
    monkeypatch.setattr(main, "Notebook", Notebook, raising=False)
    spec = HeadSpec.of(Notebook, in_dim=3, hidden=4, dropout=0.5)
    assert spec.build().sizes == (3, 0.5)
    first = spec.as_written()
    assert (first["head"], len(first["source_sha256"])) == ("__main__:Notebook", 64)
    monkeypatch.setattr(Notebook, "forward", lambda *_: None)
    assert spec.as_written() != first
    assert not is_installed(spec.head)


def test_a_class_made_in_a_function_is_refused():
    class Local(nn.Module): ...

    with pytest.raises(ConfigError, match="made inside a function"):
        HeadSpec.of(Local, in_dim=3, hidden=4, dropout=0.0)


@pytest.mark.usefixtures("installed_example")
def test_a_constructor_that_asks_for_what_nobody_gives_is_refused():
    spec = HeadSpec(head="example_plugin.head:Greedy", in_dim=3, hidden=4, dropout=0.0)
    with pytest.raises(ConfigError, match="asks for classes"):
        spec.build()


@pytest.mark.parametrize(
    ("head", "sentence"),
    [
        ("abmill", r"is not one of pathoml/mil/.* Did you mean 'abmil'\?"),
        ("./our.py:Head", r"our\.py is no Python file\. Did you mean '\./ours\.py'\?"),
        ("./ours.py:Haed", r"has no class 'Haed' .* Did you mean 'Head'\?"),
        ("./ours.py:Tensor", "no class 'Tensor' that is a torch.nn.Module"),
        ("./ours.py", "lacks the class"),
        ("ours.py:Head", r"Did you mean '\./ours\.py:Head'\?"),
        ("./study.yaml:Head", "is no Python file"),
        ("example_plugn.head:Head", r"No module named .* Did you mean 'example_plugin'\?"),
        ("example_plugin.haed:Head", r"No module named .* Did you mean 'head'\?"),
        ("example_plugin.head:Nrrow", r"Did you mean 'Narrow'\?"),
        ("os:system", "no class 'system' that is a torch.nn.Module"),
        ("example_plugin.head:1st", "lacks the class"),
    ],
)
@pytest.mark.usefixtures("installed_example")
def test_check_refuses_a_wrong_head_in_one_sentence(embedded: Path, head: str, sentence: str):
    with pytest.raises(ConfigError, match=sentence) as refusal:
        check(with_head(embedded, head), Console())
    assert "\n" not in str(refusal.value)


def test_a_file_that_cannot_be_run_is_a_sentence(our_file: Path, embedded: Path):
    our_file.write_text("def torn(:\n")
    with pytest.raises(ConfigError, match=r"ours\.py:Head': it cannot be run \(SyntaxError"):
        find_head(OURS, embedded)


def test_a_file_is_run_as_its_text_says_and_nothing_is_left_beside_it(embedded: Path):
    path = list(sys.path)
    first = find_head(OURS, embedded)
    assert first is find_head(OURS, embedded)
    assert sys.path == path
    assert not list(embedded.rglob("__pycache__"))


@pytest.mark.parametrize("start", ["-m pathoml", "script"])
def test_a_module_of_the_working_directory_or_the_study_is_not_run(
    embedded: Path, tmp_path: Path, start: str
):
    lure = "from pathlib import Path\nPath('lured').touch()\n" + CODE
    for folder in (embedded, tmp_path):
        (folder / "nearby.py").write_text(lure)
    (tmp_path / "started").mkdir()
    (tmp_path / "started" / "pathoml").write_text("from pathoml.cli import main\nmain()\n")
    here = [p for p in sys.path if Path(p, "pathoml").is_dir()]
    program = ["-m", "pathoml"] if start == "-m pathoml" else [str(tmp_path / "started/pathoml")]
    arguments = ["check", str(embedded), "--set", "train.head=nearby:Head"]
    for folder in (embedded, tmp_path):
        done = subprocess.run(
            [sys.executable, *program, *arguments],
            cwd=folder, env={**os.environ, "PYTHONPATH": os.pathsep.join(here)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, (folder / "lured").exists()) == (2, False), done.stderr
        said = done.stdout + done.stderr
        assert "is not an installed module" in said or "No module named 'nearby'" in said
    (embedded / "nearby.py").unlink()


def test_names_are_no_references():
    assert [is_reference(h) for h in ("abmil", "my-head", "a.b:C", "./a.py:C", "./a.py")] == [
        False, False, True, True, True,
    ]  # fmt: skip
