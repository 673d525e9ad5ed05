"""Embedding is resumable, repeatable, and a slide's features depend on that slide alone."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch import nn

from pathoml.compute.devices import pick_device, pick_precision
from pathoml.config import StainConfig, TilesConfig
from pathoml.embedding import loop as embedding
from pathoml.embedding import ready_encoder
from pathoml.embedding.jobs import EmbedJob, stale_jobs, tiles_of
from pathoml.embedding.loop import embed_slides
from pathoml.embedding.network import EncoderModel
from pathoml.embedding.ready_encoder import embed_tiles
from pathoml.encoders.finding import find_encoder
from pathoml.errors import EncoderError, SlideError
from pathoml.slides.reading import open_slide, read_tile
from pathoml.store.embeddings import read_embeddings
from pathoml.store.files import sha256_of_json
from pathoml.store.hdf5 import stored_attr
from pathoml.store.tiles import kept_tiles, read_tiles, write_tiles
from pathoml.study.layout import stain_name
from pathoml.tiling.jobs import TileJob
from pathoml.tiling.step import tile_one
from pathoml.types import Recipe, Slide

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("encoder")


@pytest.fixture
def encoder(monkeypatch) -> EncoderModel:
    """A small convolutional network with random weights, in the place of a pretrained one."""
    torch.manual_seed(1)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 5, stride=4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 6),
    )
    model = EncoderModel(network.eval(), find_encoder("efficientnet_lite0"))
    monkeypatch.setattr(ready_encoder, "load_encoder", lambda name: (model, f"sha256 of {name}"))
    return model


@pytest.fixture
def make_job(tmp_path, write_slide, pink_tissue):
    def make(slide_id: str, *, ink: tuple[int, int, int] | None = None) -> EmbedJob:
        picture = pink_tissue(1024)
        picture[:, :, 1] -= 3 * len(slide_id)  # slides of another name look otherwise
        if ink is not None:
            picture[500:560] = ink
        path = write_slide(tmp_path / f"{slide_id}.tif", picture, mpp=2.0)
        slide = Slide(slide_id=slide_id, patient_id="P1", path=path)
        tile_one(
            TileJob(
                slide=slide,
                study_mpp=None,
                tile_px=64,
                mpp=2.0,
                tiles=TilesConfig(),
                folder=tmp_path / "tiles",
            )
        )
        return EmbedJob(
            slide_id=slide_id,
            slide_path=path,
            tiles_path=tmp_path / "tiles" / f"{slide_id}.h5",
            embeddings_path=tmp_path / "embeddings" / f"{slide_id}.h5",
            exclude=("pen", "dark"),
        )

    return make


def embed(
    jobs: list[EmbedJob],
    *,
    batch_size: int | None = 16,
    workers: int = 2,
    on_tiles=lambda *_: None,
    precision: str = "auto",
):
    encoder = ready_encoder.ready_encoder("tiny", CPU, batch_size=batch_size, precision=precision)
    return embed_slides(jobs, encoder, workers=workers, on_tiles=on_tiles)


def features(job: EmbedJob) -> np.ndarray:
    return read_embeddings(job.embeddings_path).features


def test_every_kept_tile_gets_the_vector_of_its_own_pixels_in_the_order_of_the_grid(
    encoder, make_job
):
    job = make_job("A")
    report = embed([job])
    grid = kept_tiles(read_tiles(job.tiles_path)[0], job.exclude)
    stored = read_embeddings(job.embeddings_path)
    assert (stored.grid.xy_l0 == grid.xy_l0).all()
    assert (report.slides, report.tiles, report.failures) == (1, len(grid.xy_l0), {})
    with open_slide(job.slide_path) as reader:
        tiles = np.stack(
            [read_tile(reader, tuple(xy), grid.tile_l0, tile_px=64) for xy in grid.xy_l0.tolist()]
        )
    np.testing.assert_allclose(stored.features, embed_tiles(encoder, tiles, CPU), atol=0.02)
    assert stored.features.std(axis=0).max() > 0.001


def test_embedding_is_resumable(make_job):
    jobs = [make_job("A"), make_job("BB")]
    assert stale_jobs(jobs, "tiny", "sha256 of tiny") == jobs
    embed(jobs[:1])
    assert stale_jobs(jobs, "tiny", "sha256 of tiny") == jobs[1:]
    embed(jobs[1:])
    assert stale_jobs(jobs, "tiny", "sha256 of tiny") == []


def test_other_weights_another_encoder_other_tiles_and_other_exclusions_are_stale(make_job):
    job = make_job("A")
    embed([job])
    assert stale_jobs([job], "tiny", "other weights")
    assert stale_jobs([job], "other", "sha256 of tiny")
    assert stale_jobs([replace(job, exclude=())], "tiny", "sha256 of tiny")
    grid, mask = read_tiles(job.tiles_path)
    write_tiles(
        job.tiles_path,
        replace(grid, xy_l0=grid.xy_l0 + 1),
        mask,
        recipe=Recipe(step="tile", inputs={}),
    )
    assert stale_jobs([job], "tiny", "sha256 of tiny")


def test_as_scanned_features_and_recipe_are_those_of_before_there_was_a_choice_of_stain(
    encoder, make_job
):
    job = make_job("A")
    embed([job])
    grid = kept_tiles(read_tiles(job.tiles_path)[0], job.exclude)
    with open_slide(job.slide_path) as reader:
        tiles = np.stack(
            [read_tile(reader, tuple(xy), grid.tile_l0, tile_px=64) for xy in grid.xy_l0.tolist()]
        )
    as_scanned = np.concatenate(
        [embed_tiles(encoder, tiles[i : i + 16], CPU) for i in range(0, len(tiles), 16)]
    )
    assert (features(job) == as_scanned).all()
    content = {
        "step": "embed",
        "encoder": "tiny",
        "weights": "sha256 of tiny",
        "exclude": ["dark", "pen"],
        "version": 2,
    }
    content["tiles"] = stored_attr(job.tiles_path, "content_sha256")
    assert stored_attr(job.embeddings_path, "recipe_sha256") == sha256_of_json(content)
    assert stored_attr(job.embeddings_path, "stain") == ""


STAINS = [
    StainConfig(normalise="macenko"),
    StainConfig(normalise="reinhard"),
    StainConfig(augment=0.1),
]


@pytest.mark.parametrize("stain", STAINS, ids=stain_name)
def test_another_stain_is_stale_gives_other_features_and_a_rerun_is_bit_equal(make_job, stain):
    job = make_job("A")
    embed([job])
    as_scanned, job = features(job), replace(job, stain=stain)
    assert stale_jobs([job], "tiny", "sha256 of tiny")
    embed([job], workers=1)
    first = job.embeddings_path.read_bytes()
    assert np.abs(features(job).astype(float) - as_scanned).max() > 0.005
    assert stored_attr(job.embeddings_path, "stain") == stain_name(stain)
    job.embeddings_path.unlink()
    embed([job, replace(make_job("BB"), stain=stain)], workers=3)
    assert job.embeddings_path.read_bytes() == first
    assert stale_jobs([job], "tiny", "sha256 of tiny") == []


@pytest.mark.parametrize("method", ["macenko", "reinhard"])
def test_a_slide_too_pale_to_be_normalised_is_listed_and_the_others_are_done(
    make_job, monkeypatch, method
):
    jobs = [replace(make_job(name), stain=StainConfig(normalise=method)) for name in ("A", "BB")]
    pale = jobs[0].slide_path
    monkeypatch.setattr(
        embedding,
        "open_in_colour",
        lambda path, *_, **__: BleachedSlide(path) if path == pale else open_slide(path),
    )
    report = embed(jobs)
    assert "Slide A is too pale to be normalised" in report.failures["A"]
    assert report.slides == 1


class BleachedSlide:
    """Almost white everywhere."""

    def __init__(self, path: Path) -> None:
        with open_slide(path) as slide:
            self.size_l0, self.level_downsamples = slide.size_l0, slide.level_downsamples

    def read_region(
        self, _xy: tuple[int, int], _level: int, size_px: tuple[int, int]
    ) -> np.ndarray:
        return np.full((*size_px[::-1], 3), 238, np.uint8)

    def close(self) -> None:
        pass


def test_features_do_not_depend_on_the_other_slides(make_job):
    a, b = make_job("A"), make_job("BB")
    embed([b, a])
    together = features(a)
    a.embeddings_path.unlink()
    embed([a])
    assert (features(a) == together).all()
    assert (features(a)[: len(features(b))] != features(b)[: len(features(a))]).any()


@pytest.mark.parametrize("workers", [1, 3])
def test_a_rerun_is_bit_equal(make_job, workers):
    job = make_job("A")
    embed([job])
    first = job.embeddings_path.read_bytes()
    job.embeddings_path.unlink()
    embed([job], workers=workers)
    assert job.embeddings_path.read_bytes() == first


def test_the_batch_size_changes_no_more_than_rounding(make_job):
    job = make_job("A")
    embed([job], batch_size=16)
    first = features(job)
    embed([job], batch_size=7)
    np.testing.assert_allclose(features(job), first, atol=0.01)


def test_without_a_number_deterministic_batches_are_fixed_and_the_report_says_so(
    make_job, monkeypatch
):
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
    sizes: list[int] = []
    report = embed(
        [make_job("A")], workers=1, batch_size=None, on_tiles=lambda _, tiles: sizes.append(tiles)
    )
    assert max(sizes) == 8
    assert report.how == "batches of 8 tiles: fixed, so that a rerun gives the same bits"


def test_readers_of_tridents_layout_find_its_attributes(make_job):
    job = make_job("A")
    embed([job])
    with h5py.File(job.embeddings_path) as file:
        assert file["features"].dtype == np.float16
        assert file["features"].attrs["encoder"] == "tiny"
        assert file["coords"].attrs["patch_size"] == 64
        assert file["coords"].attrs["patch_size_level0"] == 64
        assert file["coords"].attrs["name"] == "A"
        assert file["coords"].shape == (len(file["features"]), 2)


def test_flagged_tiles_are_left_out(make_job):
    job = make_job("A", ink=(30, 140, 60))
    embed([job])
    grid, _ = read_tiles(job.tiles_path)
    assert 0 < len(features(job)) == (grid.flags == 0).sum() < len(grid.xy_l0)


def test_a_slide_that_breaks_is_listed_and_the_others_are_done(make_job):
    jobs = [make_job(name) for name in ("A", "BB", "CCC", "DDDD")]
    jobs[0].slide_path.unlink()
    jobs[1].tiles_path.write_bytes(b"torn")
    jobs[2].slide_path.write_bytes(b"not a slide")
    report = embed(jobs)
    assert report.slides == 1
    assert {k: v.split(".")[0].split(" ")[0] for k, v in report.failures.items()} == {
        "A": "Slide",
        "BB": str(jobs[1].tiles_path)[:-3],
        "CCC": "Slide",
    }
    rows = (jobs[0].embeddings_path.parent / "failures.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["slide_id", "A", "BB", "CCC"]
    assert stale_jobs(jobs[3:], "tiny", "sha256 of tiny") == []


def test_an_encoder_that_gives_nan_is_a_failure_and_writes_nothing(encoder, make_job):
    with torch.no_grad():
        encoder.network[4].bias[2] = float("nan")
    job = make_job("A")
    assert "gave NaN" in embed([job]).failures["A"]
    assert not job.embeddings_path.exists()


class FragileSlide:
    """Fails at one tile while other threads still read; notes whether it was closed under them."""

    def __init__(self, path: Path) -> None:
        self.slide, self.reading, self.calls, self.closed_under_a_reader = (
            open_slide(path),
            0,
            0,
            False,
        )
        self.level_downsamples = self.slide.level_downsamples

    def read_region(self, *where) -> np.ndarray:
        self.calls += 1
        if self.calls == 3:
            raise SlideError("a bad tile")
        self.reading += 1
        time.sleep(0.05)
        self.reading -= 1
        return self.slide.read_region(*where)

    def close(self) -> None:
        self.closed_under_a_reader |= self.reading > 0


def test_a_fault_that_passes_costs_nothing_and_closes_no_slide_under_a_thread_that_reads_it(
    make_job, monkeypatch
):
    job = make_job("A")
    fragile = FragileSlide(job.slide_path)
    monkeypatch.setattr(embedding, "open_in_colour", lambda *_, **__: fragile)
    assert embed([job], workers=4).failures == {}
    assert not fragile.closed_under_a_reader


def test_a_tile_that_cannot_be_read_is_left_out_and_the_others_are_embedded(make_job, monkeypatch):
    job = make_job("A")
    embed([job])
    whole, corners = features(job), read_tiles(job.tiles_path)[0].xy_l0.tolist()

    def read(slide: object, xy_l0: tuple[int, int], *side: int, **size: int) -> np.ndarray:
        if list(xy_l0) == corners[2]:
            raise SlideError("damaged here")
        return read_tile(slide, xy_l0, *side, **size)

    monkeypatch.setattr("pathoml.slides.reading.read_tile", read)
    job.embeddings_path.unlink()
    assert embed([job]).failures == {}
    np.testing.assert_array_equal(features(job), np.delete(whole, 2, axis=0))


def test_the_next_slides_are_opened_while_the_encoder_works_on_the_first(make_job, monkeypatch):
    jobs, opened, seen = [make_job(name) for name in ("A", "BB", "CCC")], [], []
    monkeypatch.setattr(
        embedding,
        "open_in_colour",
        lambda path, *_, **__: opened.append(path.stem) or open_slide(path),
    )
    embed(jobs, batch_size=512, on_tiles=lambda name, _: seen.append((name, list(opened))))
    assert seen[0] == ("A", ["A", "BB", "CCC"])
    assert [name for name, _ in seen] == ["A", "BB", "CCC"]


@pytest.mark.parametrize(
    ("workers", "threads", "beside"), [(1, 1, False), (2, 1, True), (1, 2, True)]
)
def test_a_process_that_was_given_one_core_reads_in_the_thread_that_encodes(
    make_job, monkeypatch, workers, threads, beside
):
    readers: set[int] = set()
    monkeypatch.setattr(
        "pathoml.slides.reading.read_tile",
        lambda *where, **size: readers.add(threading.get_ident()) or read_tile(*where, **size),
    )
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    embed([make_job("A")], workers=workers)
    assert (readers != {threading.get_ident()}) is beside


def test_few_batches_and_few_slides_are_held_in_memory_at_once(make_job, monkeypatch):
    read = []
    monkeypatch.setattr(
        "pathoml.slides.reading.read_tile",
        lambda *where, **size: read.append(1) or read_tile(*where, **size),
    )
    jobs, most_ahead, embedded = [make_job("A" * n) for n in range(1, 9)], [], []

    def on_tiles(_: str, tiles: int) -> None:
        embedded.append(tiles)
        most_ahead.append(len(read) - sum(embedded))

    embed(jobs, batch_size=4, on_tiles=on_tiles)
    assert 0 < max(most_ahead) <= 4 * (embedding.BATCHES_AHEAD + 1)


def test_a_batch_that_does_not_fit_the_memory_is_halved_and_the_features_are_the_same(
    encoder, make_job
):
    job = make_job("A")
    embed([job], batch_size=16)
    whole, sizes, compute = features(job), [], encoder.network.forward

    def small_memory(images: torch.Tensor) -> torch.Tensor:
        sizes.append(len(images))
        if len(images) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return compute(images)

    encoder.network.forward = small_memory
    assert embed([job], batch_size=16).failures == {}
    np.testing.assert_allclose(features(job), whole, atol=0.01)
    assert sizes[:4] == [16, 8, 4, 4]


def test_memory_too_small_for_one_tile_fails_the_slide_by_name(encoder, make_job):
    def no_memory(_: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    encoder.network.forward = no_memory
    assert "OutOfMemoryError" in embed([make_job("A")]).failures["A"]


def test_the_report_says_how_long_the_encoder_waited_and_each_slide_took(make_job, monkeypatch):
    monkeypatch.setattr(
        "pathoml.slides.reading.read_tile",
        lambda *where, **size: time.sleep(0.01) or read_tile(*where, **size),
    )
    report = embed([make_job("A"), make_job("BB")], workers=1)
    assert (
        0.5 < report.waited / report.seconds <= 1
    )  # a hundredth of a second a tile is far more than this encoder takes
    assert set(report.slide_seconds) == {"A", "BB"}
    assert sum(report.slide_seconds.values()) <= report.seconds


def test_progress_counts_every_tile_once(make_job):
    job, seen = make_job("A"), []
    embed([job], batch_size=10, on_tiles=lambda name, n: seen.append((name, n)))
    assert sum(n for _, n in seen) == len(features(job))
    assert {name for name, _ in seen} == {"A"}


def test_tiles_are_counted_until_there_are_enough_and_a_torn_file_counts_none(make_job):
    jobs = [make_job("A"), make_job("B"), make_job("C")]
    one = tiles_of(jobs[:1])
    assert one == len(kept_tiles(read_tiles(jobs[0].tiles_path)[0], jobs[0].exclude).xy_l0) > 0
    assert tiles_of(jobs, enough=one + 1) == tiles_of(jobs[:2])
    jobs[0].tiles_path.write_bytes(jobs[0].tiles_path.read_bytes()[:-200])
    assert tiles_of(jobs) == tiles_of(jobs[1:])


def test_the_precision_that_is_asked_for_is_computed_in_and_recorded(encoder, make_job):
    job = make_job("A")
    grid = kept_tiles(read_tiles(job.tiles_path)[0], job.exclude)
    with open_slide(job.slide_path) as slide:
        tiles = np.stack(
            [read_tile(slide, (x, y), grid.tile_l0, tile_px=64) for x, y in grid.xy_l0.tolist()]
        )
    embed([job], precision="bf16")
    assert stored_attr(job.embeddings_path, "precision") == "bfloat16"
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        short = (
            torch.cat(
                [encoder(torch.from_numpy(tiles[i : i + 16])) for i in range(0, len(tiles), 16)]
            )
            .half()
            .numpy()
        )
    np.testing.assert_array_equal(features(job), short)
    job.embeddings_path.unlink()
    embed([job], precision="fp32")
    assert stored_attr(job.embeddings_path, "precision") == "float32"
    assert (features(job) != short).any()


def test_a_gpu_computes_in_bf16_what_stands_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    gpu = torch.device("cuda")
    assert pick_precision(gpu) == torch.bfloat16
    assert (
        pick_precision(gpu, stands_bf16=False)
        == pick_precision(gpu, "fp32")
        == pick_precision(CPU)
        == torch.float32
    )
    assert pick_precision(CPU, "bf16", stands_bf16=False) == torch.bfloat16


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_freed_memory_is_kept_so_that_pages_are_not_made_anew_for_every_batch():
    code = (
        "import resource, torch\nfrom pathoml.compute.memory import keep_freed_memory\n"
        "def faults():\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "    for _ in range(5): torch.ones(16 * 2**20)\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before\n"
        # steady after eight
        "first = faults()\nkeep_freed_memory()\nfor _ in range(4): faults()\nprint(first, faults())"
    )
    env = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    said = subprocess.run(
        [sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    before, after = (int(word) for word in said.split())
    assert after < before / 10


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_refused_and_auto_goes_on():
    with pytest.raises(EncoderError, match="no GPU is to be seen"):
        pick_device("cuda")
    assert pick_device("auto").type == "cpu"
