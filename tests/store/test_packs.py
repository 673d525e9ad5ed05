"""Packed embeddings are read as the plain files were, come back byte for byte, and a bad pack is
named.
"""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
from support.stored import file_behind

from pathoml.errors import StoreError
from pathoml.store.embeddings import read_embeddings, write_embeddings
from pathoml.store.hdf5 import stored_attr
from pathoml.store.packs import (
    ALIGNMENT,
    drop_packed,
    find_packed,
    is_stored,
    pack_folder,
    pack_paths,
    stored_paths,
)
from pathoml.types import Recipe, TileGrid

SLIDES = tuple(f"S{i}" for i in range(5))


def embed(path: Path, value: float) -> None:
    n = 40 + len(path.stem)
    grid = TileGrid(
        slide_id=path.stem,
        xy_l0=np.stack([np.arange(n), np.zeros(n, int)], axis=1),
        tile_l0=1,
        tile_px=1,
        mpp=1.0,
        level0_mpp=1.0,
        size_l0=(n, 1),
        tissue_fraction=np.ones(n, np.float32),
        flags=np.zeros(n, np.uint8),
        slide_sha256="x",
    )
    features = np.full((n, 16), value, np.float16)
    recipe = Recipe(step="embed", inputs={"value": value})
    write_embeddings(
        path, grid, features, encoder="e", encoder_sha256="w", precision="float32", recipe=recipe
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "embeddings" / "e"
    for number, slide in enumerate(SLIDES):
        embed(folder / f"{slide}.h5", number)
    return folder


def two_a_pack(folder: Path) -> int:
    return 2 * (folder / "S0.h5").stat().st_size + 10


def test_packed_slides_are_read_as_before_from_a_file_for_every_two(folder: Path) -> None:
    before = {slide: read_embeddings(folder / f"{slide}.h5") for slide in SLIDES}
    recipes = {slide: stored_attr(folder / f"{slide}.h5", "recipe_sha256") for slide in SLIDES}
    assert [slides for _, slides in pack_folder(folder, two_a_pack(folder))] == [2, 2, 1]
    assert sorted(path.name for path in folder.iterdir()) == [
        "pack-00001.zip",
        "pack-00002.zip",
        "pack-00003.zip",
    ]
    for number, slide in enumerate(SLIDES):
        path = folder / f"{slide}.h5"
        packed = read_embeddings(path)
        assert (packed.features == number).all()
        assert (packed.grid.xy_l0 == before[slide].grid.xy_l0).all()
        assert Path(file_behind(packed.features)).suffix == ".zip", (
            "the array is mapped where it lies, not copied"
        )
        assert stored_attr(path, "recipe_sha256") == recipes[slide] != ""
        assert is_stored(path)
        found = find_packed(path)
        assert found is not None
        assert found.offset % ALIGNMENT == 0
    assert [path.stem for path in stored_paths(folder)] == list(SLIDES)
    assert not is_stored(folder / "S9.h5")


def test_any_unzip_gives_the_files_back_byte_for_byte(folder: Path, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.glob("*.h5")}
    list(pack_folder(folder, 10**9))
    (tmp_path / "out").mkdir()
    code = "import shutil, sys; shutil.unpack_archive(sys.argv[1], sys.argv[2])"
    subprocess.run(
        ["python3", "-c", code, str(folder / "pack-00001.zip"), str(tmp_path / "out")], check=True
    )
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_a_slide_embedded_again_comes_first_and_packing_again_drops_the_old_one(
    folder: Path,
) -> None:
    list(pack_folder(folder, 10**9))
    embed(folder / "S1.h5", 77)
    assert (read_embeddings(folder / "S1.h5").features == 77).all()
    list(pack_folder(folder, 10**9))
    assert not (folder / "S1.h5").exists()
    assert (read_embeddings(folder / "S1.h5").features == 77).all()
    assert [sorted(zipfile.ZipFile(pack).namelist()) for pack in pack_paths(folder)] == [
        ["S0.h5", "S2.h5", "S3.h5", "S4.h5"],
        ["S1.h5"],
    ]
    assert all(
        (read_embeddings(folder / f"{s}.h5").features == n).all()
        for n, s in enumerate(SLIDES)
        if s != "S1"
    )


def test_a_dropped_slide_is_in_no_pack_and_the_others_stay(folder: Path) -> None:
    list(pack_folder(folder, two_a_pack(folder)))
    assert [pack.name for pack in drop_packed(folder, {"S0.h5", "S4.h5"})] == [
        "pack-00001.zip",
        "pack-00003.zip",
    ]
    assert [path.stem for path in stored_paths(folder)] == ["S1", "S2", "S3"]
    assert [pack.name for pack in pack_paths(folder)] == ["pack-00001.zip", "pack-00002.zip"]
    assert (read_embeddings(folder / "S1.h5").features == 1).all()
    with pytest.raises(StoreError, match=r"S0\.h5 is missing"):
        read_embeddings(folder / "S0.h5")


def test_a_bit_that_flips_in_a_pack_is_found(folder: Path) -> None:
    list(pack_folder(folder, 10**9))
    found = find_packed(folder / "S3.h5")
    assert found is not None
    raw = bytearray(found.pack.read_bytes())
    raw[found.offset + found.size - 3] ^= 1
    found.pack.write_bytes(raw)
    with pytest.raises(StoreError, match=r"S3\.h5"):
        read_embeddings(folder / "S3.h5")


@pytest.mark.parametrize("spoil", ["torn", "compressed", "short"])
def test_a_pack_that_is_torn_or_compressed_is_refused_by_name(folder: Path, spoil: str) -> None:
    list(pack_folder(folder, 10**9))
    pack = folder / "pack-00001.zip"
    if spoil == "torn":
        pack.write_bytes(pack.read_bytes()[:2000])
    elif spoil == "compressed":
        with zipfile.ZipFile(pack) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(pack, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
    else:  # the directory promises more than there is
        raw = pack.read_bytes()
        start = raw.index(b"PK\1\2")
        huge = (10**9).to_bytes(4, "little")
        pack.write_bytes(raw[: start + 20] + huge + huge + raw[start + 28 :])
    with pytest.raises(StoreError, match=r"pack-00001\.zip"):
        read_embeddings(folder / "S0.h5")
