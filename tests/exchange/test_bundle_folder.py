"""A bundle is read as data: what can run is our own template alone, whatever a bundle's author writes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from made_bundles import template_text, write_bundle

from mgmt_monai.carried_code import SCRIPTS, renamed
from mgmt_monai.exchange.bundle_folder import PATH_SETTINGS, open_bundle
from mgmt_monai.exchange.errors import ExchangeError
from mgmt_monai.inference.model import load_model
from mgmt_monai.networks import MGMTClassifier
from mgmt_monai.packaged_configs import packaged_config

BACKBONE = "mobilenet-v2"


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network's state as a training writes it."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("state") / "model.pt"
    torch.save(MGMTClassifier(BACKBONE).state_dict(), path)
    return path


@pytest.fixture
def bundle_of(tmp_path: Path, state: Path):
    """Writes a bundle with a real state: ``bundle_of(<setting>=...)``."""

    def write(**settings):
        folder = write_bundle(tmp_path / "bundle", **{"backbone": BACKBONE, **settings})
        (folder / "models" / "model.pt").unlink()
        (folder / "models" / "model.pt").symlink_to("state.pt")
        os.link(state, folder / "models" / "state.pt")
        return folder

    return write


def rewrite(folder: Path, text: str, name: str = "inference") -> Path:
    (folder / "configs" / f"{name}.json").write_text(text)
    return folder


def test_bundle_written_from_the_template_is_ours_and_keeps_its_settings(bundle_of) -> None:
    with open_bundle(bundle_of(threshold=0.4, plane="axial", modality="FLAIR")) as bundle:
        assert bundle.is_ours
        assert (bundle.name, bundle.modality, bundle.version) == ("bundle", "FLAIR", "0.1.0")
        config = bundle.executed_config(trust=False)
    assert (config["threshold"], config["plane"], config["image_size"]) == (0.4, "axial", 48)
    assert config["network_def"]["_target_"] == "mgmt_monai.networks.MGMTClassifier"


def test_executed_config_has_the_templates_own_code_and_paths() -> None:
    ours = packaged_config("inference")

    def live(value):
        if isinstance(value, dict):
            return {key: live(part) for key, part in value.items()}
        return [live(part) for part in value] if isinstance(value, list) else value

    assert json.loads(json.dumps(renamed(ours, SCRIPTS)).replace("scripts", "mgmt_monai")) == live(ours)


def test_templates_words_are_each_held_to_a_list_or_are_paths_that_are_not_read() -> None:
    words = {
        key
        for key, value in packaged_config("inference").items()
        if isinstance(value, str) and not value.startswith("$")
    }

    assert words - set(PATH_SETTINGS) == {"modality", "plane", "backbone", "aspect"}


CODE = "__import__('pathlib').Path({canary!r}).touch()"
HOSTILE = {
    "expression": f"${CODE}",
    "quote": f"native' or {CODE} or '",
    "brackets": f"native'] + [{CODE}]",
    "line": f"native\n${CODE}",
    "reference": "@network",
    "macro": "%/etc/hostname.json",
    "macro of a file": "%{canary}.json::x",
    "relative reference": "x@::::::::network",
    "blank": f" ${CODE}",
    "surrogate": "\ud800",
    "object": {"_target_": "pathlib.Path.touch", "self": "$__import__('pathlib').Path({canary!r})"},
    "list": [f"${CODE}"],
    "none": None,
}


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize(
    "key", [key for key, value in packaged_config("inference").items() if not isinstance(value, dict | list)]
)
def test_setting_cannot_run_code(bundle_of, tmp_path: Path, key: str, value: object) -> None:
    canary = tmp_path / "canary"
    text = json.dumps(value).replace("{canary!r}", f"'{canary}'").replace("{canary}", str(canary))
    folder = bundle_of(**{key: json.loads(text)})
    loaded = False
    try:
        with open_bundle(folder) as bundle:
            load_model(bundle)
            loaded = True
    except ExchangeError as error:
        assert "\n" not in str(error)

    assert not canary.exists()
    assert not loaded or key in PATH_SETTINGS


@pytest.mark.parametrize(
    ("change", "why"),
    [
        pytest.param(lambda c: c["imports"].append("$import antigravity"), "a import more", id="import"),
        pytest.param(lambda c: c.update(extra="$open('/etc/passwd').read()"), "a key more", id="key"),
        pytest.param(lambda c: c.pop("inferer"), "a key less", id="less"),
        pytest.param(lambda c: c["network_def"].update(_target_="os.system"), "another target", id="target"),
        pytest.param(lambda c: c["network_def"].update(_requires_="$print('x')"), "a requirement", id="requires"),
        pytest.param(lambda c: c["preprocessing"]["transforms"].pop(), "a transform less", id="transform"),
        pytest.param(lambda c: c.update(output_dir="/etc"), "another expression", id="expression to word"),
        pytest.param(
            lambda c: c.update(json.loads(json.dumps(c).replace("scripts", "mgmt_monai"))), "other names", id="names"
        ),
    ],
)
def test_other_config_asks_for_trust(bundle_of, change, why: str) -> None:
    config = json.loads(template_text()) | {"backbone": BACKBONE, "image_size": 48}
    change(config)
    with open_bundle(rewrite(bundle_of(), json.dumps(config))) as bundle:
        assert not bundle.is_ours
        with pytest.raises(ExchangeError, match="--trust-bundle"):
            load_model(bundle)


@pytest.mark.slow
def test_trusted_bundle_runs_its_own_code_and_untrusted_does_not(bundle_of, tmp_path: Path) -> None:
    config = json.loads(template_text().replace("scripts", "mgmt_monai")) | {"backbone": BACKBONE, "image_size": 48}
    config["imports"] += ["$import scripts", "$import scripts.marker"]
    config["marked"] = "$scripts.marker.mark()"
    config["network_def"]["hidden_units"] = "@marked"
    folder = rewrite(bundle_of(), json.dumps(config))
    (folder / "scripts").mkdir()
    (folder / "scripts" / "__init__.py").touch()
    canary = tmp_path / "canary"
    (folder / "scripts" / "marker.py").write_text(
        f"from pathlib import Path\ndef mark():\n    Path({str(canary)!r}).touch()\n    return 32\n"
    )
    code = (
        "import sys\nfrom pathlib import Path\nfrom mgmt_monai.exchange.errors import ExchangeError\n"
        "from mgmt_monai.inference.model import open_models\nfolder, canary = map(Path, sys.argv[1:])\n"
        "for trust in (False, True):\n"
        "    try:\n        with open_models([folder], trust) as models:\n"
        "            print(models[0].network.network, canary.exists())\n"
        "    except ExchangeError as error:\n        print(error, canary.exists())\n"
    )  # in a process of its own: a module that was imported stays so
    run = [sys.executable, "-c", code, str(folder), str(canary)]

    refused, trusted = subprocess.run(run, capture_output=True, text=True, check=True).stdout.splitlines()
    assert "--trust-bundle" in refused
    assert refused.endswith("False")
    assert trusted == f"{BACKBONE} True"


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        pytest.param({"modality": "PD"}, "modality", id="modality"),
        pytest.param({"modality": 1}, "modality", id="modality is a number"),
        pytest.param({"backbone": "evil"}, "unknown network", id="backbone"),
        pytest.param({"backbone": 3}, "backbone", id="backbone is a number"),
        pytest.param({"plane": "askew"}, "plane", id="plane"),
        pytest.param({"image_size": 100_000}, "image_size", id="image size"),
        pytest.param({"image_size": 10**5000}, "configs/inference.json", id="image size of 5000 digits"),
        pytest.param({"image_size": 48.0}, "image_size", id="image size is no whole number"),
        pytest.param({"image_size": True}, "image_size", id="image size is true"),
        pytest.param({"image_size": "48"}, "image_size", id="image size is a text"),
        pytest.param({"hidden_units": 2**31}, "hidden_units", id="hidden units"),
        pytest.param({"evaluation_batch_size": 0}, "evaluation_batch_size", id="no batch"),
        pytest.param({"image_size": 1024, "evaluation_batch_size": 4096}, "pixels", id="batch of large slices"),
        pytest.param({"slice_fraction": 0.0}, "slice_fraction", id="no slices"),
        pytest.param({"threshold": 1.5}, "threshold", id="threshold"),
        pytest.param({"threshold": float("nan")}, "NaN", id="nan"),
        pytest.param({"upper_percentile": float("inf")}, "Infinity", id="infinite"),
    ],
)
def test_setting_out_of_range_is_refused_before_anything_is_built(tmp_path: Path, settings, names: str) -> None:
    sys.set_int_max_str_digits(0)
    try:
        folder = write_bundle(tmp_path / "bundle", **settings)
    finally:
        sys.set_int_max_str_digits(4300)
    with pytest.raises(ExchangeError, match=names), open_bundle(folder):
        pass


@pytest.mark.parametrize(
    ("text", "names"),
    [
        pytest.param("{", "JSON", id="cut short"),
        pytest.param("[]", "object", id="a list"),
        pytest.param("[" * 100_000, "JSON", id="deep"),
        pytest.param('{"modality": "T1w", "modality": "T2w"}', "'modality' twice", id="key twice"),
        pytest.param('{"a": {"b": 1, "b": 2}}', "'b' twice", id="inner key twice"),
        pytest.param('{"modality": "T1w"', "JSON", id="not closed"),
        pytest.param('{"modality": "\\ud800"}', "JSON", id="half a character"),
        pytest.param(f'{{"modality": {"9" * 5000}}}', "JSON", id="5000 digits"),
        pytest.param('{"modality": NaN}', "JSON", id="no number"),
        pytest.param("{}", "modality", id="empty"),
    ],
)
def test_config_that_is_none_is_refused(tmp_path: Path, text: str, names: str) -> None:
    with pytest.raises(ExchangeError, match=names), open_bundle(rewrite(write_bundle(tmp_path / "bundle"), text)):
        pass


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "bundle")
    (folder / "configs" / "metadata.json").write_bytes(b'{"version": "\xff"}')
    with pytest.raises(ExchangeError, match="JSON"), open_bundle(folder):
        pass


def test_config_as_large_as_a_disk_is_not_read(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "bundle")
    with (folder / "configs" / "metadata.json").open("wb") as file:
        file.truncate(2**36)  # a hole: it takes no room
    with pytest.raises(ExchangeError, match="16 MiB"), open_bundle(folder):
        pass


@pytest.mark.parametrize("name", ["configs/inference.json", "configs/metadata.json", "models/model.pt"])
def test_missing_file_is_named(tmp_path: Path, name: str) -> None:
    folder = write_bundle(tmp_path / "bundle")
    (folder / name).unlink()
    with pytest.raises(ExchangeError, match=name.replace(".", r"\.")), open_bundle(folder):
        pass


@pytest.mark.parametrize(
    "name", ["configs/inference.json", "configs/metadata.json", "models/model.pt", "models/reference.safetensors"]
)
def test_link_out_of_the_bundle_is_not_followed(tmp_path: Path, name: str) -> None:
    outside = tmp_path / "outside.json"
    outside.write_text("{}")
    folder = write_bundle(tmp_path / "bundle")
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(outside)
    with pytest.raises(ExchangeError, match="link out of it"), open_bundle(folder):
        pass


def test_pipe_in_the_place_of_a_file_does_not_hang(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "bundle")
    (folder / "models" / "model.pt").unlink()
    os.mkfifo(folder / "models" / "model.pt")
    with pytest.raises(ExchangeError, match=r"model\.pt"), open_bundle(folder):
        pass


def test_name_that_would_steer_a_terminal_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExchangeError, match=r"printable.*<1b>"), open_bundle(write_bundle(tmp_path / "a\x1b[2J")):
        pass


def test_version_is_one_printable_line(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "bundle", metadata={"version": "1\n\x1b[31m" + "9" * 5000})
    with open_bundle(folder) as bundle:
        assert bundle.version.startswith("1<0a><1b>[31m9")
        assert len(bundle.version) == 200


def test_hash_changes_with_each_part_of_the_bundle(tmp_path: Path) -> None:
    hashes = set()
    for number, part in enumerate(
        ["", "configs/inference.json", "configs/metadata.json", "models/model.pt", "models/reference.safetensors"]
    ):
        folder = write_bundle(tmp_path / str(number) / "bundle")
        (folder / "models" / "reference.safetensors").write_bytes(b"{}")
        if part:
            (folder / part).write_bytes((folder / part).read_bytes() + b"\n")
        with open_bundle(folder) as bundle:
            hashes.add(bundle.sha256)
    assert len(hashes) == 5
