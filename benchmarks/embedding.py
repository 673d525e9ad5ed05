"""Embedding against its own encoder, against the usual way, its memory, its precision: `python
benchmarks/embedding.py PART FOLDER`.

Ratios are of one run, by turns, medians over rounds (range in brackets), wall and CPU seconds each:
beside other work the wall says little. Slides are real tissue (PATHOML_SHARED), a JPEG pyramid of
0.25 micrometres read as 224 px at 0.5. resnet50 and a ViT-S/16 have random weights
(FOLDER/checkpoints), which costs the same; what precision does is measured with the embedded
encoder's real weights as well. The usual way and eager defaults run in a process of their own, for
ours keeps freed memory (decision 0019). With --compiled our encoder runs as code compiled for the
machine (compute.compile), as it does for 20,000 tiles and more.

    whole      read + encode + write against the network alone over tensors that are in memory,
               in the same layout and batches
    field      against openslide read_region + convert + PIL resize + ToTensor + Normalize + eager
               fp32 in a torch DataLoader; reading alone
    memory     peak memory of a process that embeds a slide of 4,000 and one of 40,000 px
    precision  cosine of fp16 features to fp32 ones, and of a bf16 encoder to an fp32 one
    choices    batch sizes and layouts against the fixed choice and against eager defaults, and
               whether they change bits
"""

from __future__ import annotations

import argparse
import multiprocessing
import multiprocessing.connection
import os
import resource
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import lru_cache, partial
from pathlib import Path

import cv2
import numpy as np
import openslide
import PIL.Image
import timm
import torch
from pyramids import TILE_PX as NATIVE_PX
from pyramids import write_picture, write_pyramid
from safetensors.torch import save_file
from torchvision import transforms

from pathoml.compute.devices import prepare_device
from pathoml.config import ComputeConfig, TilesConfig
from pathoml.embedding.batch_sizes import FIXED
from pathoml.embedding.compiling import CompiledEncoder
from pathoml.embedding.jobs import EmbedJob
from pathoml.embedding.loop import embed_part
from pathoml.embedding.network import EncoderModel, build_architecture
from pathoml.embedding.ready_encoder import ReadyEncoder, embed_tiles, loaded_encoder, ready_encoder
from pathoml.encoders.finding import find_encoder
from pathoml.engines.local import available_workers
from pathoml.slides.reading import open_slide, read_tile
from pathoml.store.tiles import read_tiles
from pathoml.tiling.jobs import TileJob
from pathoml.tiling.step import tile_one
from pathoml.types import Slide

SOURCE = "wsi/tcga-cr-7395-01a-01-ts1.svs"
TILE_PX, TILE_L0, MPP = 224, 448, 0.5
ROUNDS = 5
BATCHES = (4, 8, 16, 32)
CHOICE_TILES, CHOICE_ROUNDS = 32, 3
FIELD_BATCH = 32
VIT_S = "kaiko_vits16"
ISLAND_PX = 2048
CPU = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=[*PARTS, "child"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("what", nargs="*", help="encoders, instead of the part's own")
    parser.add_argument("--compiled", action="store_true", help="our encoder as compiled code")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    os.chdir(args.folder)  # where checkpoints/ is looked for
    for name in ("resnet50", VIT_S):
        add_random_weights(name)
    prepare_device(ComputeConfig(device="cpu"))
    if args.part == "child":
        child(*args.what, compiled=args.compiled)
        return
    print(
        f"{torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads, load"
        f" {os.getloadavg()[0]:.1f}",
        flush=True,
    )
    part, encoders = PARTS[args.part]
    for encoder in args.what or encoders:
        part(encoder, args.compiled)


def whole(encoder: str, compiled: bool) -> None:
    """Print the rate from file to file over that of the network alone."""
    job, ready, model = real_job(), ready_for(encoder, compiled), loaded_encoder(encoder, CPU)[0]
    tiles = torch.from_numpy(tiles_of(job)).permute(0, 3, 1, 2)  # (N, 3, H, W), channels last
    batches = [((t.float() - model.mean) / model.std) for t in tiles.split(FIXED["cpu"])]
    network = CompiledEncoder(model.network, FIXED["cpu"]) if compiled else model.network
    waited = []

    def from_file_to_file() -> None:
        report = embed_part([job], ready, workers=available_workers(), on_tiles=lambda *_: None)
        waited.append(report.waited / report.seconds)

    @torch.inference_mode()
    def network_alone() -> None:
        for batch in batches:
            network(batch)

    compare(encoder, len(tiles), "network alone", network_alone, "file to file", from_file_to_file)
    print(f"  the encoder waited {statistics.median(waited):.1%} of the time")


def field(encoder: str, compiled: bool) -> None:
    """Print rates over those of the field's way, end to end and for reading alone."""
    job, ready = real_job(), ready_for(encoder, compiled)
    grid, reader = read_tiles(job.tiles_path)[0], open_slide(job.slide_path)
    data = FieldTiles(job, encoder)
    model = loaded_encoder(encoder, CPU)[0]

    def ours() -> None:
        embed_part([job], ready, workers=available_workers(), on_tiles=lambda *_: None)

    def our_reading() -> None:
        reader._cache.clear()
        reader._cached_bytes = 0
        for x, y in grid.xy_l0.tolist():
            tile = torch.from_numpy(
                read_tile(reader, (x, y), grid.tile_l0, tile_px=TILE_PX)
            ).permute(2, 0, 1)
            (tile.float() - model.mean) / model.std

    def their_reading() -> None:
        data.slide = None
        for number in range(len(data)):
            data[number]

    with Apart(fields_way, data, encoder) as theirs:
        compare(encoder, len(data), "the field's way", theirs, "pathoml", ours)
    torch.set_num_threads(1)
    compare(
        "reading and normalising alone, one thread",
        len(data),
        "the field's way",
        their_reading,
        "pathoml",
        our_reading,
    )


@torch.inference_mode()
def fields_way(data: FieldTiles, encoder: str) -> None:
    """Embed a slide as the field's tools do: fp32 as torch runs it by default."""
    workers = {
        "num_workers": available_workers(),
        "multiprocessing_context": "fork",
    }  # no time for starting them anew
    loader = torch.utils.data.DataLoader(data, batch_size=FIELD_BATCH, **workers)
    np.save("theirs.npy", torch.cat([eager_network(encoder)(batch) for batch in loader]).numpy())


@lru_cache
def eager_network(encoder: str) -> torch.nn.Module:
    return build_architecture(find_encoder(encoder))


@lru_cache
def eager_defaults(encoder: str) -> EncoderModel:
    """Return the network as timm builds it, for the tiles ours gets, in torch's default layout."""
    model = EncoderModel(build_architecture(find_encoder(encoder)), find_encoder(encoder))
    model.network.register_forward_pre_hook(lambda _, images: (images[0].contiguous(),))
    return model


def encode_in_batches(encoder: str, tiles: np.ndarray, batch: int) -> None:
    features(eager_defaults(encoder), tiles, batch)


def features(model: torch.nn.Module, tiles: np.ndarray, batch: int) -> np.ndarray:
    return np.concatenate(
        [embed_tiles(model, tiles[i : i + batch], CPU) for i in range(0, len(tiles), batch)]
    )


class Apart:
    """A function that is called in a process of its own; a call returns its (wall, CPU) seconds."""

    def __init__(self, function: Callable[..., None], *args: object) -> None:
        self._here, there = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("spawn").Process(
            target=serve, args=(there, function, args)
        )
        self._process.start()

    def __enter__(self) -> Apart:
        return self

    def __exit__(self, *_: object) -> None:
        self._here.send(False)
        self._process.join()

    def __call__(self) -> tuple[float, float]:
        self._here.send(True)
        return self._here.recv()


def serve(
    asked: multiprocessing.connection.Connection,
    function: Callable[..., None],
    args: tuple[object, ...],
) -> None:
    prepare_device(ComputeConfig(device="cpu"))
    while asked.recv():
        asked.send(timed(lambda: function(*args)))


def timed(function: Callable[[], object]) -> tuple[float, float]:
    """Return the wall and CPU seconds of a call, or those it returns."""
    begun, used = time.monotonic(), sum(os.times()[:4])  # children too: the workers of a DataLoader
    result = function()
    return (
        result
        if isinstance(result, tuple)
        else (time.monotonic() - begun, sum(os.times()[:4]) - used)
    )


class FieldTiles(torch.utils.data.Dataset):
    """Tiles as the field's tools read them."""

    def __init__(self, job: EmbedJob, encoder: str) -> None:
        self.path, self.slide = job.slide_path, None
        self.corners = read_tiles(job.tiles_path)[0].xy_l0.tolist()
        described = find_encoder(encoder)
        self.transform = transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize(described.mean, described.std)]
        )

    def __len__(self) -> int:
        return len(self.corners)

    def __getitem__(self, number: int) -> torch.Tensor:
        self.slide = self.slide or openslide.OpenSlide(self.path)
        region = self.slide.read_region(tuple(self.corners[number]), 0, (TILE_L0, TILE_L0)).convert(
            "RGB"
        )
        return self.transform(region.resize((TILE_PX, TILE_PX), PIL.Image.Resampling.BICUBIC))


def memory(encoder: str, compiled: bool) -> None:
    """Print the peak resident memory of processes that tile and embed a small and a large slide."""
    peaks = {}
    for side in (4_000, 40_000):
        for step in ("tile", "embed"):
            command = [
                sys.executable,
                __file__,
                "child",
                ".",
                step,
                str(side),
                encoder,
                *(["--compiled"] if compiled else []),
            ]
            tiles, peaks[step, side] = map(
                int,
                subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[
                    -2:
                ],
            )
            print(
                f"{step}, {side} px: {tiles} tiles, {peaks[step, side] / 2**20:.2f} GiB at most",
                flush=True,
            )
    for step in ("tile", "embed"):
        print(f"{step}: large over small {peaks[step, 40_000] / peaks[step, 4_000]:.2f}")


def child(step: str, side: str, encoder: str, *, compiled: bool) -> None:
    """Tile or embed one slide in this process and print (tiles, peak KiB)."""
    path = Path(f"square_{side}.tif")
    if not path.exists():
        write_square(path, int(side))
        os.execv(
            sys.executable, [sys.executable, *sys.argv]
        )  # the memory of writing it is not asked
    job = job_of(path, tile=step == "tile")
    if step == "embed":
        report = embed_part(
            [job], ready_for(encoder, compiled), workers=2, on_tiles=lambda *_: None
        )
        assert not report.failures, report.failures
    print(
        len(read_tiles(job.tiles_path)[0].xy_l0), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    )


def precision(encoder: str, compiled: bool) -> None:
    """Print cosines over real tiles: what is stored against float32, bfloat16 by autocast against
    float32.
    """
    model, tiles, fast = (
        loaded_encoder(encoder, CPU)[0],
        torch.from_numpy(tiles_of(real_job())),
        ready_for(encoder, compiled).model,
    )
    with torch.inference_mode():
        exact = torch.cat([model(t) for t in tiles.split(FIXED["cpu"])])
        ours = torch.cat([fast(t) for t in tiles.split(FIXED["cpu"])])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            short = torch.cat([model(t) for t in tiles.split(FIXED["cpu"])]).float()
    for name, other in (("fp16 as stored", ours.half().float()), ("bf16 by autocast", short)):
        cosine = torch.cosine_similarity(exact.double(), other.double())
        print(
            f"{encoder}, {name} to fp32: cosine median {cosine.median():.6f}, lowest"
            f" {cosine.min():.6f} of {len(tiles)} tiles",
            flush=True,
        )


def choices(encoder: str, compiled: bool) -> None:
    """Print CPU and wall seconds of batch sizes and layouts over those of the fixed choice, and
    where bits differ from it.
    """
    tuned, tiles = ready_for(encoder, False).model, tiles_of(real_job())[:CHOICE_TILES]
    plain = loaded_encoder(encoder, CPU)[0].to(memory_format=torch.contiguous_format)
    plain.network.register_forward_pre_hook(lambda _, images: (images[0].contiguous(),))
    ways = {("channels last", b): (tuned, b) for b in BATCHES} | {
        ("contiguous", b): (plain, b) for b in (8,)
    }
    ways |= {("compiled", b): (CompiledEncoder(tuned, b), b) for b in (BATCHES if compiled else ())}
    runs: dict[tuple[str, int], Callable[[], object]] = {
        w: partial(features, model, tiles, b) for w, (model, b) in ways.items()
    }
    results = {way: run() for way, run in runs.items()}
    wall: dict[tuple[str, int], list[float]] = defaultdict(list)
    cpu: dict[tuple[str, int], list[float]] = defaultdict(list)
    with ExitStack() as stack:
        runs |= {
            ("eager defaults", b): stack.enter_context(Apart(encode_in_batches, encoder, tiles, b))
            for b in (8, 32)
        }
        for _ in range(1 + CHOICE_ROUNDS):
            for way, run in runs.items():
                for clock, seconds in zip((wall, cpu), timed(run)):
                    clock[way].append(seconds)
    fixed = ("channels last", FIXED["cpu"])
    print(
        f"{encoder}: {len(tiles) / statistics.median(wall[fixed][1:]):.1f} tiles/s by the fixed"
        f" choice, {' '.join(map(str, fixed))}"
    )
    for way in runs:
        bits = (
            f", {(results[way] == results[fixed]).mean():.1%} of the stored numbers the same bits"
            if way in results
            else ""
        )
        ratios = f"wall {over(wall[way], wall[fixed])}, CPU {over(cpu[way], cpu[fixed])}"
        print(
            f"  {way[0]:<14} {way[1]:>2}: seconds over the fixed choice's: {ratios}{bits}",
            flush=True,
        )


def ready_for(encoder: str, compiled: bool) -> ReadyEncoder:
    """Return our encoder in batches of the fixed size."""
    return ready_encoder(encoder, CPU, batch_size=FIXED["cpu"], compiled=compiled)


def over(seconds: list[float], fixed: list[float]) -> str:
    """Return the median of paired ratios without the first round, with their range."""
    ratios = sorted(a / b for a, b in zip(seconds[1:], fixed[1:]))
    return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f})"


def compare(
    title: str,
    tiles: int,
    slow_name: str,
    slow: Callable[[], object],
    fast_name: str,
    fast: Callable[[], object],
) -> None:
    """Run both by turns and print the rate of the second over that of the first, in wall and in CPU
    seconds.
    """
    wall: dict[str, list[float]] = {slow_name: [], fast_name: []}
    cpu: dict[str, list[float]] = {slow_name: [], fast_name: []}
    for _ in range(1 + ROUNDS):  # the first warms up
        for name, run in ((slow_name, slow), (fast_name, fast)):
            for clock, seconds in zip((wall, cpu), timed(run)):
                clock[name].append(seconds)
    rates = ", ".join(
        f"{name} {tiles / statistics.median(seconds[1:]):.1f}" for name, seconds in wall.items()
    )
    print(f"{title}, {tiles} tiles; tiles/s: {rates}")
    for clock, seconds in (("wall", wall), ("CPU", cpu)):
        print(
            f"  rate of {fast_name} over {slow_name}, {clock} seconds:"
            f" {over(seconds[slow_name], seconds[fast_name])}",
            flush=True,
        )


def add_random_weights(name: str) -> None:
    path = Path("checkpoints") / f"{name}.safetensors"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        torch.manual_seed(1)
        described = find_encoder(name)
        save_file(
            timm.create_model(described.timm_name, num_classes=0, **described.kwargs).state_dict(),
            path,
        )


def tissue() -> np.ndarray:
    """Return (3072, 4096, 3) of a real slide."""
    with open_slide(Path(os.environ["PATHOML_SHARED"]) / "data" / SOURCE) as slide:
        return slide.read_region((0, 0), 0, (4096, 3072))


def real_job() -> EmbedJob:
    """Return the job of the real tissue's slide, written and tiled where it is not there yet."""
    path = Path("tissue.tif")
    if not path.exists():
        write_picture(path, tissue())
    return job_of(path, tile=True)


def job_of(path: Path, *, tile: bool) -> EmbedJob:
    slide = Slide(slide_id=path.stem, patient_id="P1", path=path)
    if tile:
        tile_one(
            TileJob(
                slide=slide,
                study_mpp=None,
                tile_px=TILE_PX,
                mpp=MPP,
                tiles=TilesConfig(),
                folder=Path("tiles"),
            )
        )
    return EmbedJob(
        slide_id=path.stem,
        slide_path=path,
        tiles_path=Path("tiles") / f"{path.stem}.h5",
        embeddings_path=Path("embeddings") / f"{path.stem}.h5",
        exclude=(),
    )


def tiles_of(job: EmbedJob) -> np.ndarray:
    """Return (N, 224, 224, 3) of a job's tiles."""
    Path("embeddings").mkdir(exist_ok=True)
    grid = read_tiles(job.tiles_path)[0]
    with open_slide(job.slide_path) as slide:
        return np.stack(
            [
                read_tile(slide, (x, y), grid.tile_l0, tile_px=TILE_PX)
                for x, y in grid.xy_l0.tolist()
            ]
        )


def write_square(path: Path, side: int) -> None:
    """Write a square slide of glass with square islands of tissue: one in the small slide, 16
    spread over the large one.
    """
    islands = 1 if side < ISLAND_PX * 4 else 4
    whole = tissue()[:ISLAND_PX, :ISLAND_PX]
    pitch = side // islands

    def tiles(scale: int) -> Iterator[np.ndarray]:
        island = cv2.resize(whole, None, fx=1 / scale, fy=1 / scale, interpolation=cv2.INTER_AREA)
        count = -(-(side // scale) // NATIVE_PX)
        for row, column in np.ndindex(count, count):
            tile = np.full((NATIVE_PX, NATIVE_PX, 3), 242, np.uint8)
            y, x = np.meshgrid(
                *(np.arange(n * NATIVE_PX, (n + 1) * NATIVE_PX) for n in (row, column)),
                indexing="ij",
            )
            y, x = (n % (pitch // scale) for n in (y, x))
            is_tissue = (x < len(island)) & (y < len(island))
            tile[is_tissue] = island[y[is_tissue], x[is_tissue]]
            yield tile

    write_pyramid(path, (side, side), tiles)


PARTS: dict[str, tuple[Callable[[str, bool], None], tuple[str, ...]]] = {
    "whole": (whole, ("resnet50", VIT_S)),
    "field": (field, ("resnet50",)),
    "memory": (memory, ("resnet50",)),
    "precision": (precision, ("efficientnet_lite0", "resnet50", VIT_S)),
    "choices": (choices, ("efficientnet_lite0", "resnet50", VIT_S)),
}

if __name__ == "__main__":
    main()
