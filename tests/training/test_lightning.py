"""A head under Lightning learns by the same loss, and learns."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning
import torch
from scipy.stats import spearmanr
from support.learning import DIM, planted_cohort, write_study
from torch.utils.data import DataLoader

from pathoml.bags.batches import pad_bags
from pathoml.config import TrainConfig
from pathoml.errors import CohortError, ConfigError
from pathoml.plugins import names_with
from pathoml.training.lightning import HeadModule, SurvivalBatch, patient_loader, patients_of
from pathoml.training.losses import cox_loss
from pathoml.training.model_stack import HeadSpec

pytestmark = [
    pytest.mark.filterwarnings(
        "ignore::lightning_fabric.utilities.warnings.PossibleUserWarning"
    ),  # no workers, no validation
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),  # between Lightning and torch
]
COHORT, BAGS, BAD = planted_cohort(60)
LEARNED_FROM = 40  # patients; the others are asked afterwards


def head(name: str = "abmil") -> torch.nn.Module:
    torch.manual_seed(0)
    return HeadSpec(head=name, in_dim=DIM, hidden=16, dropout=0.0).build()


def trainer(epochs: int) -> pytorch_lightning.Trainer:
    return pytorch_lightning.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
    )


def one_batch() -> SurvivalBatch:
    batch: SurvivalBatch = next(
        iter(patient_loader(COHORT, BAGS, patients=len(BAGS), shuffle=False))
    )
    return batch


@pytest.mark.parametrize("name", names_with("pathoml.mil", "Head"))
def test_the_loss_of_a_batch_is_the_cox_loss_of_its_head(name: str) -> None:
    module = HeadModule(head(name), TrainConfig())
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)  # heads begin with risks of zero
    features, is_tile = pad_bags([np.asarray(b.features) for b in BAGS])
    expected = cox_loss(
        module.head(features, is_tile).log_risk,
        torch.tensor(COHORT.time_months),
        torch.tensor(COHORT.event),
    )
    assert float(module.loss(one_batch()).detach()) == pytest.approx(
        float(expected.detach()), abs=1e-9
    )


def test_a_patient_is_not_at_risk_before_coming_under_observation() -> None:
    batch = SurvivalBatch(
        bags=pad_bags([np.ones((3, DIM)), np.ones((3, DIM))]),
        time_months=torch.tensor([1.0, 3.0]),
        event=torch.tensor([True, False]),
        entry_months=torch.tensor([0.0, 2.0]),
    )
    module = HeadModule(head(), TrainConfig())
    assert float(module.loss(batch).detach()) == 0.0, "at month 1 the first patient was alone"
    both = module.loss(batch._replace(entry_months=torch.zeros(2)))
    assert float(both.detach()) == pytest.approx(np.log(2), abs=1e-6), (
        "one of two with the same tiles"
    )


def test_patients_with_more_bad_tiles_rank_higher_though_they_were_never_seen() -> None:
    module = HeadModule(head(), TrainConfig(learning_rate=0.01))
    training = patient_loader(
        *patients_of(COHORT, BAGS, range(LEARNED_FROM)), patients=LEARNED_FROM, shuffle=True
    )
    trainer(epochs=25).fit(module, training)
    others = range(LEARNED_FROM, len(BAGS))
    unseen = patient_loader(*patients_of(COHORT, BAGS, others), patients=8, shuffle=False)
    risk = torch.cat(trainer(epochs=1).predict(module, unseen))  # (20,)
    assert spearmanr(risk.numpy(), [BAD[i].mean() for i in others]).statistic > 0.8


@pytest.mark.filterwarnings("ignore:`training_step` returned `None`")
def test_a_batch_without_an_event_teaches_nothing_and_stops_nobody() -> None:
    module, batch = HeadModule(head(), TrainConfig()), one_batch()
    unseen = batch._replace(event=torch.zeros_like(batch.event))
    assert module.loss(unseen) is None
    trainer(epochs=1).fit(module, DataLoader([unseen], batch_size=None))
    before = head().state_dict()
    assert all(torch.equal(value, before[name]) for name, value in module.head.state_dict().items())


def test_adamw_and_the_cosine_are_those_of_the_configuration() -> None:
    module = HeadModule(head(), TrainConfig(learning_rate=0.004, weight_decay=0.03))
    run = trainer(epochs=3)
    run.fit(module, patient_loader(COHORT, BAGS, patients=30, shuffle=True))
    (optimiser,) = run.optimizers
    group = optimiser.param_groups[0]
    assert (group["initial_lr"], group["weight_decay"]) == (0.004, 0.03)
    assert group["lr"] == pytest.approx(0, abs=1e-9), "cosine to zero over the steps of the run"


def test_another_loss_is_refused_and_so_are_bags_of_other_patients() -> None:
    with pytest.raises(ConfigError, match=r"Set train\.loss to cox"):
        HeadModule(head(), TrainConfig(loss="discrete_time"))
    with pytest.raises(CohortError, match="59 bags and 60 patients"):
        patient_loader(COHORT, BAGS[1:], patients=8, shuffle=False)


def test_the_loop_of_the_page_for_researchers_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "researchers.md").read_text(encoding="utf-8")
    code = next(
        block
        for block in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
        if "pathoml.training.lightning" in block
    )
    write_study(tmp_path / "STUDY", COHORT, BAGS)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(
        code.replace("max_epochs=40", "max_epochs=2, accelerator='cpu', enable_progress_bar=False"),
        names,
    )
    assert float(names["head"].risk.weight.detach().abs().max()) > 0, "it began at zero"
