"""A compiled encoder gives the features of the network within rounding, and the same bits whatever
was embedded before.
"""

from __future__ import annotations

import shutil
import stat
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from support.tiny_study import pathoml, tiny_study
from torch import nn

from pathoml.compute.measured import memory_path
from pathoml.embedding import compiling
from pathoml.embedding.compiling import (
    CompiledEncoder,
    choose_compiled,
    code_folder,
    is_worth_compiling,
)
from pathoml.embedding.network import EncoderModel
from pathoml.embedding.ready_encoder import embed_tiles
from pathoml.encoders.finding import find_encoder
from pathoml.errors import EncoderError
from pathoml.store.embeddings import read_embeddings
from pathoml.store.hdf5 import stored_attr

CPU, BATCH = torch.device("cpu"), 4
compiles = pytest.mark.skipif(
    shutil.which("g++") is None, reason="needs a C++ compiler: apt-get install g++"
)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Iterator[None]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")  # so that it is restored
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    deterministic = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(deterministic)
    torch.compiler.reset()


@pytest.fixture
def model() -> EncoderModel:
    torch.manual_seed(1)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 5, stride=4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 6),
    )
    return EncoderModel(network.eval(), find_encoder("efficientnet_lite0"))


@pytest.fixture
def uncompiled(monkeypatch) -> list[str]:
    """torch.compile in name only; what it was asked for."""
    asked: list[str] = []
    monkeypatch.setattr(torch, "compile", lambda model, **_: asked.append("compile") or model)
    return asked


def tiles(count: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 224, 224, 3), dtype=np.uint8)


def encode_by(model: nn.Module):
    return lambda batch: embed_tiles(model, batch, CPU)


def choose(model: EncoderModel, wanted: bool | None) -> tuple[nn.Module, str]:
    return choose_compiled(
        wanted, model, BATCH, encode_by=encode_by, encoder_sha256="a", device=CPU
    )


@compiles
def test_full_batches_are_the_networks_within_rounding_and_the_rest_is_the_networks(model):
    chosen, why = choose(model, None)
    assert isinstance(chosen, CompiledEncoder)
    assert why.startswith("compiled for this machine")
    full, rest = embed_tiles(chosen, tiles(BATCH), CPU), embed_tiles(chosen, tiles(3), CPU)
    np.testing.assert_allclose(full, embed_tiles(model, tiles(BATCH), CPU), rtol=2e-3, atol=1e-4)
    np.testing.assert_array_equal(rest, embed_tiles(model, tiles(3), CPU))
    torch.compiler.reset()
    again = CompiledEncoder(model, BATCH)
    for count in (1, 3, 2):
        embed_tiles(again, tiles(count), CPU)
    np.testing.assert_array_equal(embed_tiles(again, tiles(BATCH), CPU), full)
    assert stat.S_IMODE(code_folder().stat().st_mode) == 0o700, "nobody else may put code there"
    assert any(code_folder().rglob("*.so"))


@pytest.fixture
def no_compiler(monkeypatch) -> None:
    def fails(*_: object, **__: object) -> nn.Module:
        class Failing(nn.Module):
            def forward(self, _: torch.Tensor) -> torch.Tensor:
                raise RuntimeError("No working C++ compiler found\nmore")

        return Failing()

    monkeypatch.setattr(torch, "compile", fails)


@pytest.mark.usefixtures("no_compiler")
def test_without_a_compiler_the_network_runs_as_it_is_and_it_is_said(model):
    chosen, why = choose(model, None)
    assert chosen is model
    assert (
        why
        == "not compiled, which takes a C++ compiler, as g++ (RuntimeError: No working C++ compiler"
        " found)"
    )


@pytest.mark.usefixtures("no_compiler")
def test_who_asks_for_compiled_code_that_cannot_be_had_is_told_how(model):
    with pytest.raises(
        EncoderError,
        match=r"No working C\+\+ compiler found\). Install g\+\+, or set compute.compile: auto",
    ):
        choose(model, True)


@pytest.mark.parametrize(
    ("wanted", "meant", "asked"), [(True, True, []), (False, False, []), ("auto", None, [30])]
)
def test_a_study_of_many_tiles_is_worth_compiling_and_nobody_counts_where_it_is_settled(
    monkeypatch, wanted, meant, asked
):
    counted = []
    monkeypatch.setattr(compiling, "WORTH_TILES", 30)
    monkeypatch.setattr(
        compiling, "tiles_of", lambda jobs, *, enough: counted.append(enough) or 10 * len(jobs)
    )
    assert is_worth_compiling(wanted, ["S1", "S2", "S3"]) is meant
    assert counted == asked
    assert is_worth_compiling("auto", ["S1", "S2"]) is False


def test_nobody_asked_nothing_is_compiled(model, uncompiled):
    assert choose(model, False) == (model, "")
    assert uncompiled == []


@pytest.mark.parametrize(("ratio", "taken"), [(0.5, True), (0.99, False)])
def test_where_bits_may_differ_a_trial_decides_and_is_remembered(
    model, uncompiled, monkeypatch, ratio, taken
):
    torch.use_deterministic_algorithms(False)
    monkeypatch.setattr(compiling, "_ratio", lambda *_: ratio)
    assert isinstance(choose(model, None)[0], CompiledEncoder) is taken
    assert memory_path().exists()
    monkeypatch.setattr(
        compiling, "_ratio", lambda *_: 1 - ratio
    )  # the second time nobody looks at the clock
    assert isinstance(choose(model, None)[0], CompiledEncoder) is taken
    assert len(uncompiled) == (2 if taken else 1)


@pytest.mark.usefixtures("uncompiled")
def test_the_real_clock_times_both(model):
    torch.use_deterministic_algorithms(False)
    assert choose(model, None)[1] in (
        "compiled: faster in a trial",
        "not compiled: slower in a trial",
    )


@compiles
@pytest.mark.ci
def test_a_rerun_with_little_to_do_compiles_as_the_first_run_did_and_gives_its_bits(
    tmp_path, monkeypatch, capsys
):
    study = tiny_study(tmp_path / "study", patients=6)
    assert pathoml("tile", str(study)) == 0
    monkeypatch.setattr(compiling, "WORTH_TILES", 12)
    assert pathoml("embed", str(study)) == 0
    assert "; compiled for this machine" in capsys.readouterr().out
    files = sorted(study.glob("embeddings/*/*.h5"))
    first = {path: read_embeddings(path).features.copy() for path in files}
    assert {stored_attr(path, "precision") for path in files} == {"float32, compiled"}
    files[0].unlink()
    torch.compiler.reset()
    assert pathoml("embed", str(study)) == 0
    np.testing.assert_array_equal(read_embeddings(files[0]).features, first[files[0]])
    assert (
        pathoml("embed", str(study), "--set", "compute.compile=false", "--set", "run=other") == 0
    )  # no reason to embed again
    assert "0 of" in capsys.readouterr().out
