"""study.yaml: one pydantic model per section is the single source of names, defaults, units and
bounds.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from pathoml.errors import ConfigError, nearest

# of a study.yaml, whose longest lists are a few dozen words
MOST_YAML_BYTES = 10**6
MOST_VALUES = 10_000
DEEPEST = 20
LONGEST_WORD = 10_000
LARGEST_WHOLE = 2**63
MOST_SHOWN = 100  # characters of a value that a sentence quotes
MOST_SHOWN_OF_REASON = 300
MOST_LISTED = 20  # sentences at once
FEWEST_BOOTSTRAPS = 200  # below, the ends of a percentile interval are single extreme draws
FEWEST_RESAMPLES = 20  # below, there is no range; 200 is what its authors ask for
RESERVED = re.compile(r"^(con|prn|aux|nul|com\d|lpt\d|conin\$|conout\$) *(\.|$)", re.IGNORECASE)
Name = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"),
    AfterValidator(lambda value: _held_by_disks(value)),
]
Cell = Annotated[str, BeforeValidator(lambda value: _cell_text(value))]
# names in a list, of which one alone may stand without brackets
Names = Annotated[
    tuple[str, ...], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)
]
FlagName = Literal["pen", "dark", "out_of_focus", "fold", "bubble", "blank", "excluded_region"]


class Section(BaseModel):
    """A section refuses unknown keys and cannot be changed after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


AnySection = TypeVar("AnySection", bound=Section)


class EndpointConfig(Section):
    """What is predicted, from when on. The only section without defaults."""

    name: str = Field(
        description="the endpoint as a sentence", examples=["progression-free survival"]
    )
    time_zero: str = Field(description="the day that time counts from, as a sentence")
    time: str = Field(description="column of patients.csv with the time to event or last visit")
    event: str = Field(description="column of patients.csv: 0 censored, 1 event, 2 competing event")
    unit: Literal["months", "days", "weeks", "years"] = Field(
        "months", description="unit of the time column"
    )
    data_cut: dt.date | None = Field(
        None, description="the day that follow-up was closed, yyyy-mm-dd"
    )
    event_codes: tuple[Cell, ...] = Field(
        (),
        description=(
            "cells of the event column that mean the event, where they are not 0, 1, 2 or usual"
            " words: [2], [relapse]"
        ),
    )
    censored_codes: tuple[Cell, ...] = Field(
        (), description="cells that mean censored, then: [1], [disease free]"
    )
    competing_codes: tuple[Cell, ...] = Field(
        (), description="cells that mean a competing event, then"
    )


class CohortConfig(Section):
    """Which columns describe the patients."""

    centre: str = Field("centre", description="column of patients.csv with the hospital")
    covariates: tuple[str, ...] = Field(
        (), description="columns of the clinical model; numbers or categories"
    )
    categorical: tuple[str, ...] = Field(
        (), description="covariates that are categories though their cells are numbers: [grade]"
    )
    treatment: str | None = Field(None, description="column with the treatment: 0 or 1, yes or no")
    without_slides: Literal["exclude", "refuse", "keep"] = Field(
        "exclude",
        description=(
            "patients without a slide: leave out and list, stop, or keep (scores from elsewhere)"
        ),
    )
    missing: tuple[str, ...] = Field(
        (),
        description=(
            "further spellings of a missing cell, such as 'not done'; [Not Available] is known"
        ),
    )
    source: Names = Field(
        (),
        description=(
            "public cohorts that the patients are of, where ids do not show it: TCGA-SARC; held"
            " against what the encoder and train.init learned from"
        ),
    )


class DatesConfig(Section):
    """Columns with dates. Each one that is named is checked row by row."""

    time_zero: str | None = Field(
        None, description="column of patients.csv with the day of time zero"
    )
    entry: str | None = Field(
        None,
        description=(
            "column with the day the patient came under observation, if later than time zero"
        ),
    )
    exit: str | None = Field(None, description="column with the day of the event or the last visit")
    treatment: str | None = Field(
        None, description="column with the day the treatment (such as LAT) began; empty = never"
    )
    metastasis: str | None = Field(
        None, description="column with the day of metastasis, before which treatment cannot be"
    )
    landmark_months: float = Field(
        0,
        ge=0,
        lt=600,
        description="time counts from here; who is not followed beyond it is left out",
    )
    format: Literal["auto", "day_first", "month_first", "excel", "excel_1904"] = Field(
        "auto",
        description=(
            "what 03/04/2021 is, where no cell of the column shows it; excel = days counted by a"
            " spreadsheet, such as 44256"
        ),
    )


class SlidesConfig(Section):
    """What slides do not say of themselves."""

    mpp: float | None = Field(
        None,
        gt=0.02,
        lt=20,
        description="micrometres per pixel of slides that do not say; slides.csv wins",
    )


class TilesConfig(Section):
    """Tiles of one physical side on every scanner."""

    tile_px: int | None = Field(
        None,
        ge=16,
        le=2048,
        description="pixels as the encoder sees them; null = the encoder's own",
    )
    mpp: float | None = Field(
        None,
        gt=0.02,
        lt=20,
        description="micrometres per pixel; null = what the encoder was trained on",
    )
    context_mpp: float | None = Field(
        None,
        gt=0.02,
        lt=20,
        description=(
            "a second, coarser mpp: each tile also gets the features of the tile around it; null ="
            " none"
        ),
    )
    min_tissue: float = Field(0.25, ge=0, le=1, description="least share of tissue in a tile")
    icc: bool = Field(
        False,
        description="convert colours to sRGB by the slide's ICC profile, where it carries one",
    )
    upsample: bool = Field(False, description="allow tiles finer than the slide's own resolution")
    exclude: tuple[FlagName, ...] = Field(
        ("pen", "dark", "out_of_focus"),
        description="tiles with these flags are kept in the grid but not embedded",
    )
    regions: str | None = Field(
        None,
        description=(
            "folder with SLIDE.geojson: areas to let in, areas of class 'exclude' or 'Ignore*' to"
            " leave out, and of class 'Tissue' to take for the tissue"
        ),
    )
    glass: float | None = Field(
        None,
        ge=50,
        le=255,
        description=(
            "grey level of the empty glass; null = found on each slide; a column glass of"
            " slides.csv wins"
        ),
    )
    density: float | None = Field(
        None,
        ge=0.003,
        le=0.5,
        description=(
            "optical density over glass from which on there is tissue; null = found on each slide;"
            " a column density of slides.csv wins"
        ),
    )


class StainConfig(Section):
    """What is done to a tile's colours before the encoder; off, the tiles are embedded as they were
    scanned.
    """

    normalise: Literal["macenko", "reinhard"] | None = Field(
        None,
        description=(
            "bring each slide's stain to a fixed reference: by stain vectors, or by mean and spread"
            " of colours; null = no"
        ),
    )
    augment: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description=(
            "jitter of haematoxylin, eosin and a rest, drawn for each tile; 0 = none, 0.05 light,"
            " 0.2 strong"
        ),
    )


class SplitsConfig(Section):
    """Who trains and who is scored."""

    scheme: Literal["stratified", "leave_one_centre_out", "centre_preserving"] = Field(
        "stratified", description="how folds are made"
    )
    folds: int = Field(
        5, ge=2, le=50, description="folds of a partition (not used by leave_one_centre_out)"
    )
    repeats: int = Field(
        5, ge=1, le=100, description="new partitions; a patient's score is the mean over them"
    )
    seed: int = Field(1, ge=0, description="seed of the partitions")
    stratify_by: Literal["event", "centre_and_event"] = Field(
        "event", description="what each fold of scheme stratified has its share of"
    )
    file: str | None = Field(
        None,
        description="splits to use instead: splits.json, or a folder or CSV of CLAM or SurvPath",
    )


class TrainConfig(Section):
    """The model of the image and how it is fitted: no selection on the scored fold."""

    head: str = Field(
        "mean_extremes",
        description=(
            "a file in pathoml/mil/ or the name of an installed plug-in, package.module:Class, or"
            " ./file.py:Class"
        ),
    )
    seeds: int = Field(3, ge=1, le=100, description="initialisations averaged inside a fold")
    epochs: int = Field(40, ge=1, le=10_000, description="passes over the cohort, fixed beforehand")
    tiles_per_patient: int = Field(
        64, ge=1, le=65_536, description="tiles sampled from each bag in an epoch; all at inference"
    )
    projection: Annotated[int, Field(ge=2, le=4096)] | Literal["auto"] | None = Field(
        "auto",
        description=(
            "principal components of the training fold in front of the head; null = none; auto = by"
            " cohort and device"
        ),
    )
    hidden: int = Field(
        64, ge=2, le=4096, description="width of the transform and of the attention layer"
    )
    dropout: float = Field(
        0.5, ge=0, lt=1, description="dropout on the transformed features in training"
    )
    learning_rate: float = Field(
        2e-3, gt=0, le=1, description="AdamW's learning rate, cosine to zero"
    )
    weight_decay: float = Field(1e-2, ge=0, le=10, description="AdamW's weight decay")
    loss: Literal["cox", "discrete_time"] = Field(
        "cox", description="exact partial likelihood, or likelihood of time in intervals"
    )
    offset: Literal["clinical"] | None = Field(
        None,
        description=(
            "clinical = a second score beside the plain one, of what the covariates do not say:"
            " the clinical model's log-risk is an offset in the loss"
        ),
    )
    strata: str | None = Field(
        None,
        description=(
            "centre, or a covariate that is a category: patients are compared within it in the"
            " loss, and no risk set crosses it"
        ),
    )
    precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="of the heads in training; scores are always fp32"
    )
    harmonise: Literal["centre"] | None = Field(
        None,
        description=(
            "centre = bring the features of all centres to one location and scale, learned from the"
            " training fold's slides without outcomes; of a centre nobody trained from, by its own"
            " slides; null = as they are"
        ),
    )
    nested: bool = Field(
        True,
        description=(
            "score each fold's training patients by inner folds too, for models that combine score"
            " and covariates"
        ),
    )
    init: str | None = Field(
        None,
        description=(
            "weights that every model begins with, FILE.safetensors from the study's folder; null ="
            " random ones"
        ),
    )
    init_cohorts: Names | None = Field(
        None,
        description=(
            "public cohorts that train.init learned from: [TCGA], or [] for none; null = as the"
            " file says, else not known"
        ),
    )
    vectors: str | None = Field(
        None,
        description=(
            "embeddings/ENCODING of vectors of slides or patients, such as titan@slide: a further"
            " baseline beside a run on tiles"
        ),
    )
    _study_folder: Path | None = PrivateAttr(None)

    @property
    def study_folder(self) -> Path | None:
        """Where a head's ./file.py starts from; None where the section belongs to no study yet."""
        return self._study_folder

    def of_study(self, folder: Path) -> TrainConfig:
        """Return the section as part of the study in a folder."""
        section = self.model_copy()
        section._study_folder = folder
        return section


class SignificanceConfig(Section):
    """Permutations and bootstraps."""

    permutations: int = Field(
        200,
        ge=0,
        le=100_000,
        description="repetitions of the whole cross-validation with permuted bags",
    )
    repeats: Annotated[int, Field(ge=1, le=100)] | Literal["auto"] = Field(
        "auto",
        description=(
            "partitions on both sides of the permutation test; auto = as many as score 600"
            " patients in all, at most those of the run: few patients have few pairs in a fold"
        ),
    )
    seeds: int = Field(
        1,
        ge=1,
        le=100,
        description="initialisations on both sides of the permutation test, at most train.seeds",
    )
    resamples: int = Field(
        0,
        ge=0,
        le=100_000,
        description=(
            "repetitions of one cross-validation on bootstrap samples of the patients, for"
            " instability.json and instability.csv: 0 for none, 200 or more are usual"
        ),
    )
    bootstraps: int = Field(
        1000,
        ge=0,
        le=100_000,
        description=(
            "draws of patients for an interval; of fewer than 200, as of 0, none is printed"
        ),
    )

    @property
    def interval_draws(self) -> int:
        """Draws that give an interval: 0 where they are too few for one."""
        return self.bootstraps if self.bootstraps >= FEWEST_BOOTSTRAPS else 0

    @property
    def why_no_intervals(self) -> str:
        """A sentence where draws were asked for and give no interval, else ""."""
        if self.bootstraps == self.interval_draws:
            return ""
        return (
            f"significance.bootstraps = {self.bootstraps}: so few draws give no 95 % interval, its"
            " ends would be single extreme ones. Where an interval would be drawn, none is printed."
            f" Ask for {FEWEST_BOOTSTRAPS} or more (1000 are usual)."
        )

    @field_validator("resamples")
    @classmethod
    def _enough_for_a_range(cls, resamples: int) -> int:
        if 0 < resamples < FEWEST_RESAMPLES:
            raise ValueError(
                f"{resamples} resamples say little of the range of a patient's risk. Ask for"
                f" {FEWEST_RESAMPLES} or more (200 are usual), or for 0 to have none"
            )
        return resamples


class EvaluateConfig(Section):
    """What is asked of the scores beyond their concordance; state it before looking."""

    horizons_months: tuple[Annotated[float, Field(gt=0, le=1200)], ...] = Field(
        (12.0, 24.0, 36.0, 60.0),
        min_length=1,
        description="months at which AUC, Brier score, calibration and net benefit are given",
    )
    subgroups: tuple[str, ...] = Field(
        (),
        description=(
            "expressions over columns of patients.csv, such as 'age <= 60 and n_lesions >= 4'"
        ),
    )


class ReportConfig(Section):
    """What the page shows."""

    smallest_cell: int = Field(
        0,
        ge=0,
        le=100,
        description="counts of patients or events under this are hidden, ids too; 5 to publish",
    )


class FiguresConfig(Section):
    """Figures of maps that `pathoml export --to figures` writes."""

    scale: Literal["cohort", "raw", "percentile"] = Field(
        "cohort", description="one scale for all slides, or within each slide"
    )


class ComputeConfig(Section):
    """Where it runs. Never changes what is computed, beyond rounding."""

    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="auto = the GPU where there is one"
    )
    workers: int | Literal["auto"] = Field(
        "auto", description="processes that read slides; auto = the cores this process may use"
    )
    engine: str = Field(
        "local",
        description="a file in pathoml/engines/: what spreads slides over processes or nodes",
    )
    encoders: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] = Field(
        "auto",
        description=(
            "processes that run the encoder or train permutations; auto = one a GPU, or one"
        ),
    )
    threads: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] = Field(
        "auto",
        description=(
            "threads that compute in each process, auto = its share of the cores; on CPUs as many"
            " give the same bits"
        ),
    )
    gpu_share: float = Field(1.0, gt=0, le=1, description="part of a GPU that each of them takes")
    deterministic: bool | Literal["auto"] = Field(
        "auto", description="bit-equal reruns; auto = on for the CPU"
    )
    batch_size: int | Literal["auto"] = Field(
        "auto",
        description="tiles the encoder sees at once; auto = 8 on the CPU, measured once on a GPU",
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto",
        description=(
            "of the encoder; auto = bf16 on a GPU that has it, else fp32; bf16 on a CPU pays where"
            " it multiplies it natively"
        ),
    )
    compile: bool | Literal["auto"] = Field(
        "auto",
        description=(
            "run the encoder as code compiled for the machine; auto = from 20,000 tiles on, where"
            " there is a C++ compiler"
        ),
    )
    mlflow: bool = Field(
        False,
        description=(
            "log to an MLflow file store in runs/RUN/mlflow as well; needs mlflow installed"
        ),
    )
    check_space: bool = Field(
        True,
        description=(
            "refuse a run that needs more room than its disk has, as estimated, before it begins"
        ),
    )
    log: bool = Field(
        True,
        description=(
            "keep logs/pathoml.log: which command ran when, how long, and how it ended; no ids, no"
            " names, no paths"
        ),
    )


class StudyConfig(Section):
    """The whole of study.yaml."""

    endpoint: EndpointConfig
    secondary_endpoints: tuple[EndpointConfig, ...] = Field(
        (),
        description=(
            "further endpoints, a list of the same shape: trained on the same folds, reported"
            " beside the endpoint, each name a folder in runs/RUN/endpoints"
        ),
    )
    cohort: CohortConfig = CohortConfig()
    dates: DatesConfig = DatesConfig()
    slides: SlidesConfig = SlidesConfig()
    tiles: TilesConfig = TilesConfig()
    stain: StainConfig = StainConfig()
    encoder: str = Field("efficientnet_lite0", description="a file in pathoml/encoders/")
    splits: SplitsConfig = SplitsConfig()
    train: TrainConfig = TrainConfig()
    significance: SignificanceConfig = SignificanceConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    report: ReportConfig = ReportConfig()
    figures: FiguresConfig = FiguresConfig()
    compute: ComputeConfig = ComputeConfig()
    run: Name = Field("main", description="the folder under runs/")


class Study(Section):
    """A study folder with its resolved configuration."""

    folder: Path
    config: StudyConfig

    @field_validator("config")
    @classmethod
    def _in_its_folder(cls, config: StudyConfig, info: ValidationInfo) -> StudyConfig:
        if "folder" not in info.data:  # refused already
            return config
        return config.model_copy(update={"train": config.train.of_study(info.data["folder"])})

    @property
    def runs_folder(self) -> Path:
        return self.folder / "runs"

    @property
    def run_folder(self) -> Path:
        """runs/RUN; study/run_folder.py names the files in it."""
        return self.runs_folder / self.config.run

    def with_run(self, run: str) -> Study:
        """Return the study with runs/RUN as its run; endpoints lie in folders of a run."""
        return self.model_copy(update={"config": self.config.model_copy(update={"run": run})})

    @property
    def all_tiles(self) -> Path:
        """tiles/, a folder per grid in it."""
        return self.folder / "tiles"

    @property
    def all_embeddings(self) -> Path:
        """embeddings/, a folder per encoding in it."""
        return self.folder / "embeddings"

    @property
    def bundles_folder(self) -> Path:
        return self.folder / "bundles"

    @property
    def readings_file(self) -> Path:
        return self.folder / "readings" / "readings.sqlite"


def is_reserved_name(name: str) -> bool:
    """Return whether Windows keeps a name, whatever its end, for a device.

    >>> [is_reserved_name(name) for name in ("aux.h5", "NUL", "com1", "console", "auxiliary.h5")]
    [True, True, True, False, False]
    """
    return RESERVED.match(name) is not None


def _held_by_disks(name: str) -> str:
    if is_reserved_name(name) or name.endswith("."):
        raise ValueError(
            f"{name} names a folder, and Windows does not take it: use another word, without a"
            " point at its end"
        )
    return name


def _cell_text(value: object) -> object:
    """Return a value of YAML as the cell of a table that it stands for.

    >>> _cell_text(2), _cell_text(1.0), _cell_text(True), _cell_text("relapse")
    ('2', '1', 'true', 'relapse')
    """
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, int | float) else value


def load_study(folder: Path, overrides: Sequence[str] = ()) -> Study:
    """Read STUDY/study.yaml and apply `section.key=value` overrides.

    Raises:
        ConfigError: no such file, not YAML, an unknown key (with the nearest known one), or a value
            out of bounds.
    """
    path = folder / "study.yaml"
    if not path.is_file():
        above = next(
            (parent for parent in folder.resolve().parents if (parent / "study.yaml").is_file()),
            None,
        )
        if above is not None:
            raise ConfigError(
                f"{folder} has no study.yaml, but is part of the study {above}: name that folder"
                " instead."
            )
        raise ConfigError(
            f"{folder} has no study.yaml. Go to a study's folder, or run `pathoml init"
            f" {folder} --slides FOLDER` first."
        )
    content = read_yaml(path.read_bytes(), "study.yaml", " Check indentation and colons.")
    if not isinstance(content, dict):
        raise ConfigError(
            "study.yaml must hold sections such as 'endpoint:'. `pathoml config schema` lists them."
        )
    for override in overrides:
        _apply_override(content, override)
    return Study(folder=folder, config=parse_config(content))


def opened(study: Study | Path | str) -> Study:
    """Return a study as it is, or read the one in a folder.

    Raises:
        ConfigError: as `load_study`.
    """
    return study if isinstance(study, Study) else load_study(Path(study))


def parse_config(content: Mapping[str, Any]) -> StudyConfig:
    """Check the content of a study.yaml and fill in the defaults.

    Raises:
        ConfigError: every wrong key and value, one sentence each.
    """
    try:
        return StudyConfig.model_validate(dict(content))
    except ValidationError as error:
        raise ConfigError("\n".join(_sentences(error.errors()))) from error


def changed_section(section: AnySection, changed: Mapping[str, object]) -> AnySection:
    """Return a section with other values for some of its keys, checked as those of study.yaml are.

    Raises:
        ConfigError: every unknown key and refused value, one sentence each.

    >>> changed_section(SplitsConfig(), {"folds": 3}).folds
    3
    """
    fields = StudyConfig.model_fields.items()
    name = next(name for name, field in fields if field.annotation is type(section))
    try:
        return type(section).model_validate(section.model_dump() | dict(changed))
    except ValidationError as error:
        wrong = _sentences([{**e, "loc": (name, *e["loc"])} for e in error.errors()])
        raise ConfigError("\n".join(one.removeprefix("study.yaml: ") for one in wrong)) from error


def resolved_yaml(config: StudyConfig, *, without: Sequence[str] = ()) -> str:
    """Return every key with the value in force, as YAML.

    Args:
        without: sections to leave out.
    """
    content = config.model_dump(mode="json", exclude=set(without))
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


class _StrictLoader(yaml.SafeLoader):
    """A safe loader that refuses a key given twice; plain YAML would keep the last silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for one, _ in node.value:
            key = str(self.construct_object(one, deep=True))
            if key in seen:
                raise yaml.YAMLError(
                    f"the key {shown(key)} stands twice (line {node.start_mark.line + 1})"
                )
            seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        number = super().construct_yaml_int(node)
        if abs(number) >= LARGEST_WHOLE:
            raise yaml.YAMLError(f"the number {node.value[:20]}... is too large")
        return int(number)


_StrictLoader.add_constructor("tag:yaml.org,2002:int", _StrictLoader.construct_yaml_int)


def read_yaml(content: bytes, name: str, advice: str = "") -> Any:
    """Read a small file of plain YAML, in time and memory that its size bounds: aliases count for
    what they stand for.

    Args:
        name: of the file, for errors.
        advice: what to look at where it is not readable.

    Raises:
        ConfigError: not YAML, too large, too deep, a key twice, or a value that is none.
    """
    try:
        if len(content) > MOST_YAML_BYTES:
            raise yaml.YAMLError(f"it has {len(content)} bytes, at most {MOST_YAML_BYTES} are read")
        text = content.decode("utf-8")
        _refuse_bombs(text)
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"{name} is not readable YAML: {reason[:MOST_SHOWN_OF_REASON]}.{advice}"
        ) from error


def _refuse_bombs(text: str) -> None:
    """Raise YAMLError for more values than any study has, each alias counted with what it names,
    for lists too deep, and for a word too long; nothing is built up meanwhile.
    """
    names: dict[str, int] = {}  # what an anchor stands for, in values
    open_nodes: list[tuple[str | None, int]] = []  # anchor, values before it
    values = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in names:
                raise yaml.YAMLError(f"the alias *{event.anchor} names nothing above (line {line})")
            values += names[event.anchor]
        elif isinstance(event, yaml.ScalarEvent):
            values += 1
            if len(event.value) > LONGEST_WORD:
                raise yaml.YAMLError(f"a value of {len(event.value)} characters (line {line})")
            if event.anchor:
                names[event.anchor] = 1
        elif isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, values))
            values += 1
            if len(open_nodes) > DEEPEST:
                raise yaml.YAMLError(f"lists within lists, over {DEEPEST} deep (line {line})")
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            if anchor:
                names[anchor] = values - before
        if values > MOST_VALUES:
            raise yaml.YAMLError(
                f"over {MOST_VALUES} values, counting what aliases stand for (line {line})"
            )


def shown(value: object) -> str:
    """Return a value as a sentence quotes it, cut where it is long.

    >>> shown("relapse"), shown(10**6000), len(shown("x" * 1000))
    ("'relapse'", 'a number of too many digits', 103)
    """
    try:
        text = repr(value)
    except ValueError:  # Python writes out no more than 4,300 digits
        return "a number of too many digits"
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


def _apply_override(content: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not re.fullmatch(r"[a-z_]+(\.[a-z_]+)*", key):
        raise ConfigError(
            f"--set {override!r} is not of the form section.key=value, for example --set"
            " train.epochs=20."
        )
    value = read_yaml(text.encode("utf-8", "replace"), f"--set {shown(override)}: the value")
    *sections, last = key.split(".")
    target = content
    for section in sections:
        target = target.setdefault(section, {})
        if not isinstance(target, dict):
            raise ConfigError(f"--set {override!r}: {section!r} is not a section of study.yaml.")
    target[last] = value


def _sentences(errors: Sequence[Any]) -> list[str]:
    """Return one sentence for each wrong key, also of a value that is none of several types."""
    at_one_place: dict[tuple[str, ...], list[Any]] = {}
    for error in errors:
        at_one_place.setdefault(tuple(_place(error["loc"])), []).append(error)
    listed = [
        _sentence({**some[0], "msg": ", or ".join(_lower(e["msg"]) for e in some)})
        for some in islice(at_one_place.values(), MOST_LISTED)
    ]
    more = len(at_one_place) - len(listed)
    return [*listed, f"(+{more} more)"] if more else listed


def _lower(text: str) -> str:
    said = text.removeprefix("Value error, ")  # of a validator, whose words are ours
    return f"{said[0].lower()}{said[1:]}"


def _sentence(error: Any) -> str:
    *parents, key = _place(error["loc"])
    where = "study.yaml: " + "".join(f"{p}: " for p in parents)
    if error["type"] == "extra_forbidden":
        return f"{where}unknown key {shown(key)}.{nearest(key, _known_keys(parents))}"
    if error["type"] == "missing":
        return f"{where}{key!r} is missing. {_describe(parents, key)}"
    said = f"{where}{key} = {shown(error['input'])} is refused: {error['msg']}."
    return f"{said} {_describe(parents, key)}".rstrip()


def _place(location: Sequence[str | int]) -> list[str]:
    """Return where a mistake is, without the tags with which pydantic says which of a value's types
    it tried.

    >>> _place(("compute", "workers", "literal['auto']")), _place(("compute", "int"))
    (['compute', 'workers'], ['compute', 'int'])
    >>> _place(("evaluate", "horizons_months", 0))
    ['evaluate', 'horizons_months', '0']
    """
    path: list[str] = []
    for (
        part
    ) in location:  # below a section there are keys, below a value only numbers of items and tags
        if isinstance(part, int) or _model_at(path) is not None:
            path.append(str(part))
    return path


def _model_at(path: Sequence[str]) -> type[BaseModel] | None:
    """Return the section that a path leads to; None if it leads to a value, or nowhere."""
    model: type[BaseModel] | None = StudyConfig
    for part in path:
        if part.isdigit():  # an item of a list of sections
            continue
        if model is None or part not in model.model_fields:
            return None
        annotation = model.model_fields[part].annotation
        inner = getattr(annotation, "__args__", (annotation,))[0]
        model = inner if isinstance(inner, type) and issubclass(inner, BaseModel) else None
    return model


def _known_keys(parents: Sequence[str]) -> list[str]:
    model = _model_at(parents)
    return list(model.model_fields) if model else []


def _describe(parents: Sequence[str], key: str) -> str:
    section = _model_at([*parents, key])
    if section is not None:
        needed = [name for name, field in section.model_fields.items() if field.is_required()]
        return (
            f"It needs {', '.join(needed)}."
            if needed
            else f"Its keys are {', '.join(section.model_fields)}."
        )
    model = _model_at(parents)
    field = model.model_fields.get(key) if model else None
    return f"Meaning: {field.description}." if field is not None and field.description else ""


def schema_rows() -> list[tuple[str, str, str, str]]:
    """Return (key, type, default, meaning) of every key of study.yaml."""
    rows = []
    for name, field in StudyConfig.model_fields.items():
        section = _model_at([name])
        if section is None:
            rows.append(
                (name, _type_text(field.annotation), _default_text(field), field.description or "")
            )
            continue
        if field.description:  # a list of sections
            rows.append((name, "list of sections", _default_text(field), field.description))
        for key, inner in section.model_fields.items():
            rows.append(
                (
                    f"{name}.{key}",
                    _type_text(inner.annotation),
                    _default_text(inner),
                    inner.description or "",
                )
            )
    return rows


def _type_text(annotation: Any) -> str:
    """Return a key's type as a user writes its value in YAML.

    >>> _type_text(Literal["auto"] | int | None), _type_text(tuple[str, ...])
    ('auto or int or null', 'list of str')
    """
    origin, inner = get_origin(annotation), get_args(annotation)
    if annotation is None or annotation is type(None):
        return "null"
    if origin is Annotated:
        return _type_text(inner[0])
    if origin is Literal:
        return " or ".join(str(value) for value in inner)
    if origin in (Union, UnionType):
        return " or ".join(_type_text(one) for one in inner)
    if origin in (tuple, list):
        return f"list of {_type_text(inner[0])}"
    return str(annotation.__name__)


def _default_text(field: Any) -> str:
    return (
        "required"
        if field.is_required()
        else yaml.safe_dump(field.get_default(), default_flow_style=True).split("\n")[0]
    )
