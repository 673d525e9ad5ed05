"""A plug-in of each kind that an installed package offers works as a file of the folder does; a
broken one stops nobody but whoever asks for it.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from pathoml.cli import doctor
from pathoml.cli.check import run as check
from pathoml.cli.console import Console
from pathoml.cli.export import run as run_export
from pathoml.config import load_study
from pathoml.embedding.network import load_encoder
from pathoml.encoders.finding import find_encoder
from pathoml.errors import ConfigError
from pathoml.plugins import load_plugin, names_with, plugin_names
from pathoml.slides.reading import open_slide
from pathoml.training.model_stack import HeadSpec

KINDS = {
    "pathoml.encoders": ("ENCODER", "example_tiny"),
    "pathoml.mil": ("Head", "example_mean"),
    "pathoml.slides.readers": ("open_slide", "example_npy"),
    "pathoml.interop": ("export_to", "example_run"),
    "pathoml.engines": ("map_items", "example_spawn"),
}
MINIMAL = "endpoint: {name: x, time_zero: y, time: t, event: e}\n"


def elsewhere(folder: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run Python in another process, in a working directory, with a folder of packages."""
    here = [str(folder), *(p for p in sys.path if Path(p, "pathoml").is_dir())]
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(here)},
        capture_output=True,
        text=True,
        check=False,
    )


def offer(folder: Path, group: str, line: str) -> None:
    """Add an entry point to the example's."""
    path = folder / "example_plugin-1.0.dist-info" / "entry_points.txt"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(f"[{group}]\n", f"[{group}]\n{line}\n"), encoding="utf-8")


@pytest.mark.parametrize("package", KINDS)
def test_an_entry_point_is_one_of_the_plug_ins_of_its_kind(installed_example, package):
    attribute, name = KINDS[package]
    assert name in plugin_names(package)
    assert name in names_with(package, attribute)
    module = load_plugin(package, name, attribute)
    assert Path(module.__file__).is_relative_to(installed_example)


@pytest.mark.parametrize("package", KINDS)
def test_a_file_dropped_into_each_folder_is_found(drop_in, package):
    attribute, _ = KINDS[package]
    extra = "def detect_format(path): return False\n" if attribute == "open_slide" else ""
    drop_in(package, "ours", f"{attribute} = None\n{extra}")
    assert "ours" in names_with(package, attribute)


def test_an_encoder_from_outside_embeds_with_the_weights_of_its_package(installed_example):
    network = timm.create_model("test_vit", num_classes=0)
    save_file(network.state_dict(), installed_example / "example_plugin" / "tiny.safetensors")
    encoder = find_encoder("example_tiny")
    importlib.invalidate_caches()
    model, _ = load_encoder("example_tiny")
    tiles = torch.zeros(2, encoder.tile_px, encoder.tile_px, 3, dtype=torch.uint8)
    with torch.inference_mode():
        assert tuple(model(tiles).shape) == (2, encoder.dim)


@pytest.mark.usefixtures("installed_example")
def test_a_head_from_outside_is_built_by_its_name():
    spec = HeadSpec(head="example_mean", in_dim=6, hidden=4, dropout=0.0)
    assert type(spec.build()).__module__ == "example_plugin.head"
    assert spec.as_written() == {"head": "example_mean", "in_dim": 6, "hidden": 4, "dropout": 0.0}


@pytest.mark.usefixtures("installed_example")
def test_a_reader_from_outside_opens_its_slides(tmp_path):
    picture = np.random.default_rng(1).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    np.save(tmp_path / "s.npy", picture)
    with open_slide(tmp_path / "s.npy") as slide:
        assert (slide.size_l0, slide.vendor) == ((12, 9), "example")
        assert (slide.read_region((2, 1), 0, (5, 4)) == picture[1:5, 2:7]).all()


@pytest.mark.usefixtures("installed_example")
def test_the_verb_export_knows_a_format_from_outside(tmp_path):
    (tmp_path / "study.yaml").write_text(MINIMAL)
    assert run_export(load_study(tmp_path), "example_run", tmp_path / "out", console=Console()) == 0
    assert (tmp_path / "out" / "run.txt").read_text() == "main"


def test_a_spawned_worker_of_an_engine_from_outside_finds_plug_ins_too(installed_example, tmp_path):
    (tmp_path / "program.py").write_text(
        "from pathoml.plugins import load_plugin, plugin_names\n"
        "if __name__ == '__main__':\n"
        "    engine = load_plugin('pathoml.engines', 'example_spawn', 'map_items')\n"
        "    items = [(p, p) for p in ('pathoml.interop', 'pathoml.engines')]\n"
        "    for _, names in engine.map_items(plugin_names, items, workers=2): print(names)\n"
    )
    done = elsewhere(installed_example, "program.py", cwd=tmp_path)
    assert "example_run" in done.stdout, done.stderr
    assert "example_spawn" in done.stdout


def test_a_name_that_a_file_and_an_entry_point_have_is_refused_with_both(installed_example):
    offer(installed_example, "pathoml.engines", "local = example_plugin.engine")
    with pytest.raises(
        ConfigError,
        match=(
            r"'local' is both pathoml/engines/local\.py and an entry point of example-plugin 1\.0"
        ),
    ):
        load_plugin("pathoml.engines", "local", "map_items")


def test_a_broken_plug_in_is_a_sentence_for_who_asks_and_nothing_to_others(installed_example):
    offer(installed_example, "pathoml.mil", "torn = example_plugin.torn")
    (installed_example / "example_plugin" / "torn.py").write_text("import no_such_thing\n")
    assert "torn" not in names_with("pathoml.mil", "Head")
    load_plugin("pathoml.mil", "abmil", "Head")
    with pytest.raises(
        ConfigError,
        match=r"plug-in 'torn' of example-plugin 1\.0 cannot be used \(ModuleNotFoundError: .*"
        r"no_such_thing.*pip uninstall example-plugin",
    ):
        load_plugin("pathoml.mil", "torn", "Head")


def test_an_entry_point_that_is_no_module_is_a_sentence(installed_example):
    offer(installed_example, "pathoml.mil", "aslant = example_plugin.head:Head")
    with pytest.raises(ConfigError, match="must be a module"):
        load_plugin("pathoml.mil", "aslant", "Head")


def test_the_doctor_lists_plug_ins_and_what_is_wrong_with_them(installed_example):
    offer(installed_example, "pathoml.mil", "lost = example_plugin.lost")
    offer(installed_example, "pathoml.engines", "local = example_plugin.engine")
    said = [finding.line for finding in doctor._plugins()]
    assert "ok      plug-in example_tiny (pathoml.encoders) of example-plugin 1.0" in said
    assert any(s.startswith("NOTE    plug-in lost") and "ModuleNotFoundError" in s for s in said)
    assert any(s.startswith("NOTE    plug-in local") and "is both" in s for s in said)


def test_a_package_that_lies_in_the_working_directory_is_not_installed(installed_example, tmp_path):
    code = "from pathoml.plugins import plugin_names; print(plugin_names('pathoml.mil'))"
    done = elsewhere(tmp_path, "-c", code, cwd=installed_example)
    assert "abmil" in done.stdout, done.stderr
    assert "example_mean" not in done.stdout


def test_help_looks_through_no_installed_packages(tmp_path):
    code = (
        "import sys\nfrom pathoml.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "from pathoml import plugins\nprint('looked', plugins._entry_points.cache_info().misses)\n"
    )
    done = elsewhere(tmp_path, "-c", code, cwd=tmp_path)
    assert "looked 0" in done.stdout, done.stderr


@pytest.mark.usefixtures("installed_example")
def test_a_wrong_head_from_outside_is_found_by_check(tmp_path):
    (tmp_path / "study.yaml").write_text(MINIMAL + "train: {head: example_men}\n")
    with pytest.raises(ConfigError, match="Did you mean 'example_mean'"):
        check(load_study(tmp_path), Console())
