"""Embedding by several processes and by Ray, against one process: `python benchmarks/engines.py
FOLDER`.

The demo's slides are drawn once into FOLDER. Each way embeds all of them; ways take turns, medians
of ROUNDS rounds; a process has one core (one thread that reads and computes in turn), so that two
have two. Seconds are those of the whole command, its start included; rates are also given without
it: less the seconds of the same command over a study of which FEW slides are left to do.
`--reading` takes a network of next to no cost in the encoder's place, so that reading the slides is
what is measured: the package is copied into FOLDER with one file more in encoders/, and its random
weights lie in FOLDER/checkpoints.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from pathoml.synthetic.cohort import write_cohort

ROUNDS = 3
FEW = 2  # slides left to do: what a command costs before it embeds
ONE = ["compute.threads=1", "compute.workers=1", "compute.encoders=1"]
TWO = ["compute.threads=1", "compute.workers=2", "compute.encoders=2"]
WAYS = {"one process": ONE, "two processes": TWO, "ray, two cores": [*TWO, "compute.engine=ray"]}


CHEAP = """\"\"\"One block over 49 patches, a fifth of the time of reading its tile.\"\"\"

from pathoml.types import Encoder

ENCODER = Encoder(
    timm_name="test_vit", kwargs={"patch_size": 32, "depth": 1, "img_size": 224},
    hub="none/none", dim=64, tile_px=224, mpp=0.5,
    mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), parameters=0, licence="none", source="timm",
)
"""


def seconds(folder: Path, settings: list[str], slides: int | None = None) -> float:
    """Return the wall time of embedding the whole study afresh, or the given number of slides that
    it lacks.
    """
    study = folder / "study"
    if slides is None:
        shutil.rmtree(study / "embeddings", ignore_errors=True)
    else:
        for path in sorted(study.glob("embeddings/*/*.h5"))[:slides]:
            path.unlink()
    overrides = [part for setting in settings for part in ("--set", setting)]
    begun = time.monotonic()
    command = [sys.executable, "-m", "pathoml", "embed", str(study.resolve()), *overrides]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder)
    return time.monotonic() - begun


def add_cheap_encoder(folder: Path) -> None:
    """Make FOLDER the place from which pathoml is imported, with an encoder that costs nothing."""
    import timm
    from safetensors.torch import save_file

    import pathoml

    shutil.copytree(
        Path(pathoml.__file__).parent,
        folder / "pathoml",
        dirs_exist_ok=True,
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    (folder / "pathoml" / "encoders" / "cheap.py").write_text(CHEAP, encoding="utf-8")
    (folder / "checkpoints").mkdir(exist_ok=True)
    network = timm.create_model("test_vit", num_classes=0, patch_size=32, depth=1, img_size=224)
    save_file(network.state_dict(), folder / "checkpoints" / "cheap.safetensors")
    os.environ["PYTHONPATH"] = str(folder.resolve())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--patients", type=int, default=60)
    parser.add_argument(
        "--reading", action="store_true", help="a network of next to no cost: bound by reading"
    )
    parser.add_argument("--no-ray", action="store_true", help="one and two local processes only")
    args = parser.parse_args()
    ways = {way: settings for way, settings in WAYS.items() if not (args.no_ray and "ray" in way)}
    study = args.folder / "study"
    if not (study / "study.yaml").exists():
        write_cohort(study, patients=args.patients, seed=1)
        subprocess.run(
            [sys.executable, "-m", "pathoml", "tile", str(study)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
    extra = []
    if args.reading:
        add_cheap_encoder(args.folder)
        extra = ["encoder=cheap"]
    measured: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(ROUNDS):
        for way, settings in ways.items():
            measured[way].append(seconds(args.folder, [*settings, *extra]))
            print(f"round {number + 1}, {way}: {measured[way][-1]:.1f} s", flush=True)
    start = {
        way: min(seconds(args.folder, [*settings, *extra], FEW) for _ in range(2))
        for way, settings in ways.items()
    }
    print("with", FEW, "slides to do:", {way: f"{value:.1f} s" for way, value in start.items()})
    median = {way: statistics.median(values) for way, values in measured.items()}
    one, two = (np.array(measured[way]) - start[way] for way in ("one process", "two processes"))
    print(
        f"rates without the start: two processes {statistics.median(one / two):.2f} times one, by"
        f" pairs {np.round(one / two, 2)}"
    )
    print(
        f"two processes: {median['one process'] / median['two processes']:.2f} times the rate"
        " of one"
    )
    if args.no_ray:
        return
    print(
        f"ray: {median['ray, two cores'] / median['two processes']:.2f} times the seconds of two"
        " local processes"
    )


if __name__ == "__main__":
    main()
