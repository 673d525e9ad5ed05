"""Features as other tools write them."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import torch

YAML = """endpoint: {name: PFS, time_zero: first ablation, time: pfs_months, event: pfs_event}
encoder: uni
tiles: {tile_px: 256, mpp: 0.5}
"""


XY = np.array([[0, 0], [512, 0], [512, 1024]])


FEATURES = np.random.default_rng(1).normal(size=(3, 1024)).astype(np.float32)


def write_h5(
    path: Path,
    arrays: dict[str, np.ndarray],
    attrs: dict[str, dict[str, object]] | None = None,
    **root: object,
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(
                name, data=array, chunks=(1, *array.shape[1:]), maxshape=(None, *array.shape[1:])
            )
            file[name].attrs.update((attrs or {}).get(name, {}))
        file.attrs.update(root)
    return path


def trident_file(
    job: Path, slide_id: str = "A1", features: np.ndarray = FEATURES, **changes: object
) -> Path:
    coords = {
        "patch_size": 256,
        "patch_size_level0": 512,
        "level0_magnification": 40,
        "target_magnification": 20,
        "overlap": 0,
    }
    coords |= {
        "name": slide_id,
        "savetodir": str(job),
        "level0_width": 4000,
        "level0_height": 3000,
        **changes,
    }
    attrs = {
        "features": {"encoder": "uni", "name": slide_id, "savetodir": str(job)},
        "coords": coords,
    }
    path = job / "20x_256px_0px_overlap" / "features_uni" / f"{slide_id}.h5"
    return write_h5(
        path, {"features": features, "coords": XY[: len(features)].astype(np.int64)}, attrs
    )


def clam_files(folder: Path, slide_id: str = "A1") -> Path:
    attrs = {
        "patch_size": 256,
        "patch_level": 1,
        "downsample": np.array([2.0, 2.0]),
        "downsampled_level_dim": (2000, 1500),
    }
    attrs |= {"level_dim": (2000, 1500), "name": slide_id, "save_path": "patches"}
    write_h5(
        folder / "patches" / f"{slide_id}.h5", {"coords": XY.astype(np.int64)}, {"coords": attrs}
    )
    return write_h5(
        folder / "features" / "h5_files" / f"{slide_id}.h5",
        {"features": FEATURES, "coords": XY.astype(np.int32)},
    )


def stamp_file(folder: Path, slide_id: str = "A1", generation: str = "new") -> Path:
    um = (XY * 0.25).astype(np.float32)  # 512 level-0 pixels are 128 micrometres
    arrays = {"feats": FEATURES.astype(np.float16), "coords": um}
    path = folder / "uni-1a2b3c4d" / f"{slide_id}.h5"
    if generation == "new":
        root = {
            "stamp_version": "2.2.0",
            "tile_size_um": 128.0,
            "tile_size_px": 256,
            "code_hash": "0",
            "feat_type": "tile",
        }
        return write_h5(path, arrays, unit="um", extractor="uni-1a2b3c4d", **root)
    return write_h5(path, arrays, unit="um", extractor="uni", tile_size=128.0, tile_size_px=256)


def pt_files(folder: Path, slide_id: str = "A1") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(torch.from_numpy(FEATURES), folder / f"{slide_id}.pt")
    (folder / f"{slide_id}.csv").write_text("x,y\n" + "".join(f"{x},{y}\n" for x, y in XY))
    (folder / "tiles.json").write_text(
        json.dumps({"encoder": "uni", "tile_px": 256, "tile_um": 128.0})
    )
    return folder / f"{slide_id}.pt"
