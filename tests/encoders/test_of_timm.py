"""An encoder is built beside a torch without CUDA too, for which torchvision was not made."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
# what such a torch does: torchvision's library needs one of CUDA that is not there
WITHOUT_CUDA = """
import torch
load = torch.ops.load_library
def refuse(path):
    if "torchvision" in str(path):
        raise OSError("libcudart.so.13: cannot open shared object file")
    return load(path)
torch.ops.load_library = refuse
"""


def say(program: str) -> tuple[int, str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    return done.returncode, done.stdout + done.stderr


def test_torchvision_alone_refuses_such_a_torch() -> None:
    """As long as this holds, the module under test is needed."""
    code, said = say(f"{WITHOUT_CUDA}import torchvision")
    assert code != 0
    assert "operator torchvision::" in said


def test_the_network_gives_the_same_numbers_there() -> None:
    program = (
        "import torch\n"
        "from pathoml.embedding.network import load_encoder\n"
        "model, _ = load_encoder('efficientnet_lite0')\n"
        "tiles = (torch.arange(2 * 224 * 224 * 3) % 251).to(torch.uint8).view(2, 224, 224, 3)\n"
        "with torch.inference_mode(): print(model(tiles).double().sum().item())\n"
    )
    here, there = say(program), say(WITHOUT_CUDA + program)
    assert here[0] == there[0] == 0, here[1] + there[1]
    assert here == there


def test_every_encoder_that_names_a_layer_of_timm_loads_there() -> None:
    program = (
        "from pathoml.plugins import names_with\nprint(*names_with('pathoml.encoders', 'ENCODER'))"
    )
    code, said = say(WITHOUT_CUDA + program)
    assert code == 0, said
    assert {"uni2_h", "virchow2", "h0_mini", "hibou_b"} <= set(said.split())


def test_nothing_is_declared_where_torchvision_has_its_operators() -> None:
    code, said = say(
        "from pathoml.encoders.of_timm import declare_missing\nprint(declare_missing())"
    )
    assert (code, said.strip()) == (0, "()")


def test_a_torchvision_that_does_not_fit_in_another_way_is_a_sentence_with_a_way_out() -> None:
    program = (
        "import sys; sys.modules['torchvision'] = None\n"
        "from pathoml.cli import guarded\n"
        "import importlib\n"
        "sys.exit(guarded(lambda: importlib.import_module('pathoml.encoders.of_timm')))\n"
    )
    code, said = say(program)
    assert code == 2
    assert said.startswith("torchvision does not fit torch ")
    assert "--torch-backend cpu" in said
    assert "Traceback" not in said
