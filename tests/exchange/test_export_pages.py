"""The pages on bundles: their commands are those that are run, their lists those of an exported bundle."""

import re
from pathlib import Path

import pytest
from page_commands import commands_of

from mgmt_monai.exchange.configs import PER_RUN
from mgmt_monai.packaged_configs import packaged_config

pytestmark = pytest.mark.xdist_group("training")

DOCS = Path(__file__).parents[2] / "docs"
EXPORT = (DOCS / "how-to" / "export.md").read_text()
EXTERNAL = (DOCS / "how-to" / "external-cohort.md").read_text()
REFERENCE = (DOCS / "reference" / "bundle.md").read_text()


def test_exports_of_the_page_are_there(page_exports):
    """Each was run by the fixture."""
    assert sorted(path.name for path in (page_exports / "exported").iterdir()) == [
        "mgmt_t1w", "mgmt_t1w.zip", "mgmt_t1w_forms",
    ]  # fmt: skip
    models = page_exports / "exported" / "mgmt_t1w_forms" / "models"
    assert {"model.pt", "model.ts", "model.onnx"} <= {path.name for path in models.iterdir()}


def test_commands_of_the_pages_are_those_of_the_card(exported_bundle):
    """The card's are run by test_isolated."""
    of_card = commands_of((exported_bundle / "docs" / "README.md").read_text(), "python")
    of_external = [
        ["COHORT" if word == "UPENN" else "OUT" if word == "external" else word for word in words]
        for words in commands_of(EXTERNAL, "python")
    ]

    assert len(of_card) == 3
    assert commands_of(EXPORT, "python") == of_card
    assert of_external == [words for words in of_card if "evaluate.json" in words[words.index("--config_file") + 1]]


def test_reference_lists_every_file(exported_bundle):
    listed = re.findall(r"`([\w/.{},]+)`", "\n".join(re.findall(r"^\| (`.*?) \|", REFERENCE, re.MULTILINE)))
    there = {path.relative_to(exported_bundle).as_posix() for path in exported_bundle.rglob("*") if path.is_file()}
    there = {name for name in there if not name.startswith("scripts/")} | {"scripts/"}

    assert there == set(listed) - {"models/model.ts", "models/model.onnx", *packaged_config("evaluate")}


def test_reference_names_the_settings_that_are_put_back():
    (paragraph,) = re.findall(r"Back at the template's.*?\n\n", REFERENCE, re.DOTALL)

    named = set(re.findall(r"`(\w+)`", paragraph))
    assert PER_RUN - {"bundle_root"} | {"weights", "exclusions", "split_seed"} == named


def test_reference_lists_the_settings_of_an_evaluation():
    rows = dict(re.findall(r"^\| `(output_dir|stage|overwrite|slice_store)` \| (.*?) \|", REFERENCE, re.MULTILINE))

    scalars = {
        key
        for key, value in packaged_config("evaluate").items()
        if "::" not in key and not isinstance(value, dict | list)
    }
    assert set(rows) == scalars
    assert rows["overwrite"] == "`false`"
