"""What metrics.json says: its sections as types, one line of meaning each.

An estimate has an interval, the patients and the events that it rests on; what cannot be estimated
has no number, and a note that says why. A horizon H is "12", "24", ... months. A MODEL is no_model,
clinical, image or clinical_and_image: absolute risks from the other folds.
"""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict


class NotEstimable(TypedDict):
    """A number that there is not, and why."""

    estimate: None
    low: None
    high: None
    n: None
    events: None
    note: str


class Estimated(TypedDict):
    """A number with its 95 % interval; None where it is not finite, or has none."""

    estimate: float | None
    low: float | None
    high: float | None
    n: int
    events: int


class Note(TypedDict):
    """A section that does not apply, and why."""

    note: str


Number = Estimated | NotEstimable


class Concordances(TypedDict):
    """Harrell's C of a score, pooled and over pairs of one centre."""

    harrell_c: Number
    harrell_c_centre_stratified: Number


class OfVectors(Concordances):
    """A model of vectors of slides or patients that were made elsewhere, on the same folds."""

    encoding: str  # train.vectors


class Clinical(TypedDict):
    """The clinical model that was trained on the same folds."""

    covariates: list[str]
    harrell_c: Number
    harrell_c_centre_stratified: Number


class Seeds(TypedDict):
    """How far C and the score move when one seed alone is trained, by seed; SD with n - 1."""

    harrell_c: list[float]
    harrell_c_sd: float | None
    score_sd: float | None
    note: NotRequired[str]


class HazardRatio(Estimated):
    """A hazard ratio with its tests."""

    wald_p: float | None  # None where no such test holds: cross-validated, several centres
    likelihood_ratio_p: NotRequired[float | None]
    note: NotRequired[str]


class LeftOut(TypedDict):
    """A column of the clinical model that the data say nothing of."""

    name: str
    reason: str


class AddedValue(TypedDict):
    """Clinical covariates and score against the covariates alone, on the same patients."""

    likelihood_ratio_chi2: float
    df: int
    p_value_anticonservative: float | None  # of half the chi2; None as wald_p
    delta_harrell_c: Number
    hazard_ratio_per_sd: Number
    left_out: list[LeftOut]
    note: str


class Curve(TypedDict):
    """Kaplan-Meier: an entry per time at which something happens; low and high are its interval."""

    times: list[float]
    survival: list[float]
    low: list[float | None]
    high: list[float | None]
    at_risk: list[int]
    events: list[int]


class KaplanMeier(TypedDict):
    """Survival of the score groups "high" and "low"."""

    note: str
    groups: dict[str, Curve]
    log_rank_p: float | None


class Used(TypedDict):
    """Whether absolute risks rest on nested scores."""

    used: bool
    note: str


class RiskGroup(Estimated):
    """Patients of like predicted risk: the risk that was seen, beside the mean predicted one."""

    predicted: float


class UnseenRiskGroup(NotEstimable):
    """Patients of like predicted risk of whom nobody was followed long enough."""

    predicted: float


class CalibrationCurve(TypedDict):
    """Observed against predicted risk, smoothed; None where too few events were seen."""

    predicted: list[float] | None
    observed: list[float] | None


class CalibrationAt(TypedDict):
    """Calibration of a model's risks at one horizon."""

    expected: float | None  # None with delayed entry: who lived to come is not who started
    observed: Number
    observed_to_expected: Number
    groups: list[RiskGroup | UnseenRiskGroup]
    curve: CalibrationCurve
    integrated_index: float | None


class Calibration(TypedDict):
    """Slope and calibration in the large of the score; by MODEL and H for absolute risks."""

    slope: Number  # of the score's log_risk, as the models gave it
    in_the_large: Number
    slope_of_risks: dict[str, Number]  # by MODEL: of its cross-fitted risks, folds as strata
    clinical: NotRequired[dict[str, CalibrationAt | NotEstimable]]
    image: NotRequired[dict[str, CalibrationAt | NotEstimable]]
    clinical_and_image: NotRequired[dict[str, CalibrationAt | NotEstimable]]


class Band(TypedDict):
    """A 95 % percentile interval at each threshold; None where too few draws have a number."""

    low: list[float | None]
    high: list[float | None]


class DecisionCurve(TypedDict):
    """Net benefit at each threshold, by MODEL; treating nobody is 0."""

    threshold: list[float]
    treat_all: list[float]
    clinical: NotRequired[list[float] | NotEstimable]
    image: NotRequired[list[float] | NotEstimable]
    clinical_and_image: NotRequired[list[float] | NotEstimable]
    # by MODEL, treat_all, and clinical_and_image_minus_clinical; over draws of patients
    intervals: NotRequired[dict[str, Band]]


class IntegratedBrier(TypedDict):
    """Brier score averaged over time up to the last horizon that enough patients reach."""

    until_months: float | None
    no_model: NotRequired[Number]
    clinical: NotRequired[Number]
    image: NotRequired[Number]
    clinical_and_image: NotRequired[Number]
    note: NotRequired[str]


class Test(TypedDict):
    """A chi-square test."""

    chi2: float | None
    df: int | None
    p_value: float | None


class TermTest(Test):
    """A test of one covariate, the levels of a category together, or of all ("GLOBAL")."""

    covariate: str
    note: NotRequired[str]  # why there is no test


class ProportionalHazards(TypedDict):
    """Whether the effects are constant in time (Schoenfeld residuals)."""

    score: Test | NotEstimable
    with_clinical: list[TermTest]


class EffectCurve(TypedDict):
    """The hazard ratio along the score."""

    score: list[float]
    hazard_ratio: list[float | None]
    low: list[float | None]
    high: list[float | None]


class Spline(Test):
    """Whether the score's effect is straight: a restricted cubic spline against a line."""

    knots: list[float]
    curve: EffectCurve


class IncludedExcluded(TypedDict):
    """How a variable, or a level of one, is among the analysed and among those left out."""

    variable: str
    included: dict[str, float | int | None]
    excluded: dict[str, float | int | None]
    difference: float | None  # in SD


class Missing(TypedDict):
    """How many analysed patients lack a covariate."""

    covariate: str
    missing: int
    share: float


class CentreConcordance(Estimated):
    """C of one hospital's patients; its error is None where it cannot be pooled."""

    standard_error: float | None


class NoCentreConcordance(NotEstimable):
    """A hospital whose C is not pooled, and why."""

    standard_error: None


class OfCentre(TypedDict):
    """One hospital: its C, and the events seen over those that the image score foretold."""

    n: int
    events: int
    expected: float | None
    harrell_c: CentreConcordance | NoCentreConcordance
    observed_to_expected: Number


class PooledCentres(Estimated):
    """The mean over hospitals, and the interval of the next one."""

    prediction_low: float | None  # None of two hospitals
    prediction_high: float | None
    hospitals: int
    standard_error: float  # this, tau2: of the logit of C, or the log of observed over expected
    tau2: float
    i2: float
    q: float
    q_p_value: float


class BetweenCentres(TypedDict):
    """Whether the score travels: random effects over hospitals."""

    centres: dict[str, OfCentre]
    harrell_c: PooledCentres | NotEstimable
    observed_to_expected: PooledCentres | NotEstimable
    meaning: str  # what the models knew of a hospital that they scored
    method: str
    sentence: str  # on the next hospital
    left_out: str  # hospitals that are in a mean not, and why


class PooledRatio(Estimated):
    """A hazard ratio; over imputed sets by Rubin's rules, with their parts on the log scale."""

    wald_p: float | None  # None of a score where no such test holds
    log_hazard_ratio: NotRequired[float]
    standard_error: NotRequired[float]
    df: NotRequired[float]  # Barnard & Rubin
    missing_information: NotRequired[float]  # share of it that empty cells took


class ThreeConcordances(TypedDict):
    """C of the clinical model, out of fold, by what is done with empty cells."""

    complete_case: Number
    median: Number
    multiple_imputation: Number


class Gain(TypedDict):
    """What the score adds: chi-square, or F of Meng & Rubin where it has a denominator_df."""

    statistic: float
    df: int
    denominator_df: float | None
    p_value_anticonservative: float | None
    hazard_ratio_per_sd: PooledRatio | NotEstimable


class ThreeGains(TypedDict):
    """The added value of the score, by what is done with empty cells."""

    complete_case: Gain | NotEstimable
    median: Gain | NotEstimable
    multiple_imputation: Gain | NotEstimable


class ThreeRatios(TypedDict):
    """The hazard ratio of a covariate, or a level of one, beside the others and the score."""

    covariate: str
    unit: str  # the SD of the cells that are there, or the level that it is held against
    complete_case: PooledRatio | NotEstimable
    median: PooledRatio | NotEstimable
    multiple_imputation: PooledRatio | NotEstimable


class MissingCovariates(TypedDict):
    """What empty cells do to the clinical answers."""

    incomplete: int  # patients who lack a covariate
    share: float
    imputations: int
    method: str
    clinical_harrell_c: ThreeConcordances
    added_value: ThreeGains
    hazard_ratios: list[ThreeRatios]


class NothingMissing(TypedDict):
    """Nobody lacks a covariate, or there is none: nothing was imputed."""

    incomplete: int
    note: str


class Leaks(TypedDict):
    """What the score, or the embeddings, know of centre, subtype, specimen, organ and size."""

    centre_from_embeddings: dict[str, Any]  # balanced_accuracy, chance, centres, n
    centre_from_score: dict[str, Any]  # share of its variance between centres, p_value
    harrell_c_within: dict[str, Number]  # by centre, subtype, specimen, organ
    gain_over_subtype: dict[str, Any]  # likelihood_ratio_chi2, df, p_value_anticonservative
    rank_correlation: dict[str, dict[str, Any]]  # with tile_count, mpp: rho, p_value


class Alarm(TypedDict):
    """A sentence that a reader must see before the headline."""

    name: str
    message: str


class PublicCohortNamed(TypedDict):
    """A public cohort that patients are of: by their ids, or as cohort.source states."""

    name: str
    patients: int  # who carry its ids
    stated: bool


class Pretrained(TypedDict):
    """What a model learned from before this study, as its authors say."""

    name: str
    public_cohorts: list[str] | None  # [] none, None not said
    seen: list[str]  # of the study's own cohorts
    patient_ids_in_common: NotRequired[int]  # of initial weights that say who trained them


class Pretraining(TypedDict):
    """What the models of a run learned from before, and which of it this study is."""

    study_is: list[PublicCohortNamed]
    encoder: NotRequired[Pretrained]
    initial_weights: NotRequired[Pretrained]
    locked_model: NotRequired[Pretrained]


class Patients(TypedDict):
    """The columns of Table 1, with their patients."""

    all: dict[str, int]
    centres: dict[str, int]
    groups: dict[str, int]


class DescribedNumber(TypedDict):
    """A number in Table 1; None where nobody has it."""

    q1: float | None
    median: float | None
    q3: float | None


class DescribedLevel(TypedDict):
    """A level of a category in Table 1: patients, of those who are known."""

    count: int
    share: float | None


class TableOneRow(TypedDict):
    """A number, or a level of a category, in everybody, by centre and by score group."""

    variable: str
    level: str | None  # None of a number
    missing: Patients
    all: dict[str, DescribedNumber | DescribedLevel]
    centres: dict[str, DescribedNumber | DescribedLevel]
    groups: dict[str, DescribedNumber | DescribedLevel]
    difference_groups: float | None  # standardised, of high and low
    difference_centres: float | None  # the largest of any two centres


class TableOne(TypedDict):
    """Who the patients are."""

    patients: Patients
    rows: list[TableOneRow]
    method: str


class TestedRatio(Estimated):
    """A hazard ratio with its Wald test; None where no such test of the score holds."""

    wald_p: float | None


class MultivariableRow(TypedDict):
    """A clinical variable, or a level of one, adjusted for the others."""

    variable: str
    level: str | None
    per: float | None  # the SD in which a number enters
    n: int  # patients, of the level
    events: int
    without_score: TestedRatio | NotEstimable
    with_score: TestedRatio | NotEstimable


class Multivariable(TypedDict):
    """The Cox models of added_value, coefficient by coefficient."""

    n: int
    events: int
    rows: list[MultivariableRow]
    references: dict[str, str]  # the level that the others are held against
    score: TestedRatio | NotEstimable  # per SD, beside all variables
    note: str


class LevelMean(TypedDict):
    """The score of the patients of a level, in SD."""

    level: str
    n: int
    mean: float
    sd: float | None


class Association(TypedDict):
    """How the score goes with a column: Spearman of a number, Kruskal-Wallis of a category."""

    variable: str
    n: int
    spearman: Number | None
    levels: list[LevelMean]
    chi2: float | None
    df: int | None
    p_value: float | None
    note: NotRequired[str]


class Associations(TypedDict):
    """What the score goes with (REMARK, item 14)."""

    rows: list[Association]
    method: str


class Made(TypedDict):
    """How slides were made: counts of slides, quartiles, shares of tiles, angles in degrees."""

    patients: int
    slides: int
    scanners: dict[str, int]
    stains: dict[str, int]
    level0_mpp: dict[str, float | None]  # lowest, q1, median, q3, highest
    tiles_per_patient: dict[str, float | None]
    flagged: dict[str, float | None]
    stain_degrees: dict[str, float | None]


class Acquisition(TypedDict):
    """How the slides were made, by centre."""

    all: Made
    centres: dict[str, Made]
    flags: list[str]  # that any tile carries
    method: str


class FairnessRow(TypedDict):
    """A group of patients by sex or age."""

    variable: str
    group: str
    n: int
    events: int
    harrell_c: Number
    observed_to_expected: Number


class Fairness(TypedDict):
    """C and calibration by sex and by age group."""

    model: str | None  # whose calibration it is
    rows: list[FairnessRow]
    unknown: dict[str, int]  # patients in no group
    note: str


class SecondaryEndpoint(TypedDict):
    """A secondary endpoint with the numbers that the primary one has at the top of the file; those
    of a score only where one was trained on it.
    """

    endpoint: str
    time_zero: str
    n: int
    events: int
    flow: dict[str, Any]  # patients, analysed, events, competing_events, censored, excluded
    trained: bool
    note: str  # whose folds, or why no score was trained on it
    median_follow_up_months: float | None
    tau_months: NotRequired[float]
    harrell_c: NotRequired[Number]
    harrell_c_centre_stratified: NotRequired[Number]
    harrell_c_fold_mean: NotRequired[float | None]
    harrell_c_by_centre: NotRequired[dict[str, Number]]
    uno_c: NotRequired[Number]
    ridge_cox: NotRequired[Concordances]
    vectors_ridge_cox: NotRequired[OfVectors]
    vectors_head: NotRequired[OfVectors]
    clinical: NotRequired[Clinical]
    interval_note: NotRequired[str]
    headline: NotRequired[str]
    differences: NotRequired[dict[str, Number]]
    nested_scores: NotRequired[Used]
    horizons_months: NotRequired[list[float]]
    time_dependent_auc: NotRequired[dict[str, Number]]
    brier: NotRequired[dict[str, dict[str, Number]]]
    integrated_brier: NotRequired[IntegratedBrier]
    calibration: NotRequired[Calibration]
    decision_curve: NotRequired[dict[str, Any]]
    seeds: NotRequired[Seeds]
    hazard_ratio_per_sd: NotRequired[HazardRatio | NotEstimable]
    added_value: NotRequired[AddedValue | NotEstimable]
    kaplan_meier: NotRequired[KaplanMeier]
    hazard_ratio_per_sd_centre_stratified: NotRequired[HazardRatio | NotEstimable]
    proportional_hazards: NotRequired[ProportionalHazards]
    spline: NotRequired[Spline | NotEstimable]
    competing_risks: NotRequired[dict[str, Any]]
    restricted_mean: NotRequired[dict[str, Any]]


class JudgedScore(TypedDict):
    """A score judged on one endpoint, in the patients who have it and the score."""

    harrell_c: Number
    harrell_c_centre_stratified: Number
    hazard_ratio_per_sd: HazardRatio | NotEstimable


class ScoreCorrelation(TypedDict):
    """How alike the scores of two endpoints are, with Fisher's intervals."""

    between: list[str]
    n: int | None
    pearson: NotRequired[Estimated]
    spearman: NotRequired[Estimated]
    estimate: NotRequired[None]  # where there is no correlation: why
    low: NotRequired[None]
    high: NotRequired[None]
    events: NotRequired[None]
    note: NotRequired[str]


class EndpointComparison(TypedDict):
    """Every score on every endpoint."""

    note: str
    trained_on: dict[str, dict[str, JudgedScore]]  # endpoint: judged on endpoint
    correlation: list[ScoreCorrelation]


class OffsetJudged(TypedDict):
    """A score, and what it adds to the clinical model."""

    harrell_c: Number
    harrell_c_centre_stratified: Number
    hazard_ratio_per_sd: HazardRatio | NotEstimable
    added_value: AddedValue | NotEstimable


class OffsetCorrelation(TypedDict):
    """Spearman's correlation of both scores with a covariate, or with a level of one."""

    variable: str
    level: str | None  # None of a number
    n: int  # patients of the level, or of whom the number is known
    plain: Number
    offset: Number


class OffsetScore(TypedDict):
    """The score of what the covariates do not say, beside the plain one (train.offset)."""

    note: str
    folds: int  # of all partitions
    told_folds: int  # in which the models were told the clinical log-risk
    headline: str  # which C to quote
    plain: OffsetJudged
    offset: OffsetJudged
    clinical: Concordances
    clinical_and_offset: Concordances  # their log-risks added
    differences: dict[str, Number]  # offset_minus_plain, clinical_and_offset_minus_clinical
    correlations: list[OffsetCorrelation]


class Metrics(TypedDict):
    """metrics.json."""

    endpoint: str
    time_zero: str
    score_type: str  # oof, loco, locked, external, insample
    n: int
    events: int
    tau_months: float  # up to which Uno's C is computed
    median_follow_up_months: float | None  # None: less than half were followed so long
    harrell_c: Number
    harrell_c_centre_stratified: Number
    harrell_c_fold_mean: float | None  # within the folds of the first repeat
    harrell_c_by_centre: dict[str, Number]
    uno_c: Number
    ridge_cox: Concordances  # on mean embeddings, same folds
    vectors_ridge_cox: NotRequired[OfVectors]
    vectors_head: NotRequired[OfVectors]  # the run's own head
    clinical: Clinical
    interval_note: str
    headline: str  # which C to quote: harrell_c or harrell_c_centre_stratified
    differences: dict[str, Number]  # of the headline C: image_minus_NAME of each baseline
    seeds: Seeds
    hazard_ratio_per_sd: HazardRatio | NotEstimable
    added_value: AddedValue | NotEstimable
    kaplan_meier: KaplanMeier
    nested_scores: Used
    horizons_months: list[float]
    time_dependent_auc: dict[str, Number]  # H: cumulative cases, dynamic controls
    brier: dict[str, dict[str, Number]]  # H: MODEL
    integrated_brier: IntegratedBrier
    calibration: Calibration
    decision_curve: dict[str, DecisionCurve | Note | NotEstimable]  # H
    hazard_ratio_per_sd_centre_stratified: HazardRatio | NotEstimable
    proportional_hazards: ProportionalHazards
    spline: Spline | NotEstimable
    subgroups: list[dict[str, Any]]  # expression; score, complement, treatment: Number; tests
    treatment_interaction: dict[str, Any]  # interaction, overlap_weighted: Number; balance, verdict
    multiplicity: dict[str, Any]  # family, its size, tests with p and q values
    prospective: dict[str, Any]  # of a locked score: C, slope, in_the_large, hazard ratio
    competing_risks: dict[str, Any]  # cumulative_incidence, at H, cause_specific
    timing: dict[str, Any]  # rows of start_stop.csv, delayed entry, treated on the way
    prognostic_score: dict[str, Any]  # the nomogram as a table: points, totals, coefficients
    included_excluded: list[IncludedExcluded]
    restricted_mean: dict[str, Any]  # event-free months of high and low, their difference
    power: dict[str, Any]  # what n and events can show
    missing: list[Missing]
    between_centres: BetweenCentres
    missing_covariates: MissingCovariates | NothingMissing
    table_one: TableOne
    multivariable: Multivariable | NotEstimable
    score_associations: Associations
    acquisition: Acquisition | Note
    fairness: Fairness
    flow: dict[str, Any]  # patients, analysed, slides, slides_left_out, tiles, excluded, by_centre
    pretraining: Pretraining
    leaks: Leaks
    alarms: list[Alarm]
    offset_score: NotRequired[OffsetScore]  # where train.offset is clinical
    # by their names, where study.yaml has secondary_endpoints
    endpoints: NotRequired[dict[str, SecondaryEndpoint]]
    endpoint_comparison: NotRequired[EndpointComparison]
    heterogeneity: dict[str, Any]  # shift and agreement of primary and metastasis of one patient
