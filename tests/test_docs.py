"""The pages name every setting as the configs have it, and print what the code prints."""

import contextlib
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mgmt_monai.cli.main import main
from mgmt_monai.training.training_page import PAPER

ROOT = Path(__file__).parents[1]
BUNDLES = {path.name: json.loads(path.read_text()) for path in sorted((ROOT / "bundles").glob("*.json"))}
CONFIGS = {name: config for name, config in BUNDLES.items() if "training" in config and name != "fusion.json"}
CONFIG_PAGE = ROOT / "docs" / "reference" / "config.md"
PAPER_PAGE = ROOT / "docs" / "explanation" / "paper.md"
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md"]


def table_rows(page: Path, header: str) -> list[list[str]]:
    """The cells of every row of the page's tables whose header begins with ``header``."""
    rows, inside = [], False
    for line in page.read_text().splitlines():
        if line.startswith(header):
            inside = True
        elif not line.startswith("|"):
            inside = False
        elif inside and not line.startswith("|---"):
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def keys_of(rows: list[list[str]]) -> list[str]:
    return [re.fullmatch(r"`([\w:]+)`", row[0])[1] for row in rows]


def has_key(config: dict, key: str) -> bool:
    inner: Any = config
    for part in key.split("::"):
        if isinstance(inner, list) and part.isdigit() and int(part) < len(inner):
            inner = inner[int(part)]
        elif isinstance(inner, dict) and part in inner:
            inner = inner[part]
        else:
            return False
    return True


def as_printed(value: object) -> str:
    if value == "":
        return "empty"
    if str(value).startswith("$"):
        return "computed"
    return f"`{value}`" if isinstance(value, str) else f"`{json.dumps(value)}`"


SETTINGS = table_rows(CONFIG_PAGE, "| key | default |")
COMPONENTS = table_rows(CONFIG_PAGE, "| key | what it is |")


def test_the_four_configs_are_found() -> None:
    assert sorted(CONFIGS) == ["flair.json", "t1w.json", "t1wce.json", "t2w.json"]


@pytest.mark.parametrize("name", CONFIGS)
def test_config_page_has_every_top_level_key_once(name: str) -> None:
    documented = [key for key in keys_of(SETTINGS + COMPONENTS) if "::" not in key]

    assert sorted(documented) == sorted(CONFIGS[name])


@pytest.mark.parametrize("name", CONFIGS)
def test_config_page_names_no_key_that_is_not_there(name: str) -> None:
    unknown = [key for key in keys_of(SETTINGS + COMPONENTS) if not has_key(CONFIGS[name], key)]

    assert unknown == []


@pytest.mark.parametrize("name", CONFIGS)
def test_config_page_prints_the_defaults_of_the_config(name: str) -> None:
    differing = []
    for key, row in zip(keys_of(SETTINGS), SETTINGS, strict=True):
        by_file = {file: f"`{value}`" for value, file in re.findall(r"`(\S+)` in `(\S+)`", row[1])}
        if by_file.get(name, row[1]) != as_printed(CONFIGS[name][key]):
            differing.append(key)

    assert differing == []


@pytest.mark.parametrize("name", CONFIGS)
def test_config_page_prints_the_expressions_of_the_config(name: str) -> None:
    printed = json.loads(re.search(r"```json\n(.*?)```", CONFIG_PAGE.read_text(), re.DOTALL)[1])

    computed = {key: CONFIGS[name][key] for key in keys_of(SETTINGS) if as_printed(CONFIGS[name][key]) == "computed"}
    assert printed == computed


def test_config_page_tells_how_the_fusions_settings_differ() -> None:
    def settings(name: str) -> dict[str, object]:
        return {key: value for key, value in BUNDLES[name].items() if not isinstance(value, dict | list)}

    single, fusion = settings("t1w.json"), settings("fusion.json")
    rows = table_rows(CONFIG_PAGE, "| key | in `fusion.json` |")

    assert {key: row[1] for key, row in zip(keys_of(rows), rows, strict=True)} == {
        key: as_printed(value) for key, value in fusion.items() if single.get(key) != value
    }
    assert set(single) - set(fusion) == {"weigh", "augment_on"}


def test_paper_page_names_settings_that_exist() -> None:
    rows = table_rows(PAPER_PAGE, "| the paper | the trouble | here | setting |")
    named = [key for row in rows for key in re.findall(r"`(\w+)`", row[3])]

    assert len(named) > 20
    assert [key for key in named if key not in CONFIGS["t1w.json"]] == []


def test_paper_page_gives_every_decision_a_setting_or_a_reason() -> None:
    rows = table_rows(PAPER_PAGE, "| the paper | the trouble | here | setting |")

    assert [row[0] for row in rows if len(row) != 4 or not row[3]] == []


def test_page_of_a_training_tells_the_papers_values_as_the_paper_page() -> None:
    rows = table_rows(PAPER_PAGE, "| the paper | the trouble | here | setting |")
    text = PAPER_PAGE.read_text()
    in_words = {
        "exclusions": ("none", "| all 585 patients |"), "control": ("none", ""), "plane": ("native", "no mention of "),
        "slices": ("middle", "around the midsection"),
        "aspect": ("squash", "| 300 x 300 | squashes"), "backbone": ("efficientnet-b0", "| EfficientNet-B0 from "),
        "weights": ("imagenet", "from ImageNet;"), "weigh": ("slice", "`slice` is probably the paper's way"),
        "transfer_least_steps": (0, "`transfer_least_steps`; 0 is the paper's way"),
    }  # fmt: skip
    assert {name: PAPER[name] for name in in_words} == {name: value for name, (value, _) in in_words.items()}
    assert [words for _, words in in_words.values() if words not in text] == []
    for name in set(PAPER) - set(in_words):
        (said,) = (row[0] for row in rows if f"`{name}`" in row[3])
        numbers = [float(number) for number in re.findall(r"\d+(?:\.\d+)?(?:e-\d+)?", said)]
        assert PAPER[name] in numbers + [number / 100 for number in numbers], (name, said)


def test_paper_page_prints_what_its_example_prints() -> None:
    code, printed = re.search(r"```python\n(.*?)```\s+```text\n(.*?)```", PAPER_PAGE.read_text(), re.DOTALL).groups()
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(code, {})

    assert out.getvalue() == printed


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_on_the_pages_set_keys_that_exist(page: Path) -> None:
    text = page.read_text().replace("\\\n", " ")
    commands = re.findall(r"^ *(?:python -m monai\.bundle run training|mgmt-monai train) (.+)$", text, re.MULTILINE)
    keys = [key for command in commands for key in re.findall(r"--([\w:]+)", command)]

    assert [key for key in keys if key != "config_file" and not has_key(CONFIGS["t1w.json"], key)] == []


def test_readme_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\((?!https?://)([^)#]+)", (ROOT / "README.md").read_text())

    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


@pytest.mark.slow
def test_evaluation_page_prints_what_its_commands_print(shared_data: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    page = (ROOT / "docs" / "how-to" / "evaluate.md").read_text()
    printed = re.search(r"```text\n(.*?)```", page, re.DOTALL)[1]
    monkeypatch.chdir(tmp_path)
    table = shared_data.resolve() / "tables" / "rsna2021_radiomics_3d_unet.csv"
    script = ROOT / "docs" / "radiomics_baseline.py"
    made = subprocess.run([sys.executable, str(script), str(table), "radiomics.csv"], check=True, capture_output=True)
    assert f"{re.search(r'([0-9]+) radiomics features', page)[1]} features" in made.stdout.decode()

    mapping = shared_data.resolve() / "tables" / "BraTS21-17_Mapping.csv"
    column = "Site No (represents the originating institution)"
    assert main(["evaluate", "radiomics.csv", "--columns", str(mapping), "--site", column]) == 0
    assert capsys.readouterr().out == printed


@pytest.mark.slow
def test_verdict_page_prints_what_its_example_prints(tmp_path: Path, monkeypatch, capsys) -> None:
    page = (ROOT / "docs" / "explanation" / "verdict.md").read_text()
    example = re.search(r"```text\n(.*?)```", page, re.DOTALL)[1]
    monkeypatch.chdir(tmp_path)
    subprocess.run([sys.executable, str(ROOT / "docs" / "two_hospitals.py"), "two"], check=True)
    for part in example.split("mgmt-monai ")[1:]:
        command, *lines = [line for line in part.splitlines() if line]
        assert main([*command.split(), "--out", "out", "--overwrite"]) == 0
        printed = capsys.readouterr().out
        assert [line for line in lines if line not in printed] == []
        assert len(lines) in (2, 3)


@pytest.mark.slow
def test_verdict_page_tells_what_the_hospital_alone_reaches(shared_data: Path) -> None:
    tables = [shared_data / "tables" / name for name in ("train_labels.csv", "BraTS21-17_Mapping.csv")]
    command = [sys.executable, ROOT / "docs" / "hospital_alone.py", *tables]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    folds, pooled, in_sample, largest = (f"{float(found):.2f}" for found in re.findall(r"0\.\d{3}", printed))

    page = " ".join((ROOT / "docs" / "explanation" / "verdict.md").read_text().split())
    assert f"reach {folds} (mean of 20 \u00d7 5 folds; {in_sample} in-sample, {largest} in sites 1 and 18" in page
    assert f"Pooled folds give less, {pooled}:" in page
    assert [(int(m), int(n)) for m, n in re.findall(r"(\d+) of (\d+) methylated", printed)] == [(90, 207), (153, 247)]


def test_test_files_that_contributing_names_are_there() -> None:
    named = re.findall(r"tests/[\w/.]+\.py", (ROOT / "CONTRIBUTING.md").read_text())

    assert named and [path for path in named if not (ROOT / path).is_file()] == []
