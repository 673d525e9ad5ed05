"""Every model begins with the weights of train.init, and a file that does not fit is refused in one
sentence that says what was expected.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support.initial import HIDDEN, QUICK, STANDING, OtherAbmil, head_tensors, write_weights
from support.learning import DIM, planted_cohort, write_study

from pathoml.config import load_study
from pathoml.errors import ConfigError
from pathoml.evaluation.permutation import permuted_specs
from pathoml.store.files import read_json
from pathoml.study.splits import make_splits
from pathoml.training.fit import fit_models
from pathoml.training.initial_weights import read_initial_weights
from pathoml.training.loop import model_specs
from pathoml.training.model_stack import HeadSpec
from pathoml.training.models import PROJECTION_KEYS
from pathoml.training.nested import inner_scores, nested_specs
from pathoml.training.step import train_study
from pathoml.training.trained import Trained

RAW = "train.projection=null"


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that was trained, with a projection to 8 components."""
    people = planted_cohort(12, seed=5)
    folder = write_study(tmp_path_factory.mktemp("elsewhere") / "study", *people[:2]).folder
    train_study(load_study(folder, QUICK))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_study(tmp_path / "study", *planted_cohort(12, seed=6)[:2]).folder


def trained(folder: Path, *settings: str) -> Trained:
    return train_study(load_study(folder, [*QUICK, *settings]))


def models(folder: Path) -> list[dict[str, torch.Tensor]]:
    paths = sorted((folder / "runs" / "main" / "models").glob("repeat*.safetensors"))
    return [load_file(path) for path in paths]


def refusal(folder: Path, *settings: str) -> str:
    with pytest.raises(ConfigError) as caught:
        trained(folder, *settings)
    assert not (folder / "runs" / "main" / "models").exists()
    return str(caught.value)


def test_every_fold_and_seed_begins_with_the_weights_on_features_as_they_are(folder: Path) -> None:
    given = head_tensors()
    write_weights(folder / "w.safetensors", given)
    done = trained(folder, "train.init=w.safetensors", RAW, *STANDING)
    every = models(folder)
    assert len(every) == 6  # 3 folds, 2 seeds
    for tensors in every:
        mean, scale = (tensors.pop(key) for key in PROJECTION_KEYS)
        assert (mean.eq(0).all(), scale.eq(1).all()) == (True, True)
        assert tensors.keys() == given.keys()
        for name, value in given.items():
            torch.testing.assert_close(tensors[name], value, rtol=1e-6, atol=1e-9)
    assert "features as they are" in done.tiles


def test_seeds_that_begin_alike_differ_by_dropout_alone(folder: Path) -> None:
    write_weights(folder / "w.safetensors", head_tensors())
    begun = ["train.init=w.safetensors", RAW]
    assert trained(folder, *begun).warnings == ()
    first, second, *_ = models(folder)
    # of Adam's first step each weight shows the sign of its gradient alone, so all are looked at
    assert any(not torch.equal(first[name], second[name]) for name in first)
    [warning] = trained(folder, *begun, "train.dropout=0").warnings
    first, second, *_ = models(folder)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert "nothing differs between them. Set train.seeds to 1" in warning


def test_a_model_of_another_study_brings_its_projection(elsewhere: Path, folder: Path) -> None:
    file = next((elsewhere / "runs" / "main" / "models").glob("repeat*.safetensors"))
    given = load_file(file)
    done = trained(folder, f"train.init={file}", *STANDING)
    for tensors in models(folder):
        for name, value in given.items():
            torch.testing.assert_close(tensors[name], value, rtol=1e-6, atol=1e-9)
    assert "8 components that came with the weights" in done.tiles
    assert read_json(folder / "runs" / "main" / "models" / "models.json")["head"]["in_dim"] == 8


def test_models_of_inner_folds_and_of_permutations_begin_with_the_weights_too(
    folder: Path,
) -> None:
    write_weights(folder / "w.safetensors", head_tensors())
    study = load_study(folder, [*QUICK, "train.init=w.safetensors", RAW, *STANDING])
    cohort, bags, _ = planted_cohort(12, seed=6)
    config, splits = study.config, make_splits(cohort, study.config.splits)
    shuffled = permuted_specs(cohort, splits, 1, permutations=2, seed=1)
    specs = [*nested_specs(cohort, splits[0], config.splits, seeds=1), *shuffled]
    raw = inner_scores(cohort, bags, specs, config=config.train, device=torch.device("cpu"), seed=1)
    assert np.ptp(raw, axis=1).min() > 0.01  # the read-out's weights too
    # each sees every patient's own bag when it scores them, whatever it learned from
    own = raw[: -len(shuffled)]
    np.testing.assert_allclose(own, np.repeat(own[:1], len(own), axis=0), rtol=1e-4)
    for spec, row in zip(shuffled, raw[-len(shuffled) :]):
        np.testing.assert_allclose(row, own[0][list(spec.bag_of)], rtol=1e-4)


def test_another_programs_abmil_is_the_same_sum(folder: Path) -> None:
    torch.manual_seed(3)
    theirs = OtherAbmil(DIM, embed=12, attention=7, classes=108)
    named = {f"model.{name}": value for name, value in theirs.state_dict().items()}
    write_weights(folder / "feather.safetensors", named)
    study = load_study(folder, ["train.init=feather.safetensors", RAW, "train.hidden=12"])
    weights = read_initial_weights(study.config.train, DIM)
    assert weights is not None
    assert weights.fresh == ("risk.weight",)
    assert sorted(weights.left_out) == ["classifier.bias", "classifier.weight"]
    ours = HeadSpec.of("abmil", in_dim=DIM, hidden=12, dropout=0.5).build().eval()
    weights.start(ours)
    torch.nn.init.normal_(ours.risk.weight)
    tiles = torch.randn(30, DIM)
    attention, pooled = theirs(tiles)
    said = ours(tiles[None], torch.ones(1, 30, dtype=torch.bool))
    torch.testing.assert_close(said.attention[0], attention, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(said.log_risk, ours.risk(pooled), rtol=1e-5, atol=1e-6)


def test_attention_that_was_narrower_stays_so(folder: Path) -> None:
    theirs = OtherAbmil(DIM, embed=12, attention=7, classes=2)
    write_weights(folder / "feather.safetensors", theirs.state_dict())
    trained(folder, "train.init=feather.safetensors", RAW, "train.hidden=12", "train.epochs=5")
    for tensors in models(folder):
        assert tensors["risk.weight"].abs().sum() > 0  # it learned
        for name in ("content.weight", "gate.weight", "content.bias", "gate.bias"):
            assert tensors[name][7:].eq(0).all()
        assert tensors["score.weight"][0, 7:].eq(0).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_types_become_float32(folder: Path, dtype: torch.dtype) -> None:
    given = {name: value.to(dtype) for name, value in head_tensors().items()}
    write_weights(folder / "w.safetensors", given)
    trained(folder, "train.init=w.safetensors", RAW, *STANDING)
    found = models(folder)[0]
    assert found["transform.weight"].dtype == torch.float32
    torch.testing.assert_close(found["transform.weight"], given["transform.weight"].float())


@pytest.mark.parametrize("wrapper", ["module.", "model.", "module.model."])
def test_what_stands_before_every_name_does_not_matter(folder: Path, wrapper: str) -> None:
    given = {f"{wrapper}{name}": value for name, value in head_tensors().items()}
    write_weights(folder / "w.safetensors", given)
    study = load_study(folder, ["train.init=w.safetensors", RAW])
    weights = read_initial_weights(study.config.train, DIM)
    assert weights is not None
    assert weights.fresh == ()


def test_a_read_out_of_another_shape_is_left_out_and_said(folder: Path) -> None:
    given = head_tensors() | {"risk.weight": torch.ones(3, HIDDEN)}
    write_weights(folder / "w.safetensors", given)
    done = trained(folder, "train.init=w.safetensors", RAW, *STANDING)
    assert "risk.weight begins as usual; risk.weight left out" in done.began_with
    assert models(folder)[0]["risk.weight"].abs().max() < 1e-9  # zeros, as the head begins


CHANGES = {
    "missing gate.bias (8)": lambda t: t.pop("gate.bias"),
    "not of this head extra.weight (2 x 3)": lambda t: t.update({"extra.weight": torch.ones(2, 3)}),
    "of another shape score.bias (2 in the file, 1 expected)": lambda t: t.update(
        {"score.bias": torch.ones(2)}
    ),
}


@pytest.mark.parametrize("said", CHANGES)
def test_what_does_not_fit_is_named_with_what_was_expected(folder: Path, said: str) -> None:
    given = head_tensors()
    CHANGES[said](given)
    write_weights(folder / "w.safetensors", given)
    message = refusal(folder, "train.init=w.safetensors", RAW)
    assert message.startswith(
        "study.yaml: train.init = 'w.safetensors' does not fit the head abmil"
    )
    assert said in message
    assert "./my_head.py:Head" in message


def test_all_that_does_not_fit_stands_in_one_sentence(folder: Path) -> None:
    given = head_tensors()
    for change in CHANGES.values():
        change(given)
    write_weights(folder / "w.safetensors", given)
    message = refusal(folder, "train.init=w.safetensors", RAW)
    assert all(said in message for said in CHANGES)


def test_another_width_says_the_one_to_set(folder: Path) -> None:
    write_weights(folder / "w.safetensors", head_tensors(hidden=16))
    assert "Set train.hidden to 16." in refusal(folder, "train.init=w.safetensors", RAW)


def test_weights_for_another_encoder_say_how_many_values_theirs_has(folder: Path) -> None:
    write_weights(folder / "w.safetensors", head_tensors(in_dim=32))
    message = refusal(folder, "train.init=w.safetensors", RAW)
    assert "It is of a head that reads 32 values a tile: name the encoder" in message


def test_weights_of_another_head_are_refused(folder: Path) -> None:
    write_weights(folder / "w.safetensors", head_tensors(head="clam_sb"))
    message = refusal(folder, "train.init=w.safetensors", RAW)
    assert "content.weight (4 x 8 in the file, 8 x 8 expected)" in message


def test_components_of_each_fold_are_no_features_that_weights_know(folder: Path) -> None:
    write_weights(folder / "w.safetensors", head_tensors(in_dim=8))
    message = refusal(folder, "train.init=w.safetensors", "train.projection=8")
    assert "brings no projection" in message
    assert "Set train.projection to null." in message


def test_a_projection_of_the_file_is_not_contradicted(elsewhere: Path, folder: Path) -> None:
    file = next((elsewhere / "runs" / "main" / "models").glob("repeat*.safetensors"))
    for other in ("4", "null"):
        message = refusal(folder, f"train.init={file}", f"train.projection={other}")
        assert f"8 components), which train.projection = {other} contradicts" in message


def test_a_projection_of_another_encoder_is_refused(elsewhere: Path, folder: Path) -> None:
    file = next((elsewhere / "runs" / "main" / "models").glob("repeat*.safetensors"))
    given = load_file(file)
    given |= {PROJECTION_KEYS[0]: torch.zeros(30), PROJECTION_KEYS[1]: torch.zeros(30, 8)}
    write_weights(folder / "w.safetensors", given)
    message = refusal(folder, "train.init=w.safetensors", "train.projection=auto")
    assert "reads embeddings of 30 values, and those of this study have 24" in message
    del given[PROJECTION_KEYS[1]]
    write_weights(folder / "w.safetensors", given)
    assert "expected D, and D x K or D" in refusal(folder, "train.init=w.safetensors")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(folder: Path, value: float) -> None:
    given = head_tensors()
    given["gate.weight"][2, 3] = value
    write_weights(folder / "w.safetensors", given)
    message = refusal(folder, "train.init=w.safetensors", RAW)
    assert "1 of the 64 values of gate.weight are not finite" in message


def test_a_head_that_is_solved_has_no_beginning(folder: Path) -> None:
    write_weights(folder / "w.safetensors", head_tensors(head="ridge_cox"))
    message = refusal(folder, "train.init=w.safetensors", RAW, "train.head=ridge_cox")
    assert "the head ridge_cox is solved" in message
    assert "Remove train.init" in message
    cohort, bags, _ = planted_cohort(12, seed=6)
    config = load_study(folder, ["train.init=w.safetensors", "train.head=ridge_cox"]).config
    specs = model_specs(make_splits(cohort, config.splits), 1)
    fitted = fit_models(
        cohort, bags, specs, config=config.train, device=torch.device("cpu"), seed=1
    )
    with pytest.raises(ConfigError, match=r"Remove train\.init"):
        next(fitted)


def test_a_head_of_ones_own_says_which_names_it_knows(folder: Path) -> None:
    (folder / "mine.py").write_text(
        "from pathoml.mil.abmil import Head as Abmil\n\n\n"
        "class Head(Abmil):\n    also_named = {'risk_of_others': 'risk.weight'} | {\n"
        "        f'their_{n}.{p}': f'{n}.{p}' for n in ('transform', 'content', 'gate', 'score')"
        " for p in ('weight', 'bias')\n    }\n    left_out = ('classes',)\n"
    )
    given = {f"their_{n}": v for n, v in head_tensors().items() if n != "risk.weight"}
    given |= {"risk_of_others": torch.ones(1, HIDDEN), "classes.weight": torch.ones(2)}
    write_weights(folder / "w.safetensors", given)
    trained(folder, "train.init=w.safetensors", RAW, "train.head=./mine.py:Head", *STANDING)
    torch.testing.assert_close(models(folder)[0]["risk.weight"], torch.ones(1, HIDDEN))


def test_a_bundle_of_such_models_needs_the_file_no_more(folder: Path, tmp_path: Path) -> None:
    from pathoml.bundles.locking import lock
    from pathoml.bundles.predicting import predict

    write_weights(folder / "w.safetensors", head_tensors(), public_cohorts="TCGA")
    settings = [*QUICK, "train.init=w.safetensors", RAW]
    train_study(load_study(folder, settings))
    bundle = lock(load_study(folder, settings), "locked")
    (folder / "w.safetensors").unlink()
    other = write_study(tmp_path / "other", *planted_cohort(6, seed=7)[:2])
    shutil.copytree(bundle, tmp_path / "handed_on")
    assert predict(other, tmp_path / "handed_on").patients == 6
    began = read_json(bundle / "bundle.json")["training"]["initial_weights"]
    assert (began["file"], began["public_cohorts"]) == ("w.safetensors", ["TCGA"])
    card = (bundle / "MODEL_CARD.md").read_text()
    assert f"the weights of w.safetensors (SHA-256 {began['sha256'][:12]}); learned from: TCGA" in (
        card
    )


@pytest.mark.parametrize("place", [2, 3])
def test_clams_single_branch_is_the_same_sum(folder: Path, place: int) -> None:
    torch.manual_seed(4)
    transform, content, gate = (torch.nn.Linear(*sides) for sides in ((DIM, 12), (12, 6), (12, 6)))
    score, classes, instances = (
        torch.nn.Linear(6, 1),
        torch.nn.Linear(12, 2),
        torch.nn.Linear(12, 2),
    )
    named = {
        "attention_net.0": transform,
        f"attention_net.{place}.attention_a.0": content,
        f"attention_net.{place}.attention_b.0": gate,
        f"attention_net.{place}.attention_c": score,
        "classifiers": classes,
        "instance_classifiers.0": instances,
    }
    tensors = {
        f"{n}.{p}": value for n, layer in named.items() for p, value in layer.state_dict().items()
    }
    write_weights(folder / "clam.safetensors", tensors)
    settings = ["train.init=clam.safetensors", RAW, "train.hidden=12", "train.head=clam_sb"]
    weights = read_initial_weights(load_study(folder, settings).config.train, DIM)
    assert weights is not None
    ours = HeadSpec.of("clam_sb", in_dim=DIM, hidden=12, dropout=0.5).build().eval()
    weights.start(ours)
    tiles = torch.randn(30, DIM)
    hidden = torch.relu(transform(tiles))
    gated = torch.tanh(content(hidden)) * torch.sigmoid(gate(hidden))
    expected = torch.softmax(score(gated).squeeze(-1), dim=0)
    said = ours(tiles[None], torch.ones(1, 30, dtype=torch.bool))
    torch.testing.assert_close(said.attention[0], expected, rtol=1e-5, atol=1e-7)
