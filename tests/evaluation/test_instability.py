"""instability.json and instability.csv of a run: the same whoever computes them, continued, kept,
and gone when they are no longer true.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from support.learning import planted_cohort, write_study

from pathoml.cli import guarded, main
from pathoml.config import Study, load_study
from pathoml.evaluation.resamples import FOLDER, ResampledPipeline, Scored
from pathoml.store.files import read_json
from pathoml.store.tables import parse_number, read_own_table

RESAMPLES = 20
QUICK = {
    "epochs: 12": "nested: false, epochs: 2",
    "seeds: 2": "seeds: 2",
    "9, bootstraps: 200": f"0, bootstraps: 0, resamples: {RESAMPLES}",
}


def pathoml(*words: str) -> int:
    return guarded(lambda: main(list(words)))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    study = write_study(tmp_path_factory.mktemp("unstable"), *planted_cohort(30)[:2])
    text = (study.folder / "study.yaml").read_text(encoding="utf-8")
    for was, quick in QUICK.items():
        text = text.replace(was, quick)
    (study.folder / "study.yaml").write_text(text, encoding="utf-8")
    assert pathoml("train", str(study.folder)) == 0
    return study.folder


@pytest.fixture
def trained(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Study]:
    threads = torch.get_num_threads()
    monkeypatch.setattr("pathoml.evaluation.resamples.TOGETHER", 8)
    folder = tmp_path / "study"
    shutil.copytree(template, folder)
    yield load_study(folder)
    torch.set_num_threads(threads)  # compute.threads holds for the process, which other tests share


@pytest.fixture(scope="module")
def evaluated(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("evaluated") / "study"
    shutil.copytree(template, folder)
    assert pathoml("evaluate", str(folder)) == 0
    return load_study(folder)


def files(study: Study) -> tuple[bytes, bytes]:
    return (
        (study.run_folder / "instability.json").read_bytes(),
        (study.run_folder / "instability.csv").read_bytes(),
    )


def count_work(monkeypatch: pytest.MonkeyPatch) -> list[range]:
    """Return the list of blocks that are computed from now on."""
    seen: list[range] = []
    whole = ResampledPipeline.scores

    def counted(self: ResampledPipeline, block: range, on_epoch: object = None) -> list[Scored]:
        seen.append(block)
        return whole(self, block, on_epoch)  # type: ignore[arg-type]

    monkeypatch.setattr(ResampledPipeline, "scores", counted)
    return seen


def test_what_was_killed_goes_on_and_ends_with_the_same_bytes(
    trained: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(trained.folder)
    assert pathoml("evaluate", folder) == 0
    alone = files(trained)
    (trained.run_folder / "instability.json").unlink()
    shutil.rmtree(trained.run_folder / FOLDER)
    done = count_work(monkeypatch)
    counted = ResampledPipeline.scores

    def killed(self: ResampledPipeline, block: range, on_epoch: object = None) -> list[Scored]:
        if block.start == 8:
            raise KeyboardInterrupt
        return counted(self, block, on_epoch)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(ResampledPipeline, "scores", killed)
        assert pathoml("evaluate", folder) == 130
    assert pathoml("evaluate", folder) == 0
    assert done == [range(8), range(8, 16), range(16, 20)]
    assert files(trained) == alone


def test_shards_share_the_resamples_and_the_whole_only_reads_them(
    trained: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = count_work(monkeypatch)
    for part in ("2/2", "1/2"):
        assert pathoml("evaluate", str(trained.folder), "--shard", part) == 0
    assert done == [range(8, 16), range(8), range(16, 20)]
    assert not (trained.run_folder / "instability.json").exists()
    assert pathoml("evaluate", str(trained.folder)) == 0
    assert len(done) == 3


def test_another_horizon_trains_nothing_and_more_resamples_train_only_the_new_ones(
    trained: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(trained.folder)
    assert pathoml("evaluate", folder, "--set", "significance.resamples=24") == 0
    done = count_work(monkeypatch)
    assert pathoml("evaluate", folder, "--set", "significance.resamples=24",
                   "--set", "evaluate.horizons_months=[6]") == 0  # fmt: skip
    assert done == []
    assert list(read_json(trained.run_folder / "instability.json")["risk"]) == ["6"]
    assert pathoml("evaluate", folder, "--set", "significance.resamples=32") == 0
    assert done == [range(24, 32)]


def test_resamples_of_another_training_are_not_used(
    trained: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(trained.folder)
    assert pathoml("evaluate", folder) == 0
    other = ["--set", "train.epochs=3"]
    assert pathoml("train", folder, *other) == 0
    done = count_work(monkeypatch)
    assert pathoml("evaluate", folder, *other) == 0
    assert len(done) == 3


def test_blocks_of_another_training_that_nobody_can_use_go(trained: Study) -> None:
    folder, other = str(trained.folder), ["--set", "train.epochs=3"]
    assert pathoml("evaluate", folder, "--set", "significance.resamples=24") == 0
    assert pathoml("train", folder, *other) == 0
    assert pathoml("evaluate", folder, *other) == 0
    kept = sorted(path.stem for path in (trained.run_folder / FOLDER).glob("*.json"))
    assert kept == ["00001-00008", "00009-00016", "00017-00020"]


def test_without_resamples_the_files_say_so_and_what_was_trained_waits(
    trained: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(trained.folder)
    assert pathoml("evaluate", folder) == 0
    assert pathoml("evaluate", folder, "--set", "significance.resamples=0") == 0
    content = read_json(trained.run_folder / "instability.json")
    assert content["resamples"] == 0
    assert "significance.resamples: 200" in content["note"]
    assert len(content["partitions"]["harrell_c"]) == 2
    assert not (trained.run_folder / "instability.csv").exists()
    done = count_work(monkeypatch)
    assert pathoml("evaluate", folder) == 0
    assert done == []
    assert (trained.run_folder / "instability.csv").exists()


def test_scores_from_elsewhere_are_not_resampled(trained: Study) -> None:
    rows = read_own_table(trained.run_folder / "scores.csv").rows
    table = trained.folder / "theirs.csv"
    lines = [f"{row['patient_id']},{row['score_sd']}" for row in rows]
    table.write_text("\n".join(["patient_id,score", *lines]) + "\n", encoding="utf-8")
    name = ["--set", "run=theirs"]
    assert pathoml("import", str(trained.folder), "--from", "scores", str(table), *name) == 0
    assert pathoml("evaluate", str(trained.folder), *name) == 0
    content = read_json(trained.folder / "runs" / "theirs" / "instability.json")
    assert "not trained here" in content["note"]
    assert "not estimable" in content["partitions"]["note"]


def test_a_row_a_patient_agrees_with_the_summary(evaluated: Study) -> None:
    content = read_json(evaluated.run_folder / "instability.json")
    rows = read_own_table(evaluated.run_folder / "instability.csv").rows
    assert [row["patient_id"] for row in rows] == sorted(f"P{i}" for i in range(30))

    def column(name: str) -> np.ndarray:
        return np.array([parse_number(row[name]) for row in rows], dtype=np.float64)

    for key, risk in content["risk"].items():
        error = column(f"risk_{key}_mean_absolute_error").mean()
        assert risk["mean_absolute_error"] == pytest.approx(error, abs=1e-9)
        low, middle, high = (column(f"risk_{key}_{end}") for end in ("low", "median", "high"))
        assert ((low >= 0) & (low <= middle) & (middle <= high) & (high <= 1)).all()
    other = column("other_group")
    assert content["score_group"]["other_group_mean"] == pytest.approx(other.mean())
    assert {row["score_group"] for row in rows} <= {"high", "low"}
    for source in ("resamples", "partitions", "seeds"):
        spread = column(f"score_sd_over_{source}").mean()
        assert content["score"][f"sd_over_{source}"] == pytest.approx(spread)


def test_too_few_resamples_are_refused_with_the_usual_number(trained: Study) -> None:
    assert pathoml("evaluate", str(trained.folder), "--set", "significance.resamples=5") == 2


@pytest.mark.ci
def test_several_processes_give_the_bytes_of_one(trained: Study) -> None:
    one = ["--set", "compute.threads=1"]
    assert pathoml("evaluate", str(trained.folder), *one) == 0
    alone = files(trained)
    shutil.rmtree(trained.run_folder / FOLDER)
    (trained.run_folder / "instability.json").unlink()
    several = ["--set", "compute.encoders=2"]
    assert pathoml("evaluate", str(trained.folder), *one, *several) == 0
    assert files(trained) == alone
