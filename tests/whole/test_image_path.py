"""From pixels to features: tiles of real tissue keep their class, whether they come from files or
from a slide that is laid out of them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from sklearn.model_selection import LeaveOneOut, cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from pathoml.embedding.jobs import EmbedJob
from pathoml.embedding.loop import embed_slides
from pathoml.embedding.network import read_weights
from pathoml.embedding.ready_encoder import ready_encoder
from pathoml.encoders.finding import find_encoder, find_weights
from pathoml.store.embeddings import read_embeddings
from pathoml.store.tiles import write_tiles
from pathoml.types import Recipe, TileGrid, TissueMask

SIDE, COLUMNS = 224, 10
NEIGHBOURS = 3


def labelled(folder: Path, crops: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (N, 224, 224, 3) tiles, `crops` of the diagonal of each picture, and their (N,)
    classes.
    """
    tiles, classes = [], []
    for path in sorted(folder.glob("*.jpg")):
        picture = np.asarray(PIL.Image.open(path).convert("RGB"))
        for crop in range(crops):
            at = crop * SIDE
            tiles.append(picture[at : at + SIDE, at : at + SIDE])
            classes.append(path.name.split("___")[0].split("-Case")[0])
    return np.stack(tiles), np.array(classes)


def accuracy(features: np.ndarray, classes: np.ndarray, groups: int = 1) -> float:
    """Return how often the nearest neighbours by cosine, the picture's own crops left out, name the
    class.
    """
    classifier = KNeighborsClassifier(NEIGHBOURS, metric="cosine")
    if groups == 1:
        return float(cross_val_score(classifier, features, classes, cv=LeaveOneOut()).mean())
    picture = np.arange(len(classes)) // groups
    folds = [
        (np.flatnonzero(picture != p), np.flatnonzero(picture == p)) for p in np.unique(picture)
    ]
    return float(cross_val_score(classifier, features, classes, cv=folds).mean())


@pytest.mark.parametrize(("name", "mpp", "crops"), [("nct_crc", 0.5, 1), ("osteosarcoma", 1.0, 2)])
def test_neighbours_name_the_class_alike_from_files_from_a_slide_and_by_the_reference(
    shared_data: Path, tmp_path: Path, write_slide, name: str, mpp: float, crops: int
) -> None:
    tiles, classes = labelled(shared_data / "tiles" / name, crops)
    cpu = torch.device("cpu")
    encoder = ready_encoder("efficientnet_lite0", cpu, batch_size=8)
    from_files = np.concatenate([encoder(tiles[i : i + 8]) for i in range(0, len(tiles), 8)])

    rows = -(-len(tiles) // COLUMNS)
    slide = np.full((rows * SIDE, COLUMNS * SIDE, 3), 240, np.uint8)
    place = np.arange(len(tiles))
    xy = np.stack([place % COLUMNS, place // COLUMNS], axis=1) * SIDE
    for (x, y), tile in zip(xy, tiles):
        slide[y : y + SIDE, x : x + SIDE] = tile
    path = write_slide(tmp_path / "laid.tif", slide, mpp=mpp)
    n = len(tiles)
    grid = TileGrid(
        slide_id="laid", xy_l0=xy.astype(np.int64), tile_l0=SIDE, tile_px=SIDE, mpp=mpp,
        level0_mpp=mpp, size_l0=slide.shape[1::-1], tissue_fraction=np.ones(n, np.float32),
        flags=np.zeros(n, np.uint8), slide_sha256="x",
    )  # fmt: skip
    mask = TissueMask(
        slide_id="laid", mask=np.ones((2, 2), bool), downsample=1.0, method="all", flags={}
    )
    write_tiles(tmp_path / "tiles" / "laid.h5", grid, mask, recipe=Recipe(step="test", inputs={}))
    target = tmp_path / "embeddings" / "laid.h5"
    job = EmbedJob(
        slide_id="laid",
        slide_path=path,
        tiles_path=tmp_path / "tiles" / "laid.h5",
        embeddings_path=target,
        exclude=(),
    )
    report = embed_slides([job], encoder, workers=1, on_tiles=lambda *_: None)
    assert report.failures == {}
    from_slide = read_embeddings(target).features

    from efficientnet_lite_pytorch import (
        EfficientNet,  # its author's implementation, on pixels that Pillow decoded
    )

    reference = EfficientNet.from_name("efficientnet-lite0")
    reference.load_state_dict(
        read_weights(find_weights("efficientnet_lite0", find_encoder("efficientnet_lite0")))
    )
    with torch.inference_mode():
        images = (torch.from_numpy(tiles).permute(0, 3, 1, 2) / 255 - 0.5) / 0.5
        by_reference = torch.cat(
            [reference.eval().extract_features(part).mean(dim=(2, 3)) for part in images.split(8)]
        ).numpy()

    known = accuracy(by_reference, classes, crops)
    assert known > 1.5 / len(np.unique(classes)), "the classes can be told apart at all"
    assert accuracy(from_files.astype(np.float32), classes, crops) == pytest.approx(known, abs=0.01)
    assert accuracy(from_slide.astype(np.float32), classes, crops) == pytest.approx(known, abs=0.01)
    cosine = (
        (by_reference * from_slide).sum(1)
        / np.linalg.norm(by_reference, axis=1)
        / np.linalg.norm(from_slide.astype(np.float32), axis=1)
    )
    assert cosine.min() > 0.9999, "float16 features against float32"
