"""The benchmark of heads says what `train` would, holds it against the figures to reach, and its
peers are what they are said to be.
"""

from __future__ import annotations

import importlib
import math
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from support.learning import planted_cohort, write_study

from pathoml.errors import ConfigError
from pathoml.store.scores import read_repeats
from pathoml.study.run_folder import RunFolder
from pathoml.survival.cox import fit_cox
from pathoml.training.step import train_study
from pathoml.types import Estimate

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def heads() -> ModuleType:
    return _module("heads")


@pytest.fixture(scope="module")
def figures() -> ModuleType:
    return _module("heads_figures")


@pytest.fixture(scope="module")
def peers() -> ModuleType:
    return _module("peers")


def _module(name: str) -> ModuleType:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("heads") / "share-1", *planted_cohort(24)[:2]).folder


def bench(heads: ModuleType, keep: Path | None = None, **changes: object):
    about = {"again": (), "commit": "abc", "code": "", "interpreter": None, "peer_epochs": 2}
    return heads.Bench(keep=keep, **{**about, **changes})


def measured(heads: ModuleType, study: Path, which: list[str], on_bench: object, repeats: int = 1):
    on = heads.Prepared.read(heads.Named.parsed(str(study)), repeats)
    return heads.measured(on, [heads.Named.parsed(h) for h in which], 1, on_bench, "averaged")


def test_a_head_scores_out_of_fold_as_train_does(heads, study, tmp_path):
    rows, trained, splits = measured(heads, study, ["default", "ridge_cox"], bench(heads))
    on = heads.Prepared.read(heads.Named.parsed(str(study)), 1)
    run = train_study(on.study("train.nested=false", f"run={tmp_path.name}")).folder
    table = read_repeats(RunFolder(run).repeat_scores, on.cohort.patient_ids)
    for head, column in (("default", "log_risk"), ("ridge_cox", "ridge_cox")):
        found = heads.folds_of(on.cohort, splits, trained[head])
        np.testing.assert_allclose(found.scores, table.scores[column], atol=1e-6)
    assert [row.head for row in rows] == ["default", "ridge_cox"]


def test_nothing_is_written_into_the_cohort(heads, study, tmp_path):
    before = sorted(p for p in study.rglob("*") if "runs" not in p.parts)
    measured(heads, study, ["ridge_cox"], bench(heads, tmp_path))
    assert sorted(p for p in study.rglob("*") if "runs" not in p.parts) == before
    assert list((tmp_path / "share-1").glob("ridge_cox-*.npz"))


def test_what_is_kept_is_not_trained_again_unless_asked(heads, study, tmp_path, monkeypatch):
    measured(heads, study, ["abmil"], bench(heads, tmp_path), repeats=2)
    with monkeypatch.context() as patched:
        patched.setattr(heads, "fit_models", lambda *_, **__: pytest.fail("trained again"))
        again, *_ = measured(heads, study, ["abmil"], bench(heads, tmp_path, commit="def"))
    assert again[0].commits == ("abc",)
    anew = bench(heads, tmp_path, commit="def", again=["abmil"])
    assert measured(heads, study, ["abmil"], anew)[0][0].commits == ("def",)


def test_a_solved_head_is_kept_for_the_code_that_solved_it(heads, study, tmp_path):
    found = [
        measured(heads, study, ["ridge_cox"], bench(heads, tmp_path, **changed))[0][0].commits
        for changed in ({}, {"commit": "def"}, {"commit": "def", "code": "changed"})
    ]
    assert found == [("abc",), ("abc",), ("def",)]


def test_the_default_is_the_head_of_the_study_under_its_own_name(heads, study, tmp_path):
    rows, *_ = measured(heads, study, ["default", "abmil"], bench(heads, tmp_path))
    assert rows[0].c_averaged == rows[1].c_averaged
    assert len(list((tmp_path / "share-1").glob("*.npz"))) == 1, "kept once"


@pytest.mark.parametrize("changed", ["abmil:epochs=3", "max_pool", "abmil:seeds=1"])
def test_other_settings_are_other_scores(heads, study, tmp_path, changed):
    rows, *_ = measured(heads, study, ["abmil", changed], bench(heads, tmp_path))
    assert len(list((tmp_path / "share-1").glob("*.npz"))) == 2
    assert [row.head for row in rows] == ["abmil", changed]


def test_another_outcome_on_the_same_folds_is_another_score(heads, study, tmp_path):
    measured(heads, study, ["ridge_cox"], bench(heads, tmp_path))
    cohort, bags, _ = planted_cohort(24)
    first, *others = cohort.patients
    later = replace(cohort, patients=(replace(first, time_months=99.0), *others))
    other = write_study(tmp_path / "share-1", later, bags).folder
    measured(heads, other, ["ridge_cox"], bench(heads, tmp_path))
    assert len(list((tmp_path / "share-1").glob("ridge_cox-*.npz"))) == 2


@pytest.mark.parametrize(
    ("text", "name", "settings", "shown"),
    [
        ("abmil", "abmil", (), "abmil"),
        ("abmil:epochs=3,seeds=1", "abmil", ("epochs=3", "seeds=1"), "abmil:epochs=3,seeds=1"),
        ("was=abmil:epochs=40", "abmil", ("epochs=40",), "was"),
        ("./gated.py:Gated", "./gated.py:Gated", (), "./gated.py:Gated"),
        ("./gated.py:Gated:epochs=3", "./gated.py:Gated", ("epochs=3",), None),
    ],
)
def test_a_head_is_read_as_it_is_typed(heads, text, name, settings, shown):
    named = heads.Named.parsed(text)
    assert (named.name, named.settings, str(named)) == (name, settings, shown or text)


def test_the_command_measures_what_is_ready_and_leaves_out_the_rest(
    heads, study, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    (tmp_path / "notes.txt").touch()
    options = ["--heads", "default", "ridge_cox", "--repeats", "1", "--keep", str(tmp_path)]
    monkeypatch.setattr(
        sys, "argv", ["heads.py", str(tmp_path / "notes.txt"), str(study), *options]
    )
    heads.main()
    printed = capsys.readouterr().out
    assert "notes.txt: no study, left out" in printed
    assert "| share-1 | 1 | ridge_cox |" in printed
    assert "| share-1, 1 split seed: default minus ridge_cox |" in printed, (
        "real: no truth is known"
    )


def test_a_head_that_is_none_ends_the_command_with_the_nearest(heads, study, monkeypatch):
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    monkeypatch.setattr(sys, "argv", ["heads.py", str(study), "--heads", "abmill"])
    with pytest.raises(SystemExit, match="Did you mean 'abmil'"):
        heads.main()


def test_a_setting_that_is_none_is_refused_with_the_nearest(heads, study):
    with pytest.raises(ConfigError, match="epochs"):
        measured(heads, study, ["abmil:epoch=3"], bench(heads))


def test_the_oracle_is_judged_on_the_same_pairs(heads, tmp_path):
    cohort, bags, _ = planted_cohort(24)
    folder = write_study(tmp_path / "focus-3", cohort, bags).folder
    lines = [f"{p.patient_id},{-p.time_months}" for p in cohort.patients]
    (folder / "truth.csv").write_text("patient_id,log_risk\n" + "\n".join(lines) + "\n")
    [oracle, ridge], *_ = measured(heads, folder, ["ridge_cox"], bench(heads))
    assert (oracle.head, oracle.c, oracle.c_within, oracle.family) == ("oracle", 1.0, 1.0, "focus")
    assert oracle.minus["ridge_cox"].estimate == pytest.approx(1 - ridge.c)
    assert not ridge.is_real


def row(figures: ModuleType, head: str, c: float, cohort: str = "focus-1", **changes: object):
    about = {
        "family": "focus", "is_real": False, "split_seed": 1, "c_averaged": c, "c_within": c,
        "minus": {}, "cpu_seconds": 1.0, "commits": ("abc",),
    }  # fmt: skip
    return figures.Measured(**{**about, "cohort": cohort, "head": head, "c": c, **changes})


def verdict(lines: list[str], what: str) -> list[str]:
    [line] = [line for line in lines if line.startswith(f"| {what}")]
    return line.strip("| ").split(" | ")[1:]


def test_a_figure_is_held_against_its_least_with_the_margin(figures):
    c = {"default": 0.62, "ridge_cox": 0.60, "abmil": 0.55, "max_pool": 0.66, "oracle": 0.65}
    lines = figures.checks([row(figures, head, value) for head, value in c.items()], [])
    best = verdict(lines, "focus: default minus the better of ridge_cox and abmil")
    assert best == ["+0.020", "-0.010", "+0.030", "reached"]
    assert verdict(lines, "focus: default minus ridge_cox")[-1] == "**missed**"
    assert verdict(lines, "focus: default minus max_pool")[:2] == ["-0.040", "-0.030"]
    assert verdict(lines, "mean over families with a signal")[0] == "-0.030"


def test_max_pool_is_no_aim_where_another_is_better(figures):
    c = {"default": 0.62, "ridge_cox": 0.70, "max_pool": 0.66}
    lines = figures.checks([row(figures, head, value) for head, value in c.items()], [])
    assert not [line for line in lines if "max_pool" in line]


def test_a_head_that_was_not_run_is_not_measured(figures):
    assert (
        verdict(
            figures.checks([row(figures, "default", 0.6)], []), "focus: default minus ridge_cox"
        )[-1]
        == "not measured"
    )


def test_split_seeds_of_a_cohort_do_not_count_as_cohorts(figures):
    rows = [
        row(figures, "default", 0.5),
        row(figures, "default", 0.6, split_seed=2),
        row(figures, "default", 0.75, cohort="focus-2"),
    ]
    assert figures.mean_c(rows, "default") == pytest.approx((0.55 + 0.75) / 2)


def test_errors_of_independent_cohorts_add_up_as_squares(figures):
    def minus(estimate: float, error: float) -> dict[str, Estimate]:
        low, high = estimate - 1.96 * error, estimate + 1.96 * error
        return {"abmil": Estimate(estimate=estimate, low=low, high=high, n=9, events=5)}

    rows = [
        row(figures, "default", 0.6, minus=minus(0.1, 0.03)),
        row(figures, "default", 0.6, cohort="focus-2", minus=minus(0.3, 0.04)),
    ]
    found = figures.mean_difference(rows, "default", "abmil")
    assert found.estimate == pytest.approx(0.2)
    assert found.high == pytest.approx(0.2 + 1.96 * 0.05 / 2, abs=1e-4)


def test_peers_are_compared_where_they_were_trained_and_not_on_real_cohorts(figures):
    def one(head: str, cohort: str, c: float, seconds: float = 1.0, is_real: bool = False):
        return figures.Peer(
            cohort=cohort, head=head, is_peer=head == "clam_sb", is_real=is_real, c=c,
            default_minus=None, cpu_seconds=seconds,
        )  # fmt: skip

    peers = [
        one("default", "a", 0.7),
        one("clam_sb", "a", 0.6, 20.0),
        one("default", "b", 0.3),
        one("default", "real", 0.9, is_real=True),
        one("clam_sb", "real", 0.2, is_real=True),
    ]
    lines = figures.checks([row(figures, "default", 0.7)], peers)
    assert verdict(lines, "default minus clam_sb, 1 cohort")[:2] == ["+0.100", "+0.020"]
    assert verdict(lines, "CPU seconds a model of clam_sb")[0] == "20.0"
    assert figures.peer_table(peers)[-1] == (
        "| mean of the 2 that all have | 0.800; 1.00 s | 0.400; 10.50 s |"
    )


def test_cox_of_a_batch_leaves_out_events_that_nobody_outlived(peers):
    months, event = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([True, True, True])
    loss = peers.cox_loss(torch.zeros(3), months, event)
    assert float(loss) == pytest.approx((math.log(3) + math.log(2)) / 2)
    assert peers.cox_loss(torch.zeros(1), months[:1], event[:1]) is None


@pytest.mark.parametrize(("event", "likelihood"), [(True, 0.75 * 0.8), (False, 0.75 * 0.2)])
def test_a_discrete_time_likelihood_is_that_of_the_intervals_lived(peers, event, likelihood):
    """In the second interval, of hazards 1/4, 4/5, ...: lived one and died, or lived two."""
    logits = torch.tensor([[-math.log(3), math.log(4), 1.0, 1.0]])
    assert float(peers.discrete_time_loss(logits, 1, event)) == pytest.approx(-math.log(likelihood))


def test_a_step_of_em_with_one_gaussian_is_a_weighted_mean(peers):
    prior = (torch.ones(1), torch.zeros(1, 1), torch.ones(1, 1))
    tiles = torch.tensor([[1.0], [5.0]])
    share, mean, variance = peers.em_step(tiles, prior, prior, weight=2.0)
    assert (float(share), float(mean)) == (1.0, 6 / 4)
    assert float(variance) == pytest.approx((26 + 2) / 4 - 1.5**2)


def test_the_cox_model_of_prototypes_is_the_one_of_the_statistics(peers):
    rng = np.random.default_rng(1)
    x, months, event = rng.normal(size=(40, 3)), rng.exponential(size=40), rng.random(40) < 0.7
    expected = fit_cox(x, months, event, ridge=5.0).coefficients
    outcome = torch.from_numpy(months), torch.from_numpy(event)
    found = peers.cox_weights(torch.from_numpy(x), outcome, torch.arange(40), 5.0)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4)


def agreement_with_the_share(peers: ModuleType, name: str, epochs: int, some: slice) -> float:
    """Return the correlation of a peer's scores with the share of bad tiles, which is the risk."""
    torch.manual_seed(0)
    cohort, bags, bad = planted_cohort(40, effect=8.0)
    tiles = [torch.from_numpy(bag.features).float() for bag in bags]
    outcome = torch.from_numpy(cohort.time_months).float(), torch.from_numpy(cohort.event)
    score = peers.PEERS[name](tiles, outcome, torch.arange(30), epochs).numpy()
    share = np.array([one.mean() for one in bad])
    return float(np.corrcoef(score[some], share[some])[0, 1])


def test_prototypes_learn_a_share(peers):
    assert agreement_with_the_share(peers, "prototypes", 1, slice(30, 40)) > 0.8


@pytest.mark.ci  # thousands of small steps
def test_clam_learns_what_its_patients_died_of_from_a_start_that_knew_nothing(peers):
    learned = slice(0, 30)
    before, after = (
        agreement_with_the_share(peers, "clam_sb", epochs, learned) for epochs in (0, 40)
    )
    assert after > before + 0.5


def test_bags_of_one_tile_are_scored_by_clam(peers):
    logits, clustering = peers.ClamSB(4, 2)(torch.ones(1, 4), 1)
    assert logits.shape == (1, 2)
    assert float(clustering) == 0.0
