"""Files from strangers: nothing in them runs, nothing is written outside the study, and what is
refused is refused by name.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from support.foreign_features import YAML, clam_files, pt_files, trident_file

from pathoml.cli import guarded, main
from pathoml.config import load_study
from pathoml.embedding.network import read_weights
from pathoml.errors import PathomlError
from pathoml.interop import clam, pt, trident
from pathoml.store.tables import MOST_COLUMNS, read_table
from pathoml.study.cohort import read_cohort
from pathoml.study.splits import read_splits
from pathoml.tiling.regions import read_regions
from pathoml.training.models import load_models

STUDY = "endpoint: {name: x, time_zero: x, time: t, event: e}\n"


class Touch:
    """Unpickled, it makes a file: what code of an attacker would do."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


@pytest.fixture
def touched(tmp_path: Path) -> Path:
    return tmp_path / "code-ran"


def home(folder: Path, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in {
        "study.yaml": YAML,
        **{k.replace("_", "."): v for k, v in files.items()},
    }.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def pickled(folder: Path, touched: Path, name: str) -> Path:
    path = folder / name
    path.write_bytes(pickle.dumps(Touch(touched)))
    return path


def torch_saved(folder: Path, content: object) -> Path:
    path = folder / "w.pth"
    torch.save(content, path)
    return path


def imported(module: object, folder: Path) -> object:
    study = home(
        folder / "home",
        slides_csv="slide_id,patient_id,path,mpp\nA1,A,,0.25\n",
        patients_csv="patient_id,centre,pfs_months,pfs_event\nA,north,12,1\n",
    )
    exchange = module.import_into(load_study(study), folder / "job")  # type: ignore[attr-defined]
    if exchange.failures:
        raise PathomlError("; ".join(exchange.failures.values()))
    return exchange


def torchscript(folder: Path) -> Path:
    path = folder / "w.pt"
    with warnings.catch_warnings(action="ignore"):
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(path))
    return path


def malicious(folder: Path, touched: Path) -> dict[str, object]:
    """Return name -> a function that reads a file with code in it, as pathoml would."""
    os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = (
        "1"  # turns torch's own default off; we say what we want explicitly
    )
    call = f"__import__('pathlib').Path({str(touched)!r}).touch()"
    yaml_call = (
        "!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path"
        f" [{str(touched)!r}]]"
    )
    return {
        "a pickle named .pt": lambda: read_weights(pickled(folder, touched, "w.pt")),
        "a pickle named .bin": lambda: read_weights(pickled(folder, touched, "pytorch_model.bin")),
        "a pickle named .safetensors": lambda: read_weights(
            pickled(folder, touched, "w.safetensors")
        ),
        "torch's zip with a call": lambda: read_weights(torch_saved(folder, {"a": Touch(touched)})),
        "a call beside tensors": lambda: read_weights(
            torch_saved(folder, {"w": torch.ones(2), "opt": Touch(touched)})
        ),
        "a TorchScript archive": lambda: read_weights(torchscript(folder)),
        "features of another tool": lambda: (
            pt_files(folder / "job").write_bytes(pickle.dumps(Touch(touched))),
            imported(pt, folder),
        ),
        "CLAM's .pt beside its h5": lambda: clam_pickle(folder, touched),
        "study.yaml with a call": lambda: load_study(
            home_with(folder, "study.yaml", STUDY + f"run: {yaml_call}\n")
        ),
        "study.yaml with python/name": lambda: load_study(
            home_with(folder, "study.yaml", STUDY + "run: !!python/name:os.system\n")
        ),
        "a plan with a call": lambda: planned(folder, yaml_call),
        "an override with a call": lambda: load_study(
            home_with(folder, "study.yaml", STUDY), [f"run={yaml_call}"]
        ),
        "JSON with code": lambda: read_splits(written(folder / "splits.json", f"[{call}]")),
        "GeoJSON with code": lambda: read_regions(written(folder / "S.geojson", call)),
        "an HDF5 array of pickled objects": lambda: objects_in_h5(folder, touched),
        "a workbook that is a pickle": lambda: read_table(
            pickled(folder, touched, "patients.xlsx")
        ),
    }


def home_with(folder: Path, name: str, text: str) -> Path:
    study = home(folder / "study")
    (study / name).write_text(text, encoding="utf-8")
    return study


def planned(folder: Path, yaml_call: str) -> object:
    from pathoml.evaluation.analysis_plan import read_analysis_plan

    study = home_with(folder, "analysis_plan.yaml", f"subgroups: [{yaml_call}]\n")
    stamp = subprocess.run(
        ["sha256sum", "analysis_plan.yaml"], cwd=study, capture_output=True, text=True, check=True
    ).stdout
    (study / "analysis_plan.sha256").write_text(stamp, encoding="utf-8")
    return read_analysis_plan(study)


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def clam_pickle(folder: Path, touched: Path) -> object:
    features = clam_files(folder / "job")
    target = features.parents[1] / "pt_files" / "A1.pt"
    target.parent.mkdir()
    target.write_bytes(pickle.dumps(Touch(touched)))
    features.unlink()
    return imported(clam, folder)


def objects_in_h5(folder: Path, touched: Path) -> object:
    path = trident_file(folder / "job")
    with h5py.File(path, "r+") as file:
        del file["features"]
        blob = np.void(pickle.dumps(Touch(touched)))
        file.create_dataset("features", data=np.array([blob, blob, blob]))
    return imported(trident, folder)


NAMES = tuple(malicious(Path("/nowhere"), Path("/nowhere/x")))


@pytest.mark.parametrize("name", NAMES)
def test_code_in_a_file_never_runs(
    tmp_path: Path, touched: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    with pytest.raises(PathomlError):
        malicious(tmp_path, touched)[name]()  # type: ignore[operator]
    assert not touched.exists()


def test_the_attack_would_work_on_a_careless_reader(touched: Path) -> None:
    pickle.loads(pickle.dumps(Touch(touched)))  # noqa: S301 - shows that the files above are what they claim to be
    assert touched.exists()


@pytest.mark.parametrize(
    "name",
    [
        "../../escaped",
        "a/b",
        "..",
        "a\nb",
        "a\x00b",
        "‮gpj.exe",
        "A" * 300,
        "-rf",
        "=cmd|' /C calc'!A0",
        "<script>",
        "C:\\x",
        "~root",
    ],
)
def test_a_slide_id_that_is_no_file_name_is_refused_and_nothing_is_written_outside(
    tmp_path: Path, name: str
) -> None:
    study = home_with(tmp_path, "study.yaml", STUDY)
    quoted = '"' + name.replace('"', '""') + '"'
    (study / "slides.csv").write_bytes(f"slide_id,patient_id,path\n{quoted},P1,x.svs\n".encode())
    (study / "patients.csv").write_text("patient_id,centre,t,e\nP1,north,3,1\n", encoding="utf-8")
    before = set(tmp_path.rglob("*"))
    with pytest.raises(PathomlError, match=r"slides\.csv"):
        read_cohort(load_study(study))
    assert guarded(lambda: main(["tile", str(study)])) == 2
    log = study / "logs"  # that the command was refused, and when
    assert set(tmp_path.rglob("*")) - before <= {log, log / "pathoml.log"}


@pytest.mark.parametrize("run", ["../outside", "/tmp/outside", "a/b", "..", "."])
def test_a_run_cannot_lie_outside_of_runs(tmp_path: Path, run: str) -> None:
    study = home_with(tmp_path, "study.yaml", STUDY)
    with pytest.raises(PathomlError, match="run"):
        load_study(study, [f"run={run}"])


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside", ".."])
def test_a_bundle_cannot_be_locked_outside_of_bundles(tmp_path: Path, name: str) -> None:
    study = home_with(tmp_path, "study.yaml", STUDY)
    assert guarded(lambda: main(["lock", str(study), "--name", name])) == 2
    assert not (study.parent / "outside").exists()


def test_a_million_columns_are_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "patients.csv"
    path.write_text(",".join(f"c{i}" for i in range(10**6)) + "\n1\n", encoding="utf-8")
    with pytest.raises(
        PathomlError, match=rf"patients\.csv has 1000000 columns, at most {MOST_COLUMNS}"
    ):
        read_table(path)


@pytest.mark.parametrize(
    "text", ['{"a": 1, "a": 2}', '{"a": NaN}', '{"a": Infinity}', "[" * 100_000]
)
def test_json_with_a_key_twice_or_numbers_that_are_none_is_refused(
    tmp_path: Path, text: str
) -> None:
    from pathoml.store.files import read_json

    with pytest.raises(PathomlError, match=r"x\.json is not readable JSON"):
        read_json(written(tmp_path / "x.json", text))


def test_an_index_of_models_reads_no_file_outside_its_folder(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    from pathoml.store.files import sha256_of_file

    save_file({"secret": torch.ones(1)}, tmp_path / "secret.safetensors")
    models = tmp_path / "models"
    models.mkdir()
    entry = {
        "file": "../secret.safetensors",
        "sha256": sha256_of_file(tmp_path / "secret.safetensors"),
    }
    head = {"name": "abmil", "in_dim": 4, "hidden": 4, "dropout": 0.0}
    (models / "models.json").write_text(
        json.dumps({"head": head, "models": [entry]}), encoding="utf-8"
    )
    with pytest.raises(
        PathomlError, match=r"secret\.safetensors is missing or was changed|does not describe"
    ):
        load_models(models, torch.device("cpu"))


def test_weights_that_are_nan_or_absurd_fail_by_name(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(2), "step": 3}, tmp_path / "w.pt")
    with pytest.raises(PathomlError, match=r"w\.pt does not hold a state dict"):
        read_weights(tmp_path / "w.pt")
    header = json.dumps(
        {"w": {"dtype": "F32", "shape": [10**9, 10**9], "data_offsets": [0, 4]}}
    ).encode()
    (tmp_path / "w.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(PathomlError, match=r"w\.safetensors is torn or no safetensors"):
        read_weights(tmp_path / "w.safetensors")


def test_a_workbook_that_unpacks_to_gigabytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "patients.xlsx"
    import openpyxl

    openpyxl.Workbook().save(path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            if name.startswith("xl/worksheets/sheet"):
                with archive.open(name, "w", force_zip64=True) as sheet:
                    sheet.write(content[: content.index(b"<sheetData")] + b"<sheetData><row><c><v>")
                    for _ in range(300):
                        sheet.write(b"9" * 10**6)
                    sheet.write(b"</v></c></row></sheetData></worksheet>")
            else:
                archive.writestr(name, content)
    assert path.stat().st_size < 10**6
    with pytest.raises(PathomlError, match=r"patients\.xlsx"):
        read_table(path)


@pytest.mark.ci
def test_300_damaged_files_of_every_kind_are_read_or_refused_by_name() -> None:
    seed = os.environ.get("PATHOML_FUZZ_SEED", "1")
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{root}:{root / 'tests'}"}
    command = [
        sys.executable,
        str(root / "tests" / "support" / "fuzzing.py"),
        "--cases",
        "300",
        "--seed",
        seed,
    ]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
