"""study.yaml: what is refused, with which sentence; what overrides and defaults do."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml

from pathoml.config import StudyConfig, load_study, parse_config, resolved_yaml
from pathoml.errors import ConfigError

ENDPOINT = {
    "name": "progression-free survival",
    "time_zero": "first local therapy",
    "time": "pfs_months",
    "event": "pfs_event",
}


def study(folder: Path, text: str = "") -> Path:
    (folder / "study.yaml").write_text(
        yaml.safe_dump({"endpoint": ENDPOINT}) + text, encoding="utf-8"
    )
    return folder


def refusal(folder: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as error:
        load_study(folder, overrides)
    return str(error.value)


def test_only_the_endpoint_has_no_default(tmp_path):
    assert load_study(study(tmp_path)).config.splits.folds == 5
    (tmp_path / "study.yaml").write_text("encoder: uni\n")
    assert (
        refusal(tmp_path)
        == "study.yaml: 'endpoint' is missing. It needs name, time_zero, time, event."
    )


def test_typo_in_a_key_names_the_nearest(tmp_path):
    assert refusal(study(tmp_path, "train: {learning_rte: 0.1}\n")) == (
        "study.yaml: train: unknown key 'learning_rte'. Did you mean 'learning_rate'?"
    )


def test_typo_in_a_section_names_the_nearest(tmp_path):
    assert (
        refusal(study(tmp_path, "tile: {mpp: 0.5}\n"))
        == "study.yaml: unknown key 'tile'. Did you mean 'tiles'?"
    )


SECTIONS = {
    "": StudyConfig,
    **{
        n: f.annotation
        for n, f in StudyConfig.model_fields.items()
        if hasattr(f.annotation, "model_fields")
    },
}
KEYS = [(section, key) for section, model in SECTIONS.items() for key in model.model_fields]


def inside(section: str, content: dict) -> dict:
    """Return the content of a study.yaml that holds this in a section ("" is the top)."""
    held = (
        {**content}
        if not section
        else {section: {**(ENDPOINT if section == "endpoint" else {}), **content}}
    )
    return {"endpoint": ENDPOINT, **held}


def refused(content: dict) -> list[str]:
    with pytest.raises(ConfigError) as error:
        parse_config(content)
    return str(error.value).splitlines()


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_a_typo_in_any_key_names_its_section_and_the_nearest_key(section, key):
    where = f"study.yaml: {section}: " if section else "study.yaml: "
    typos = [f"{key}x", f"{key[:2]}{key[1:]}"]  # one letter too many, one letter twice
    expected = [[f"{where}unknown key {typo!r}. Did you mean {key!r}?"] for typo in typos]
    assert [refused(inside(section, {typo: 1})) for typo in typos] == expected


@pytest.mark.parametrize(
    "word",
    [
        "int",
        "integers",
        "float",
        "floats",
        "bool",
        "str",
        "strain",
        "stratify",
        "constrained-int",
        "literal[1]",
    ],
)
@pytest.mark.parametrize("section", SECTIONS)
def test_an_unknown_key_that_looks_like_a_type_is_named_in_its_section(section, word):
    where = f"study.yaml: {section}: " if section else "study.yaml: "
    (sentence,) = refused(inside(section, {word: 1}))
    assert sentence.startswith(f"{where}unknown key {word!r}.")


@pytest.mark.parametrize(
    ("section", "key"),
    [(section, key) for section, key in KEYS if key not in (*SECTIONS, "secondary_endpoints")],
)
def test_a_refused_value_of_any_key_names_section_key_and_what_it_means(section, key):
    begins = f"study.yaml: {section}: {key} = " if section else f"study.yaml: {key} = "
    ends = f"Meaning: {SECTIONS[section].model_fields[key].description}."
    sentences = refused(inside(section, {key: object()}))  # no YAML value, hence of no key's type
    assert [s for s in sentences if not (s.startswith(begins) and s.endswith(ends))] == []


def test_a_word_that_is_not_among_the_known_ones_is_refused_by_the_name_of_its_key():
    assert refused(inside("splits", {"stratify_by": "evnt"})) == [
        "study.yaml: splits: stratify_by = 'evnt' is refused: input should be 'event' or "
        "'centre_and_event'. Meaning: what each fold of scheme stratified has its share of."
    ]


def test_a_value_that_is_none_of_several_types_is_refused_in_one_sentence():
    [sentence] = refused(inside("significance", {"repeats": "many"}))
    assert "repeats = 'many' is refused: input should be a valid integer" in sentence
    assert ", or input should be 'auto'. Meaning: partitions" in sentence


@pytest.mark.parametrize("draws", [1, 50, 199])
def test_so_few_bootstraps_that_they_give_no_interval_are_as_none_with_the_reason(tmp_path, draws):
    read = load_study(study(tmp_path), [f"significance.bootstraps={draws}"])
    assert read.config.significance.interval_draws == 0
    assert f"bootstraps = {draws}: so few draws give no 95 % interval" in (
        read.config.significance.why_no_intervals
    )


@pytest.mark.parametrize("draws", [0, 200])
def test_no_bootstraps_or_two_hundred_are_taken(tmp_path, draws):
    read = load_study(study(tmp_path), [f"significance.bootstraps={draws}"])
    assert read.config.significance.interval_draws == draws
    assert not read.config.significance.why_no_intervals


def test_a_value_in_place_of_a_section_says_which_keys_the_section_has():
    (slides,), (endpoints,) = (
        refused(inside("", {"slides": 5})),
        refused(inside("", {"secondary_endpoints": 5})),
    )
    assert slides.endswith("Its keys are mpp.")
    assert endpoints.endswith("It needs name, time_zero, time, event.")


def test_a_typo_in_a_further_endpoint_names_the_nearest_key():
    assert (
        "study.yaml: secondary_endpoints: 0: unknown key 'strtime'. Did you mean 'time'?"
        in refused(inside("", {"secondary_endpoints": [{"strtime": "x"}]}))
    )


def test_every_mistake_is_named_at_once(tmp_path):
    sentences = refusal(study(tmp_path, "tiles: {mpp: -1}\nsplits: {folds: 1}\n")).splitlines()
    assert [s.split(" is refused")[0] for s in sentences] == [
        "study.yaml: tiles: mpp = -1",
        "study.yaml: splits: folds = 1",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "tiles: {mpp: 25}",
        "tiles: {min_tissue: 1.5}",
        "train: {head: 3}",
        "splits: {scheme: random}",
        "run: ../x",
    ],
)
def test_values_out_of_bounds_are_refused_with_the_value_and_its_meaning(tmp_path, text):
    value = str(next(iter(yaml.safe_load(text).values()))).strip("{}").split(": ")[-1]
    assert value in refusal(study(tmp_path, text + "\n"))


def test_a_key_given_twice_is_refused(tmp_path):
    assert "'folds' stands twice" in refusal(study(tmp_path, "splits:\n  folds: 3\n  folds: 5\n"))


def bombs() -> dict[str, str]:
    """Return name -> a few hundred bytes (or a megabyte) that a careless reader never ends with."""
    tens = ", ".join(
        ["&a0 [l,l,l,l,l,l,l,l,l,l]"]
        + [f"&a{i} [{','.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    )
    merged = "".join(
        f"a{i}: &m{i} {{<<: [{', '.join([f'*m{i - 1}'] * 9)}]}}\n" for i in range(1, 9)
    )
    return {
        "aliases of aliases": f"run: [{tens}]\n",
        "aliases of aliases as keys": f"? [{tens}]\n: 1\n",
        "merged maps": f"a0: &m0 {{x: 1}}\n{merged}",
        "an alias of itself": "run: &a [*a]\n",
        "a map in itself": "run: &a {b: *a}\n",
        "100,000 unknown keys": "".join(f"k{i}: 1\n" for i in range(100_000)),
        "9,000 unknown keys": "".join(f"k{i}: 1\n" for i in range(9_000)),
        "5,000 brackets": "run: " + "[" * 5000 + "]" * 5000 + "\n",
        "5,000 braces that never close": "run: " + "{a: " * 5000,
        "5,000 keys of keys": "? " * 5000 + "x\n",
        "5,000 indented lists": "run:\n" + " " + "- " * 5000 + "x\n",
        "a number of 6,000 digits": "splits: {seed: " + "9" * 6000 + "}\n",
        "a number of 6,000 hexadecimal digits": "splits: {seed: 0x" + "f" * 6000 + "}\n",
        "a number of 3,000 sixties": "splits: {seed: 1" + ":59" * 3000 + "}\n",
        "a number as a fraction": "tiles: {mpp: 1" + "0" * 5000 + "}\n",
        "a key of a megabyte": "k" * 999_000 + ": 1\n",
        "a value of a megabyte": "run: '" + "k" * 999_000 + "'\n",
        "ten megabytes": "# \n" * 2_500_000,
        "a day that is none": "endpoint: {data_cut: 2021-99-99}\n",
        "a key that is a list": "? [a, b]\n: 1\n",
        "a key that is a map": "? {a: b}\n: 1\n",
        "a text that is not base64": "run: !!binary '%%%'\n",
    }


@pytest.mark.parametrize("name", bombs())
def test_a_file_that_would_never_end_is_refused_soon_and_in_a_few_words(tmp_path, name):
    text = yaml.safe_dump({"endpoint": ENDPOINT}) if "day" not in name else ""
    (tmp_path / "study.yaml").write_text(text + bombs()[name], encoding="utf-8")
    begun = time.process_time()
    said = refusal(tmp_path)
    assert time.process_time() - begun < 5
    assert said.startswith("study.yaml")
    assert len(said) < 4000


@pytest.mark.parametrize("name", [n for n, text in bombs().items() if text.startswith("run: ")])
def test_an_override_is_no_way_around(tmp_path, name):
    assert len(refusal(study(tmp_path), bombs()[name].replace("run: ", "run=", 1))) < 4000


def test_an_anchor_that_names_a_little_stands_for_it(tmp_path):
    text = "cohort: {covariates: &c [age, grade], missing: *c}\n"
    assert load_study(study(tmp_path, text)).config.cohort.missing == ("age", "grade")


def test_numbers_that_yaml_reads_as_text_are_still_numbers(tmp_path):
    assert (
        load_study(study(tmp_path, "train: {learning_rate: 1e-4}\n")).config.train.learning_rate
        == 0.0001
    )


@pytest.mark.parametrize("text", ["a: [1\n", "\tx: 1\n", "- a list\n", "just words", ""])
def test_a_file_that_is_no_study_is_refused(tmp_path, text):
    (tmp_path / "study.yaml").write_text(text)
    assert "study.yaml" in refusal(tmp_path)


def test_yaml_cannot_run_code(tmp_path):
    assert "not readable YAML" in refusal(
        study(tmp_path, f"run: !!python/object/apply:os.mkdir ['{tmp_path}/ran']\n")
    )
    assert not (tmp_path / "ran").exists()


def test_a_folder_without_study_yaml_says_how_to_make_one(tmp_path):
    assert f"pathoml init {tmp_path}" in refusal(tmp_path)


def test_a_folder_inside_a_study_names_the_study(tmp_path):
    (tmp_path / "study.yaml").write_text("endpoint: {time: pfs, event: event}", encoding="utf-8")
    inside = tmp_path / "runs" / "main"
    inside.mkdir(parents=True)
    with pytest.raises(
        ConfigError, match=f"is part of the study {tmp_path.resolve()}: name that folder"
    ):
        load_study(inside)


def test_an_override_wins_over_the_file_and_is_checked_like_it(tmp_path):
    folder = study(tmp_path, "splits: {folds: 3}\n")
    assert load_study(folder, ["splits.folds=4", "train.epochs=7"]).config.splits.folds == 4
    assert "unknown key 'fold'" in refusal(folder, "splits.fold=4")
    assert "not of the form" in refusal(folder, "folds")
    assert "not a section" in refusal(folder, "endpoint.name.x=1")


def test_the_resolved_configuration_reads_back_as_itself():
    config = parse_config(
        {"endpoint": ENDPOINT, "tiles": {"mpp": 1.0}, "cohort": {"covariates": ["age", "Größe"]}}
    )
    assert parse_config(yaml.safe_load(resolved_yaml(config))) == config


def test_every_key_says_what_it_means():
    sections = [
        f.annotation
        for f in StudyConfig.model_fields.values()
        if hasattr(f.annotation, "model_fields")
    ]
    assert all(field.description for section in sections for field in section.model_fields.values())
