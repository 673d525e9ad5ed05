"""What several test modules need: real data where there is some, and small slides whose every pixel
is known.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

# an installed package of somebody else: its examples are not ours to run
collect_ignore = ["support/example_plugin"]
pytest_plugins = ["support.browsing"]  # Chromium and the served study


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data; without it the test is skipped, visibly, or fails where everything
    has to be there.
    """
    folder = Path(os.environ.get("PATHOML_SHARED", Path(__file__).parents[2] / "shared")) / "data"
    if not folder.is_dir():
        if os.environ.get("PATHOML_REQUIRE_ALL") == "1":
            pytest.fail(f"PATHOML_REQUIRE_ALL=1, but there is no {folder}")
        pytest.skip(f"no real data at {folder} (PATHOML_SHARED)")
    return folder


@pytest.fixture
def write_slide() -> Callable[..., Path]:
    """Write an RGB picture as a tiled pyramidal TIFF that OpenSlide opens, every level compressed
    without loss.
    """

    def write(
        path: Path,
        picture: np.ndarray,
        *,
        mpp: float | None = None,
        mpp_y: float | None = None,
        levels: int = 2,
    ) -> Path:
        options = {
            "tile": (256, 256),
            "photometric": "rgb",
            "compression": "zlib",
            "compressionargs": {"level": 1},
        }
        if mpp is not None:  # pixels a centimetre
            options |= {"resolution": (10_000 / mpp, 10_000 / (mpp_y or mpp)), "resolutionunit": 3}
        with tifffile.TiffWriter(path) as file:
            for level in range(levels):
                size = (picture.shape[1] // 4**level, picture.shape[0] // 4**level)
                file.write(
                    cv2.resize(picture, size, interpolation=cv2.INTER_AREA),
                    subfiletype=int(level > 0),
                    **options,
                )
        return path

    return write


@pytest.fixture
def pink_tissue() -> Callable[..., np.ndarray]:
    """Draw a square of eosin pink with violet nuclei, in the middle of white glass."""

    rng = np.random.default_rng(1)
    texture = np.full((256, 256, 3), (225, 150, 190), np.uint8)
    for x, y in rng.integers(0, 256, size=(160, 2)).tolist():
        cv2.circle(texture, (x, y), 4, (110, 70, 150), -1)
    noise = rng.integers(0, 7, size=texture.shape, dtype=np.uint8)

    def draw(side_px: int, *, tissue_px: int | None = None) -> np.ndarray:
        tissue_px = side_px // 2 if tissue_px is None else tissue_px
        start, repeats = (side_px - tissue_px) // 2, (side_px // 256 + 1, side_px // 256 + 1, 1)
        picture = np.full((side_px, side_px, 3), 239, np.uint8)
        picture[start : start + tissue_px, start : start + tissue_px] = np.tile(texture, repeats)[
            :tissue_px, :tissue_px
        ]
        return picture + np.tile(noise, repeats)[:side_px, :side_px]

    return draw


@pytest.fixture
def drop_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str, str, str], None]]:
    """Add one file to an extension folder for the time of a test, and leave nothing behind."""
    added: list[tuple[str, str]] = []

    def add(package: str, name: str, code: str) -> None:
        folder = tmp_path / package
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.py").write_text(code, encoding="utf-8")
        __import__(package)
        monkeypatch.setattr(
            sys.modules[package], "__path__", [*sys.modules[package].__path__, str(folder)]
        )
        added.append((package, name))

    yield add
    for package, name in added:
        sys.modules.pop(f"{package}.{name}", None)
        vars(sys.modules[package]).pop(name, None)


@pytest.fixture
def installed_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Install support/example_plugin for the time of a test, as far as Python can tell; return the
    folder that would be site-packages, a copy.
    """
    folder = tmp_path / "site-packages"
    shutil.copytree(Path(__file__).parent / "support" / "example_plugin", folder)
    monkeypatch.setattr(sys, "path", [*sys.path, str(folder)])
    yield folder
    for name in [n for n in sys.modules if n.partition(".")[0] == "example_plugin"]:
        del sys.modules[name]
    for looked_up in vars(sys.modules["pathoml.plugins"]).values():
        if hasattr(looked_up, "cache_clear"):  # the next copy has the same names in another folder
            looked_up.cache_clear()
