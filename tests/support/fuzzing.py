"""Damage every kind of file that people hand to pathoml, and see that it is read, or refused by
name: `python fuzzing.py --help`.

Each case takes a good file, changes it in one to four places, and reads it as the program would.
What may come back is a result or a PathomlError that names the file; anything else, and a crash or
a hang of the process, is a finding. The case is printed before it runs, so that the last line of a
process that died says which it was.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from support.foreign_features import YAML, clam_files, pt_files, stamp_file, trident_file
from support.learning import planted_cohort, write_study

from pathoml.bundles.locking import lock
from pathoml.bundles.opening import open_bundle, refuse_other_input
from pathoml.config import load_study
from pathoml.discovery.spots import read_spots
from pathoml.embedding.network import read_weights
from pathoml.errors import PathomlError
from pathoml.explanation.step import explain_study
from pathoml.interop import clam, pt, stamp, trident
from pathoml.interop.scores import import_into
from pathoml.store import foreign
from pathoml.store.embeddings import read_embeddings
from pathoml.store.maps import read_attention
from pathoml.store.packs import pack_folder
from pathoml.store.tables import read_table
from pathoml.study.cohort import read_cohort
from pathoml.study.split_files import read_foreign_splits
from pathoml.study.splits import read_splits
from pathoml.tiling.regions import read_regions
from pathoml.training.models import load_models
from pathoml.training.step import train_study

SECONDS = 20
NASTY = [
    b"=cmd|'/C calc'!A0", b"@SUM(1)", b"../../../etc/passwd", b"\x00", b"\xe2\x80\xaetxt.exe",
    b"NaN", b"Infinity", b"-1e999", b"1e-400", b"!!python/object/apply:os.system [id]", b"*a",
    b"&a [*a]", b"{", b"[" * 3000, b'"', b"'", b",", b";", b"\n", b"\r", b"\xef\xbb\xbf",
    b"\xff\xfe", b"A" * 70_000, b"9" * 5000, b"1_000", b"0x1F", b"true", b"null",
    b"\xf0\x9f\x92\x89", b"<script>alert(1)</script>",
]  # fmt: skip


@dataclass(frozen=True)
class Target:
    """A kind of file, and how it is read."""

    path: Path  # a good one
    read: Callable[
        [Path], object
    ]  # given the folder that holds the damaged copy of the good file's folder
    named: tuple[str, ...]  # one of these is in the error


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Return the content changed in one to four places."""
    raw = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(raw) + 1)
        kind = rng.random()
        if kind < 0.3 and raw:
            raw[min(place, len(raw) - 1)] ^= 1 << rng.randrange(8)
        elif kind < 0.45:
            raw[place : place + rng.randint(1, 64)] = b""
        elif kind < 0.55:
            del raw[place:]
        elif kind < 0.65:
            raw[place:place] = raw[max(0, place - rng.randint(1, 2000)) : place]
        elif kind < 0.8:
            raw[place : place + 8] = rng.choice([bytes(8), b"\xff" * 8, rng.randbytes(8)])
        else:
            raw[place:place] = rng.choice(NASTY)
    return bytes(raw)


def targets(folder: Path) -> dict[str, Target]:
    """Write a good file of each kind below a folder."""
    cohort, bags, _ = planted_cohort(12)
    study = write_study(folder / "study", cohort, bags)
    study = load_study(
        study.folder, ["train.epochs=1", "train.seeds=1", "train.nested=false", "splits.repeats=1"]
    )
    train_study(study)
    explain_study(study)
    lock(study, "locked")
    embeddings = next((study.folder / "embeddings").glob("*/*.h5"))
    packed = folder / "packed" / "e"
    packed.mkdir(parents=True)
    shutil.copy(embeddings, packed / embeddings.name)
    list(pack_folder(packed, 10**9))
    square = {
        "type": "Polygon",
        "coordinates": [
            [[0, 0], [90, 0], [90, 90], [0, 90], [0, 0]],
            [[9, 9], [20, 9], [20, 20], [9, 9]],
        ],
    }
    feature = {
        "type": "Feature",
        "geometry": square,
        "properties": {"classification": {"name": "Ignore*"}},
    }
    areas = write(
        folder / "regions" / "S.geojson",
        json.dumps({"type": "FeatureCollection", "features": [feature]}),
    )
    rows = [f"{s.slide_id},{i % 2 == 0},False,{i % 2 == 1}" for i, s in enumerate(cohort.slides)]
    clam_splits = write(
        folder / "clam_splits" / "splits_0_bool.csv", "\n".join([",train,val,test", *rows]) + "\n"
    )
    scored = write_study(folder / "scored", cohort, [])
    scores = write(
        scored.folder / "in" / "scores.csv",
        "patient_id,score\n" + "".join(f"P{i},{i / 7:.3f}\n" for i in range(12)),
    )
    weights = {"conv.weight": torch.randn(4, 3, 3, 3), "conv.bias": torch.zeros(4)}
    (folder / "weights").mkdir()
    torch.save(weights, folder / "weights" / "w.pt")
    foreign = {}
    for name, make in (
        ("trident", trident_file),
        ("clam", clam_files),
        ("stamp", stamp_file),
        ("pt", pt_files),
    ):
        home = folder / name
        home.mkdir()
        (home / "study.yaml").write_text(YAML)
        (home / "slides.csv").write_text("slide_id,patient_id,path,mpp\nA1,A,,0.25\n")
        (home / "patients.csv").write_text("patient_id,centre,pfs_months,pfs_event\nA,north,12,1\n")
        foreign[name] = make(home / "job")
    model = next((study.run_folder / "models").glob("*.safetensors"))
    attention = next((study.run_folder / "attention").glob("*.h5"))
    names = (str(embeddings.stem),)
    found = {
        "study.yaml": Target(study.folder / "study.yaml", lambda f: load_study(f), ("study.yaml",)),
        "patients.csv": Target(
            study.folder / "patients.csv",
            lambda f: read_cohort(load_study(f)),
            ("patients.csv", "patient", "Patient"),
        ),
        "slides.csv": Target(
            study.folder / "slides.csv",
            lambda f: read_cohort(load_study(f)),
            ("slides.csv", "patients.csv", "slide"),
        ),
        "table.xlsx": Target(
            workbook(folder / "book" / "table.xlsx"),
            lambda f: read_table(f / "table.xlsx"),
            ("table.xlsx",),
        ),
        "regions": Target(areas, lambda f: read_regions(f / "S.geojson"), ("S.geojson",)),
        "splits.json": Target(
            study.run_folder / "splits.json",
            lambda f: read_splits(f / "splits.json"),
            ("splits.json",),
        ),
        "CLAM splits": Target(
            clam_splits,
            lambda f: read_foreign_splits(f, cohort),
            ("splits_0_bool.csv", "splits", "patient"),
        ),
        "scores": Target(
            scores,
            lambda f: import_into(load_study(scored.folder), f / "scores.csv"),
            ("scores.csv", "score", "atient"),
        ),
        "embeddings": Target(embeddings, lambda f: read_embeddings(f / embeddings.name), names),
        "pack": Target(
            packed / "pack-00001.zip",
            lambda f: read_embeddings(f / embeddings.name),
            ("pack-00001.zip", *names),
        ),
        "attention": Target(
            attention, lambda f: read_attention(f / attention.name), (attention.stem,)
        ),
        "models.json": Target(
            study.run_folder / "models" / "models.json",
            lambda f: load_models(f, torch.device("cpu")),
            ("models", ".safetensors"),
        ),
        "a model": Target(model, lambda f: load_models(f, torch.device("cpu")), (model.name,)),
        "bundle.json": Target(
            study.folder / "bundles" / "locked" / "bundle.json", read_bundle, ("bundle",)
        ),
        "weights.pt": Target(
            folder / "weights" / "w.pt", lambda f: read_weights(f / "w.pt"), ("w.pt",)
        ),
        "trident": Target(foreign["trident"], lambda _: None, ("A1",)),
        "clam": Target(foreign["clam"], lambda _: None, ("A1",)),
        "stamp": Target(foreign["stamp"], lambda _: None, ("A1",)),
        "pt": Target(foreign["pt"], lambda _: None, ("A1",)),
        "spots": Target(
            spots(folder / "spots" / "s.h5ad"), lambda f: read_spots(f / "s.h5ad"), ("s.h5ad",)
        ),
    }
    for name, module in (("trident", trident), ("clam", clam), ("stamp", stamp), ("pt", pt)):
        found[name] = Target(
            foreign[name], importer(module, folder / name, foreign[name]), ("A1", "features", name)
        )
    return found


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def workbook(path: Path) -> Path:
    import openpyxl

    path.parent.mkdir(parents=True)
    book = openpyxl.Workbook()
    for row in (["patient_id", "age"], ["P1", 60], ["P2", 61.5]):
        book.active.append(row)
    book.save(path)
    return path


def spots(path: Path) -> Path:
    import anndata
    import pandas as pd

    path.parent.mkdir(parents=True)
    data = anndata.AnnData(
        np.ones((5, 3)), pd.DataFrame(index=list("abcde")), pd.DataFrame(index=list("xyz"))
    )
    data.obsm["spatial"] = np.zeros((5, 2))
    data.write_h5ad(path)
    return path


def read_bundle(folder: Path) -> object:
    bundle = open_bundle(folder)
    refuse_other_input(bundle, bundle["input"])
    return load_models(folder / "models", torch.device("cpu"))


def importer(module: object, home: Path, good: Path) -> Callable[[Path], object]:
    def read(folder: Path) -> object:
        shutil.copy(folder / good.name, good)
        return module.import_into(load_study(home), home / "job")  # type: ignore[attr-defined]

    return read


def try_case(target: Target, content: bytes, folder: Path) -> str:
    """Return what was found, "" if the file was read or refused as it should be."""
    place = folder / "case"
    shutil.rmtree(place, ignore_errors=True)
    if (
        target.path.stat().st_size
        + sum(p.stat().st_size for p in target.path.parent.iterdir() if p.is_file())
        < 10**7
    ):
        shutil.copytree(target.path.parent, place)
    place.mkdir(exist_ok=True)
    (place / target.path.name).write_bytes(content)
    signal.alarm(SECONDS)
    try:
        target.read(place)
    except PathomlError as error:
        return (
            ""
            if any(word in str(error) for word in target.named)
            else f"names no file: {str(error)[:500]}"
        )
    except TimeoutError:
        return "hangs"
    except Exception:  # noqa: BLE001 - the findings
        return "".join(traceback.format_exc().splitlines(keepends=True)[-6:])[:1500]
    finally:
        signal.alarm(0)
    return ""


def timed_out(*_: object) -> None:
    raise TimeoutError


def run(cases: int, seed: int, only: str, keep: Path | None) -> int:
    """Try that many cases over all kinds by turns, print each and what was found; return how many
    findings there are.
    """
    signal.signal(signal.SIGALRM, timed_out)
    foreign.HDF5_SECONDS = SECONDS / 4
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        kinds = {name: t for name, t in targets(folder).items() if not only or name == only}
        good = {name: t.path.read_bytes() for name, t in kinds.items()}
        findings = 0
        for number in range(cases):
            name = list(kinds)[number % len(kinds)]
            content = damaged(good[name], random.Random(f"{seed}/{number}"))
            sys.stdout.write(f"\r{name} {seed}/{number} ")
            sys.stdout.flush()
            found = try_case(kinds[name], content, folder)
            kinds[name].path.write_bytes(good[name])
            if found:
                findings += 1
                sys.stdout.write(f"\nFOUND {name} {seed}/{number}: {found}\n")
                if keep is not None:
                    keep.mkdir(parents=True, exist_ok=True)
                    (keep / f"{name}-{seed}-{number}".replace(" ", "_")).write_bytes(content)
        sys.stdout.write(f"\n{cases} cases, {findings} findings\n")
    return findings


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--only", default="", help="one kind of file")
    parser.add_argument("--keep", type=Path, help="folder for the files that were findings")
    args = parser.parse_args()
    sys.exit(min(1, run(args.cases, args.seed, args.only, args.keep)))


if __name__ == "__main__":
    main()
