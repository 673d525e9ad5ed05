"""Permutations in blocks: the same p value whoever computes them, and nothing done twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from support.learning import planted_cohort, write_study

from pathoml.cli import guarded, main
from pathoml.config import Study, load_study
from pathoml.evaluation.permutation import RepeatedValidation, Statistics
from pathoml.evaluation.permutation_blocks import FOLDER
from pathoml.store.files import read_json

QUICK = {
    "epochs: 12": "nested: false, epochs: 2",
    "repeats: 2": "repeats: 1",
    "seeds: 2": "seeds: 1",
    "9, bootstraps: 200": "5, bootstraps: 0",
}


def pathoml(*words: str) -> int:
    return guarded(lambda: main(list(words)))


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Study]:
    threads = torch.get_num_threads()
    study = write_study(tmp_path, *planted_cohort(24)[:2])
    monkeypatch.setattr("pathoml.evaluation.permutation.TOGETHER", 2)
    text = (study.folder / "study.yaml").read_text(encoding="utf-8")
    for was, quick in QUICK.items():
        text = text.replace(was, quick)
    (study.folder / "study.yaml").write_text(text, encoding="utf-8")
    assert pathoml("train", str(study.folder)) == 0
    yield load_study(study.folder)
    torch.set_num_threads(threads)  # compute.threads holds for the process, which other tests share


def permutation(study: Study) -> bytes:
    return (study.run_folder / "permutation.json").read_bytes()


def blocks(study: Study) -> list[str]:
    return sorted(path.stem for path in (study.run_folder / FOLDER).glob("*.json"))


def count_work(monkeypatch: pytest.MonkeyPatch) -> list[range]:
    """Return the list of blocks that are computed from now on."""
    seen: list[range] = []
    whole = RepeatedValidation.null

    def counted(
        self: RepeatedValidation, block: range, on_epoch: object = None
    ) -> list[Statistics]:
        seen.append(block)
        return whole(self, block, on_epoch)  # type: ignore[arg-type]

    monkeypatch.setattr(RepeatedValidation, "null", counted)
    return seen


def test_shards_compute_their_blocks_and_the_whole_evaluation_only_reads_them(
    trained: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pathoml("evaluate", str(trained.folder)) == 0
    alone = permutation(trained)
    assert not (trained.run_folder / FOLDER).exists()
    (trained.run_folder / "permutation.json").unlink()
    done = count_work(monkeypatch)
    assert [pathoml("evaluate", str(trained.folder), "--shard", f"{k}/2") for k in (2, 1)] == [0, 0]
    assert done == [range(2, 4), range(2), range(4, 5)]
    assert blocks(trained) == ["00001-00002", "00003-00004", "00005-00005"]
    assert not (trained.run_folder / "permutation.json").exists()
    assert pathoml("evaluate", str(trained.folder)) == 0
    assert len(done) == 3
    assert permutation(trained) == alone


def test_an_evaluation_that_was_killed_goes_on_where_it_was(
    trained: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = count_work(monkeypatch)
    counted = RepeatedValidation.null

    def killed(self: RepeatedValidation, block: range, on_epoch: object = None) -> list[Statistics]:
        if block.start:
            raise KeyboardInterrupt
        return counted(self, block, on_epoch)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(RepeatedValidation, "null", killed)
        assert pathoml("evaluate", str(trained.folder)) == 130
    assert pathoml("evaluate", str(trained.folder)) == 0
    assert done == [range(2), range(2, 4), range(4, 5)]


def test_a_block_of_other_scores_is_computed_anew(
    trained: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pathoml("evaluate", str(trained.folder), "--shard", "1/3") == 0
    path = trained.run_folder / FOLDER / "00001-00002.json"
    path.write_text(json.dumps(read_json(path) | {"recipe": "of another run"}), encoding="utf-8")
    done = count_work(monkeypatch)
    assert pathoml("evaluate", str(trained.folder)) == 0
    assert done[0] == range(2)


def test_a_shard_of_a_study_without_permutations_has_nothing_to_do(trained: Study) -> None:
    assert (
        pathoml(
            "evaluate",
            str(trained.folder),
            "--shard",
            "1/3",
            "--set",
            "significance.permutations=0",
        )
        == 0
    )
    assert blocks(trained) == []


@pytest.mark.ci
def test_several_processes_give_the_p_value_of_one_to_the_last_bit(trained: Study) -> None:
    assert pathoml("evaluate", str(trained.folder), "--set", "compute.threads=1") == 0
    alone = permutation(trained)
    (trained.run_folder / "permutation.json").unlink()
    assert (
        pathoml(
            "evaluate",
            str(trained.folder),
            "--set",
            "compute.encoders=2",
            "--set",
            "compute.threads=1",
        )
        == 0
    )
    assert permutation(trained) == alone


def test_parts_of_one_run_with_different_settings_are_refused_and_those_of_a_former_one_are_not(
    trained: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(trained.folder)
    assert pathoml("evaluate", folder, "--shard", "1/2") == 0
    three = ("--set", "significance.permutations=3")
    assert pathoml("evaluate", folder, "--shard", "2/2", *three) == 2
    said = capsys.readouterr().err
    assert "was computed in part 1 of 2 with other settings" in " ".join(said.split())
    assert pathoml("train", folder, "--set", "splits.seed=7") == 0
    seven = ("--set", "splits.seed=7")
    assert pathoml("evaluate", folder, "--shard", "2/2", *three, *seven) == 0
