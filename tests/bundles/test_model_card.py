"""The model card says what the run knows, leaves open what only people know, and changes nothing of
the bundle's hashes.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from support.learning import planted_cohort, write_study

from pathoml.bundles.locking import lock
from pathoml.bundles.opening import open_bundle
from pathoml.config import Study, load_study
from pathoml.errors import StoreError
from pathoml.store.files import write_json
from pathoml.training.step import train_study


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    cohort, bags, _ = planted_cohort(24)
    folder = write_study(tmp_path_factory.mktemp("card") / "study", cohort, bags).folder
    study = load_study(
        folder, ["train.epochs=2", "train.seeds=1", "train.nested=false", "splits.repeats=1"]
    )
    train_study(study)
    write_json(
        study.run_folder / "metrics.json",
        {"harrell_c": {"estimate": 0.6543, "low": 0.5, "high": 0.75, "n": 24, "events": 12}},
    )
    write_json(study.run_folder / "permutation.json", {"p_value": 0.04})
    lock(study, "carded")
    return study


def test_the_card_has_the_figures_of_the_run_and_lines_to_fill_in(study: Study) -> None:
    card = (study.folder / "bundles" / "carded" / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "24 patients" in card
    assert "C0 12, C1 12" in card
    assert "0.654 (0.500 to 0.750)" in card
    assert "| permutation p of C | 0.040 |" in card
    assert "Research use only" in card
    assert card.count("_to fill in_") == 3


def test_people_may_write_into_the_card_and_nowhere_else(study: Study) -> None:
    folder = study.folder / "bundles" / "carded"
    with (folder / "MODEL_CARD.md").open("a", encoding="utf-8") as card:
        card.write("Approved by the ethics committee.\n")
    assert open_bundle(folder)["name"] == "carded"
    done = subprocess.run(
        ["sha256sum", "-c", "SHA256SUMS"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    content = (folder / "bundle.json").read_text(encoding="utf-8")
    (folder / "bundle.json").write_text(
        content.replace('"reference": ', '"reference": 1'), encoding="utf-8"
    )
    with pytest.raises(StoreError, match=r"bundle\.json was changed after locking"):
        open_bundle(folder)
    (folder / "bundle.json").write_text(content, encoding="utf-8")


@pytest.mark.ci
def test_each_of_300_flipped_bits_in_a_bundle_is_found(study: Study) -> None:
    import random

    folder, rng = study.folder / "bundles" / "carded", random.Random(1)
    files = [
        Path(line.split("  ")[1])
        for line in (folder / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    ]
    assert Path("bundle.json") in files
    for _ in range(300):
        path = folder / rng.choice(files)
        good = path.read_bytes()
        bad = bytearray(good)
        bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
        path.write_bytes(bad)
        with pytest.raises(StoreError):
            open_bundle(folder)
        path.write_bytes(good)
    open_bundle(folder)
