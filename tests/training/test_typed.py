"""Every setting of every config, by every entry: a value is heard as it was typed, or refused by name."""

import json
import re
import sys
from types import SimpleNamespace

import pytest
from fire.parser import DefaultParseValue
from monai.bundle import ConfigParser, ConfigWorkflow, create_workflow, run, run_workflow
from phantom_runs import BUNDLES

from mgmt_monai.cli.overrides import overrides
from mgmt_monai.errors import MgmtMonaiError
from mgmt_monai.exchange.configs import train_config
from mgmt_monai.training.config import check_values, read_config
from mgmt_monai.training.errors import TrainingError
from mgmt_monai.training.settings import (
    BOOLEANS,
    MAY_BE_EMPTY,
    NUMBERS,
    OPTIONAL,
    SECTIONS,
    TEXTS,
    WHOLE,
    WORDS,
    check_run_name,
    check_settings,
)
from mgmt_monai.training.start import training_config
from mgmt_monai.training.typed import check_arrived, check_unharmed, for_monai, plain, read_word


def _config(name: str) -> dict:
    """A config of ``bundles``; one that is read on top of another with that below it."""
    below = ["t1w"] if name in ("evaluate", "multi_gpu_train") else []
    return ConfigParser.load_config_files([str(BUNDLES / f"{part}.json") for part in [*below, name]])


#: The other modalities' differ from T1w's in the modality alone (tests/training/test_bundles.py).
CONFIGS = {name: _config(name) for name in ("t1w", "fusion", "evaluate", "inference", "multi_gpu_train")}
CONFIGS["exported"] = train_config(CONFIGS["t1w"])

#: Top-level scalars that are no settings: what is built, and what runs.
BUILT = {"network", "run"}

SETTINGS = sorted(
    {
        (config, name)
        for config, content in CONFIGS.items()
        for name, value in content.items()
        if not isinstance(value, dict | list) and name not in BUILT and "::" not in name
    }
)

#: Words that a parser swallows, or that are of a wrong type for most settings.
WORDS_TYPED = [
    "None", "null", "", " ", "a#2", "#", "a::b", "2024_01_15", "3_0", "0x10", "1e5", "1e400", "007", "True", "false",
    "a,b", "[1]", "{a: b}", "(1)", "'7'", '"a#b"', "nan", "inf", "-1", "1.5", "1j", "...", "b'a'", "a b",
    "9" * 5000, "x" * 5000, "1e-400", "-0", "+1", "1\uff12", "\u0663", "\u22121", "1 ", " a", "~", "~/x", "NONE",
    "SQUASH", "squash ", "TRUE", "yes", "a ",
]  # fmt: skip

#: Of these words, the ones that a setting takes, by hand: a flag, whole numbers with a least and without a fold, ...
HEARD = {
    "resume": {"True", "TRUE", "false"}, "compile": {"True", "TRUE", "false"}, "seed": {"+1", "-0"},
    "transfer_epochs": {"+1"}, "fold": {"+1", "-0", "None", "null"}, "rotation_deg": {"+1", "-0", "1.5", "007"},
    "transfer_learning_rate": {"+1", "1.5", "007", "1e5"}, "dropout": {"-0"}, "aspect": set(),
}  # fmt: skip


def as_monai_has_it(config: dict, given: dict) -> dict:
    """A config with overrides as the executed one is: through MONAI's own parser, without what is None."""
    parser = ConfigParser(json.loads(json.dumps(config)))
    parser.update({key: value for key, value in given.items() if value is not None})
    parser.resolve_macro_and_relative_ids()
    return dict(parser.get())


def used(config: dict, name: str) -> object:
    """What a component gets of a setting that refers to no other."""
    parser = ConfigParser({"value": config[name], "of": {"x": "@value"}})
    return parser.get_parsed_content("of")["x"]


def is_meant(name: str, word: str, value: object) -> bool:
    """Whether the value is the word, by the setting's type; said again here, without the code's own reading."""
    if name in OPTIONAL and word in ("None", "null"):
        return value is None
    if name in TEXTS or name in WORDS:
        quoted = word[:1] in ("'", '"') and word[:1] == word[-1:]
        return isinstance(value, str) and value == (word[1:-1] if quoted else word)
    if name in BOOLEANS:
        return str(value).lower() == word.lower() and word.lower() in ("true", "false")
    is_lost = not float(value) and bool(set("123456789") & set(word.partition("e")[0]))
    return not isinstance(value, bool | str) and "_" not in word and float(value) == float(word) and not is_lost


def test_every_top_level_scalar_has_a_type():
    typed = [*WHOLE, *NUMBERS, *BOOLEANS, *WORDS, *TEXTS]
    assert len(typed) == len(set(typed))
    assert {name for _, name in SETTINGS} == set(typed)


@pytest.mark.parametrize("config", sorted(CONFIGS))
def test_shipped_config_is_taken(config):
    content = as_monai_has_it(CONFIGS[config], {})
    check_unharmed(content)
    check_settings(content)


@pytest.mark.parametrize(("config", "name"), SETTINGS)
def test_word_is_heard_or_refused_by_python_m_monai_bundle(config, name, monkeypatch):
    """The arguments as Fire makes them of the words, then as MONAI has them; no process is needed for either."""
    monkeypatch.setattr("mgmt_monai.training.config.is_bundle_command", lambda: True)
    heard = set()
    for word in WORDS_TYPED:
        executed = as_monai_has_it(CONFIGS[config], {name: DefaultParseValue(word)})
        monkeypatch.setattr(sys, "argv", ["monai.bundle", "run", "--config_file", "x.json", f"--{name}={word}"])
        try:
            check_values(executed)
        except MgmtMonaiError as error:
            assert name in str(error) and "\n" not in str(error)
        else:
            assert is_meant(name, word, used(executed, name)), (name, word, executed[name])
            heard.add(word)
    if name in HEARD:  # Fire's own words for an octal and for nothing are others
        assert heard == HEARD[name] - {"007", "null"}


@pytest.mark.parametrize("name", sorted({name for config, name in SETTINGS if config == "t1w"}))
def test_word_is_heard_or_refused_by_mgmt_monai_train(name):
    heard = set()
    for word in WORDS_TYPED:
        try:
            _, given = training_config("t1w", overrides([f"--{name}", word]))
        except MgmtMonaiError as error:
            assert name in str(error) and "\n" not in str(error)
        else:
            executed = as_monai_has_it(CONFIGS["t1w"], given)
            check_values(executed)
            assert is_meant(name, word, used(executed, name)), (name, word, given)
            heard.add(word)
    if name in HEARD:
        assert heard == HEARD[name]
    elif name in TEXTS and name not in ("dataset_dir", "backbone"):  # which name what has to be there
        assert heard >= {"1.5", "True", "a b", "yes", "2024_01_15"}


@pytest.mark.parametrize("name", sorted({name for config, name in SETTINGS if config == "t1w"}))
def test_value_is_heard_or_refused_in_python(name):
    heard = []
    for value in [
        None,
        "",
        " ",
        "a#2",
        "a::b",
        "a\nb",
        1.5,
        True,
        10**400,
        float("inf"),
        float("nan"),
        ["a"],
        {},
        b"a",
    ]:
        try:
            _, given = training_config("t1w", {name: value})
        except MgmtMonaiError as error:
            assert name in str(error)
        else:
            executed = as_monai_has_it(CONFIGS["t1w"], given)
            check_values(executed)
            assert used(executed, name) == value
            heard.append(value)
    if name in BOOLEANS:
        assert heard == [True]
    elif name in ("experiment_name", "weights", "device"):
        assert heard == ["a#2", "a::b"]
    elif name in ("seed", "transfer_learning_rate", "rotation_deg"):
        assert heard == ([] if name == "seed" else [1.5])


@pytest.mark.parametrize("name", sorted({*WHOLE, *NUMBERS, *BOOLEANS, *WORDS, *TEXTS} - set(OPTIONAL)))
def test_none_is_refused_by_name(name):
    with pytest.raises(MgmtMonaiError, match=name):
        read_word(name, "None")
    with pytest.raises(MgmtMonaiError, match=name):
        check_settings({name: None})
    with pytest.raises(MgmtMonaiError, match=rf"^{name}: expected a value, found None.*Here 'x' would be used"):
        check_arrived({name: "x"}, ["run", f"--{name}", "None"])


@pytest.mark.parametrize("name", OPTIONAL)
def test_fold_may_be_null(name):
    given = overrides([f"--{name}", "None"])
    assert used(as_monai_has_it({**CONFIGS["t1w"], name: 2}, for_monai(given)), name) is None
    check_arrived({name: None}, ["run", f"--{name}", "None"])
    with pytest.raises(TrainingError, match=f"{name}: typed 'None', but 2 would be used.*'\\$None'"):
        check_arrived({name: 2}, ["run", f"--{name}", "None"])


@pytest.mark.parametrize("text", ["a#b", "#", "it's #1", 'a"#', "a\\#b", "a::b", "me@x#1", "import a #", "ü#"])
def test_text_with_a_hash_reaches_a_component_unharmed(text):
    given = for_monai({"dataset_dir": text})
    parser = ConfigParser({**given, "below": "$@dataset_dir + '/x'", "of": {"folder": "@dataset_dir"}})
    assert parser.get_parsed_content("of")["folder"] == text
    assert parser.get_parsed_content("below") == f"{text}/x"
    assert plain(given["dataset_dir"]) == text


def test_hash_in_a_users_own_config_is_kept_by_train_and_refused_by_monai(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({**CONFIGS["t1w"], "dataset_dir": "cohort#2"}))
    assert used(as_monai_has_it(read_config(path), training_config(path, {})[1]), "dataset_dir") == "cohort#2"
    with pytest.raises(TrainingError, match=r"dataset_dir: 'cohort::2' holds '#' or '::'"):
        check_values(as_monai_has_it(read_config(path), {}))


def test_what_is_told_can_be_typed():
    told = ["--dataset_dir", r'$"cohort\x232"', "--run_name", '"2024_01_15"']
    given = {name.removeprefix("--"): DefaultParseValue(word) for name, word in zip(told[::2], told[1::2], strict=True)}
    executed = as_monai_has_it(CONFIGS["t1w"], given)
    check_arrived(executed, ["run", *told])
    check_settings({key: plain(value) for key, value in executed.items()})
    assert used(executed, "dataset_dir") == "cohort#2" and used(executed, "run_name") == "2024_01_15"


@pytest.mark.parametrize(
    ("words", "found", "expected"),
    [
        (["--run_name", "2024_01_15"], {"run_name": 20240115}, """Write --run_name '"2024_01_15"'"""),
        (["--run-name=2024_01_15"], {"run_name": 20240115}, "run_name: typed '2024_01_15', but 20240115 would be"),
        (["--dataset_dir", "cohort#2"], {"dataset_dir": "cohort"}, r"""Write --dataset_dir '$"cohort\x232"'"""),
        (["--run_name", "--seed", "1"], {"run_name": True}, "run_name: expected a value after --run_name"),
        (["--seed", "1", "--image_size", "3_0_0"], {"image_size": 300}, "image_size: typed '3_0_0', but 300 would"),
        (["--train::n", "None"], {"train": {"n": 5}}, "train::n: expected a value, found None"),
        (["--seed", "1", "--seed", "2"], {"seed": 1}, "seed: typed '2', but 1 would be used"),
        (["--train#n", "a#b"], {"train": {"n": "a"}}, "train::n: typed 'a#b', but 'a' would be used"),
    ],
)
def test_value_that_arrived_as_another_is_told_with_how_to_write_it(words, found, expected):
    with pytest.raises(TrainingError) as told:
        check_arrived(found, ["run", "training", "--config_file", "a#b.json", *words])
    assert expected in str(told.value)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--seed", "1", "--rotation_deg", "15", "--fine_tune_learning_rate", "1e-5"],
         {"seed": 1, "rotation_deg": 15, "fine_tune_learning_rate": 1e-05}),
        (["--compile", "--noresume", "--shift_fraction", "-0.1"],
         {"compile": True, "resume": False, "shift_fraction": -0.1}),
        (["--unknown", "None"], {}),
        (["--seed", "1", "--seed", "2"], {"seed": 2}),
        (["--nocompile", "--compile=True"], {"compile": True}),
        (["--train#n", "1", "--train::n", "2"], {"train": {"n": 2}}),
        (["--seed", "@split_seed"], {"seed": "@split_seed"}),
        (["--train::on", "[1, 2]", "--train::n", "a"], {"train": {"on": [1, 2], "n": "a"}}),
        (["--run_name", "a", "--", "--run_name", "b"], {"run_name": "a"}),
    ],
)  # fmt: skip
def test_values_that_arrived_as_typed_are_taken(words, found):
    check_arrived(found, ["run", *words])


@pytest.mark.parametrize(
    "name", ["a/b", "..", ".a", "-a", "a ", "a:b", "a'b", "a%b", "a\tb", "a\x00", "0123456789abcdef" * 2, "x" * 201]
)
def test_run_name_that_is_no_good_is_refused(name):
    with pytest.raises(TrainingError, match="run_name: expected the name of a folder"):
        check_run_name(name)


@pytest.mark.parametrize("name", ["2024_01_15", "None-of-all", "a b", "t1w-20260101-120000-abcdef", "größe=3", "1e5"])
def test_run_name_that_is_good_is_taken(name):
    check_run_name(name)


def test_words_of_another_program_are_not_held_against_its_settings(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["pytest", "--seed", "None"])
    monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(__spec__=SimpleNamespace(name="pytest.__main__")))
    check_values({"seed": 1})
    monkeypatch.setitem(
        sys.modules, "__main__", SimpleNamespace(__spec__=SimpleNamespace(name="monai.bundle.__main__"))
    )
    with pytest.raises(TrainingError, match="seed"):
        check_values({"seed": 1})


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_text_of_thousands_of_letters_is_not_told_whole(name):
    for text in (" " + "x" * 9000, " " + "x " * 4500):
        with pytest.raises(MgmtMonaiError, match=rf"^{name}: expected .{{,2200}}$"):
            check_settings({name: text})


@pytest.mark.parametrize("name", ["output_dir", "weights", "slice_store", "exclusions"])
def test_tilde_that_no_shell_has_read_makes_no_folder_of_that_name(name):
    with pytest.raises(TrainingError, match=rf"^{name}: .* found '~/x': no shell"):
        check_settings({name: "~/x"})
    check_settings({name: "a~/x"})


def test_some_settings_may_be_empty():
    check_settings(dict.fromkeys(MAY_BE_EMPTY, ""))


NESTED = "train::trainer::max_epochs"

#: Of any key of a config, by Python and by the command: what is given, and what is told.
REFUSED = [
    ({"run": None}, "run: expected the config's own"),
    ({"run": "%fine_tune"}, "run: expected the config's own"),
    ({"network": None}, "network: expected a section or an expression, found None"),
    ({"network": 3}, "network: expected a section or an expression, found 3"),
    ({"train": None}, "train: expected a section or an expression, found None"),
    ({"training": []}, r"training: expected a section or an expression, found \[\]"),
    ({"initialize": ""}, "initialize: expected a section or an expression, found ''"),
    ({"cohort": "$None"}, "cohort: expected a section or an expression, found None"),
    ({"train::handlers": None}, "train::handlers: expected a section or an expression, found None"),
    ({"train::progress::stage": None}, "train::progress::stage: expected a value, found None"),
    ({NESTED: None}, f"{NESTED}, in the place of transfer_epochs: expected a whole number from 1, found None"),
    ({"fine_tune#trainer#max_epochs": 0}, "max_epochs, in the place of fine_tune_epochs: expected .* found 0"),
    ({"train::optimizer::lr": "1e-3"}, "lr, in the place of transfer_learning_rate: expected a number"),
    ({NESTED: 2.5}, f"{NESTED}, in the place of transfer_epochs: expected a whole number from 1, found 2.5"),
    ({"train::lr_scheduler::patience": "$None"}, "patience, in the place of plateau_patience: .* found None"),
    ({"validate::key_metric": "$None"}, "validate::key_metric: expected a section or an expression, found None"),
    ({"validate::key_metric": {}}, r"validate::key_metric: expected a section or an expression, found \{\}"),
    ({"train::trainer::loss_function": "$None"}, "train::trainer::loss_function: expected a value, found None"),
    ({"train::trainer::amp": "false"}, "train::trainer::amp: expected a value, found the word 'false'"),
    ({"train::trainer::decollate": "no"}, "train::trainer::decollate: expected True or False, found 'no'"),
    ({"train::lr_scheduler::mode": False}, "train::lr_scheduler::mode: expected a value such as 'min', found False"),
    ({"train::deterministic_transforms::7::mode": None}, "mode: expected a value, found None"),
    ({"test::scoring::threshold": 50}, "threshold, in the place of threshold: expected a number from 0 to 1, found 50"),
]  # fmt: skip

#: With two spellings of one key.
TWICE = {NESTED: 1, "train#trainer#max_epochs": 2}


@pytest.mark.parametrize(("given", "expected"), [*REFUSED, (TWICE, f"{NESTED}: expected one value, found 2")])
def test_key_inside_a_config_takes_what_is_in_its_place(given, expected):
    with pytest.raises(TrainingError, match=expected):
        training_config("t1w", given)


@pytest.mark.parametrize("config", ["t1w", "exported"])
@pytest.mark.parametrize(("given", "expected"), [each for each in REFUSED if re.search("::|#", next(iter(each[0])))])
def test_key_inside_a_config_takes_what_is_in_its_place_of_monai_too(given, expected, config):
    with pytest.raises(TrainingError, match=expected):
        check_values(as_monai_has_it(CONFIGS[config], for_monai(given)))


def test_key_inside_the_config_of_a_bundle_is_held_against_the_bundles_own(tmp_path, monkeypatch):
    """Its code lies in ``scripts``, without the packaged configs; other names in it are no fault."""
    monkeypatch.setattr("mgmt_monai.training.config.FOLDER", tmp_path / "scripts" / "bundles")
    monkeypatch.setattr("mgmt_monai.training.config.config_names", list)
    with_others = as_monai_has_it(CONFIGS["exported"], {"train::trainer::amp": "no"})
    check_values(with_others)  # nothing to hold it against
    (tmp_path / "configs").mkdir()
    renamed = json.dumps(CONFIGS["exported"]).replace('"mgmt_monai.', '"scripts.')
    (tmp_path / "configs" / "train.json").write_text(renamed)
    with pytest.raises(TrainingError, match="train::trainer::amp: expected a value, found the word 'no'"):
        check_values(with_others)
    check_values(as_monai_has_it(CONFIGS["exported"], {}))


@pytest.mark.parametrize(
    "given",
    [{NESTED: 2}, {NESTED: "@fine_tune_epochs"}, {"train::handlers": []}, {"network": "$@network_def"},
     {"cohort::fold": None}, {"train::random_transforms": []}, {"train::trainer::amp": True},
     {"train::dataset::seed": 5}, {"train::optimizer::_target_": "torch.optim.SGD"}],
)  # fmt: skip
def test_key_inside_a_config_is_heard(given):
    assert training_config("t1w", given)[1] == for_monai(given)
    check_values(as_monai_has_it(CONFIGS["t1w"], for_monai(given)))


@pytest.mark.parametrize("config", ["t1w", "evaluate", "inference", "exported"])
def test_nothing_for_any_key_but_a_fold_is_refused_by_python_m_monai_bundle(config, monkeypatch):
    monkeypatch.setattr("mgmt_monai.training.config.is_bundle_command", lambda: True)
    for name in sorted(CONFIGS[config].keys() - {*OPTIONAL, "tracking"}):  # which is an argument of MONAI's own too
        for word in ("None", "$None", "$3") if name in SECTIONS else ("None", "$None"):
            executed = as_monai_has_it(CONFIGS[config], {name: DefaultParseValue(word)})
            monkeypatch.setattr(sys, "argv", ["monai.bundle", "run", f"--{name}", word])
            with pytest.raises(MgmtMonaiError, match=rf"^{name}: expected"):
                check_values(executed)


@pytest.mark.parametrize("config", ["t1w", "exported"])
@pytest.mark.parametrize("given", ["$None", "$[]", "", [], 3, "x"], ids=repr)
@pytest.mark.parametrize("name", ["train", "begun", "training", "run", "fine_tune", "validate", "imports"])
def test_workflow_without_a_section_does_not_end_as_if_it_had_run(name, given, config, tmp_path):
    """MONAI's own class: what is emptied is told before anything is read, or where nothing has run, at the end."""
    path = tmp_path / "c.json"
    path.write_text(json.dumps(CONFIGS[config]))
    made = ConfigWorkflow(str(path), logging_file=False, run_id="training", **{name: given})
    with pytest.raises(RuntimeError) as error:
        made.initialize()
        made.run()
        made.finalize()
    assert str(error.value.__cause__).startswith(f"{name}: expected a section or an expression, found ")


@pytest.mark.parametrize("config", sorted(CONFIGS))
def test_section_of_a_config_is_a_known_one(config):
    assert {name for name in CONFIGS[config] if not re.search("::|#", name)} <= {
        name for _, name in SETTINGS
    } | SECTIONS


@pytest.mark.parametrize("words", [["--seed", "1", "--seed=2"], ["--train#n", "1", "--train::n", "2"]])
def test_of_an_option_given_twice_the_last_counts_and_that_is_told(words, caplog):
    name = words[2].lstrip("-").partition("=")[0]
    assert overrides(words) == {name: 2}
    assert caplog.messages == [f"{name}: given 2 times, the last counts: 2"]


@pytest.mark.parametrize("start", [run, run_workflow, create_workflow])
def test_none_that_monai_leaves_out_in_python_is_refused(start, tmp_path):
    """MONAI's own functions; the config does nothing but ask for the check."""
    config = tmp_path / "c.json"
    asks = "$__import__('mgmt_monai.training.config', fromlist=['config']).check_values_here()"
    config.write_text(json.dumps({"seed": 1, "initialize": [asks], "training": ["$1"]}))
    start(run_id="training", config_file=str(config), final_id=None, seed=2)
    with pytest.raises(RuntimeError) as error:
        start(run_id="training", config_file=str(config), seed=None)
    assert "seed: expected a value, found None, which MONAI leaves out" in str(error.value.__cause__)
