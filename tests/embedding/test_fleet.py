"""Several processes embed as one does, bit for bit, and what dies is done again or listed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from support.tiny_study import hashes, pathoml, tiny_study

from pathoml.compute.processes import processes
from pathoml.config import ComputeConfig
from pathoml.embedding import fleet as embed_fleet
from pathoml.embedding.fleet import embed_apart
from pathoml.embedding.jobs import EmbedJob
from pathoml.embedding.loop import EmbedReport

JOBS = [
    EmbedJob(
        slide_id=f"S{i}",
        slide_path=Path(f"S{i}"),
        tiles_path=Path(f"t{i}"),
        embeddings_path=Path("nowhere"),
        exclude=(),
    )
    for i in range(4)
]


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def tiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    study = tiny_study(tmp_path_factory.mktemp("fleet") / "study", patients=6)
    assert pathoml("tile", str(study)) == 0
    return study


def test_two_processes_write_the_files_of_one_when_each_computes_with_one_thread(
    tiled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = []
    for processes_ in (1, 2):
        for path in tiled.glob("embeddings/*/*"):
            path.unlink()
        assert (
            pathoml(
                "embed",
                str(tiled),
                "--set",
                "compute.threads=1",
                "--set",
                f"compute.encoders={processes_}",
            )
            == 0
        )
        found.append(hashes(tiled))
    assert found[0] == found[1]
    assert sum("embeddings" in name and name.endswith(".h5") for name in found[0]) == 6
    assert "engine local, 2 processes" in capsys.readouterr().out


def test_a_slide_that_fails_in_a_process_is_listed_and_the_others_are_done(
    tiled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = sorted(tiled.glob("tiles/*/*.h5"))[0]
    first.write_bytes(first.read_bytes()[:-200])
    for encoders in (1, 2):
        for path in tiled.glob("embeddings/*/*"):
            path.unlink()
        assert pathoml("embed", str(tiled), "--set", f"compute.encoders={encoders}") == 1
        assert f"FAILED {first.stem}" in capsys.readouterr().out
        assert len(list(tiled.glob("embeddings/*/*.h5"))) == 5


@pytest.mark.parametrize(
    ("gpus", "share", "wanted"), [(0, 1.0, 1), (4, 1.0, 4), (2, 0.5, 4), (1, 0.4, 2)]
)
def test_there_are_as_many_processes_as_the_gpus_hold(
    monkeypatch: pytest.MonkeyPatch, gpus: int, share: float, wanted: int
) -> None:
    monkeypatch.setattr(embed_fleet.torch.cuda, "device_count", lambda: gpus)
    assert processes(ComputeConfig(gpu_share=share)) == wanted
    assert processes(ComputeConfig(gpu_share=share, encoders=3)) == 3
    assert processes(ComputeConfig(gpu_share=share, device="cpu")) == 1
    assert processes(ComputeConfig(gpu_share=share, device="cpu", engine="ray")) == len(
        os.sched_getaffinity(0)
    )


def deadly(part: embed_fleet.EmbedPart) -> EmbedReport:
    """Embed nothing; the slide S3 kills its process."""
    report = EmbedReport()
    for job in part.jobs:
        if job.slide_id == "S3":
            os.kill(os.getpid(), signal.SIGKILL)
        report.slides += 1
        report.slide_seconds[job.slide_id] = 0.1
    return report


def test_of_an_item_that_died_only_the_slide_that_kills_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embed_fleet, "work", deadly)
    monkeypatch.setattr(embed_fleet, "PARTS_EACH", 1)  # two slides an item
    monkeypatch.setattr(embed_fleet, "stale_jobs", lambda jobs, *_: list(jobs))
    jobs = [
        EmbedJob(**{**vars(job), "embeddings_path": tmp_path / f"{job.slide_id}.h5"})
        for job in JOBS
    ]
    seen: list[str] = []
    report = embed_apart(
        jobs,
        encoder_name="e",
        encoder_sha256="w",
        compute=ComputeConfig(encoders=2, device="cpu"),
        workers=2,
        on_slide=seen.append,
    )
    assert sorted(report.failures) == ["S3"]
    assert "died" in report.failures["S3"]
    assert set(report.slide_seconds) == {job.slide_id for job in JOBS} - {"S3"} == set(seen)
    assert (tmp_path / "failures.csv").read_text(encoding="utf-8").splitlines()[1].startswith("S3,")
