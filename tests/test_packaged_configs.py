"""A config's name becomes a path in one way: a packaged one's, or a file's own."""

from pathlib import Path

import pytest

from mgmt_monai.cli.main import main
from mgmt_monai.packaged_configs import ConfigError, config_names, config_path, packaged_config

BUNDLES = Path(__file__).parents[1] / "bundles"


@pytest.mark.parametrize("name", ["t1w", "T1w", "T1W"])
def test_name_is_the_packaged_config(name: str) -> None:
    assert config_path(name).resolve() == BUNDLES / "t1w.json"


def test_names_are_the_configs_of_the_checkout() -> None:
    assert config_names() == sorted(path.stem for path in BUNDLES.glob("*.json"))


def test_names_content_is_the_files() -> None:
    assert packaged_config("flair")["modality"] == "FLAIR"


@pytest.mark.parametrize("name", ["t1w.json", "./t1w.json", Path("t1w.json"), Path("t1w"), "./t1w"])
def test_path_is_the_users_own_file(name: str | Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_text("{}")

    assert config_path(name).resolve() == tmp_path / name


@pytest.mark.parametrize("name", ["t1", "t1w.json", "bundles/t1w.json", "", ".", Path("t1w")])
def test_neither_name_nor_file_is_refused(name: str | Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"expected the name of a packaged config \(evaluate, flair, .*such as t1w"):
        config_path(name)


def test_command_prints_one_path(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "t2w"]) == 0

    assert Path(capsys.readouterr().out.strip()).resolve() == BUNDLES / "t2w.json"


def test_command_prints_several_as_monai_reads_them(capsys: pytest.CaptureFixture[str]) -> None:
    from fire.parser import DefaultParseValue

    assert main(["config", "t1w", "multi_gpu_train"]) == 0

    read = DefaultParseValue(capsys.readouterr().out.strip())
    assert [Path(path).resolve() for path in read] == [BUNDLES / "t1w.json", BUNDLES / "multi_gpu_train.json"]


def test_command_prints_the_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config"]) == 0

    assert capsys.readouterr().out.split() == config_names()


@pytest.mark.parametrize("command", ["config", "train"])
def test_unknown_name_is_one_line(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "t3w"]) == 1

    assert capsys.readouterr().err.startswith("Error: t3w: expected the name of a packaged config")


def test_config_that_trains_nothing_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "evaluate"]) == 1

    assert capsys.readouterr().err == (
        "Error: evaluate: expected the config of a training, found another. Name one, such as t1w.\n"
    )
