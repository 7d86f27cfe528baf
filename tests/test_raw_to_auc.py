"""From raw heads to a model that knows what it was trained on, beside one of the same brains alone; slow."""

import json
import shutil
from pathlib import Path

import pytest
from phantom_runs import train

from mgmt_monai.cli.main import main
from mgmt_monai.exchange.export import export_run
from mgmt_monai.phantom import write_phantom

pytestmark = pytest.mark.slow

PATIENTS, REGISTERED = 30, 2
"""So many heads; of so many, FLAIR is registered to T1wCE, and of the others it is prepared alone, for the time."""


def trained(cohort: Path, labels: Path, output_dir: Path) -> Path:
    """A small training on FLAIR, 12 test patients."""
    manifest = cohort.with_suffix(".json")
    split = ["--test-fraction", "0.4", "--train-fraction", "0.67"]
    assert main(["manifest", "build", str(cohort), "--labels", str(labels), "--out", str(manifest), *split]) == 0
    return train(cohort, output_dir, "flair.json", manifest=str(manifest), test_fraction=0.4, transfer_epochs=6)


def test_a_model_of_prepared_raw_heads_reaches_what_one_of_clean_brains_reaches(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw, clean = tmp_path / "raw", tmp_path / "clean"
    write_phantom(raw, PATIENTS, 3.0, 0, moves=10.0)
    write_phantom(clean, PATIENTS, 3.0, 0)
    for cohort in (raw, clean):
        for number, patient in enumerate(sorted((cohort / "train").iterdir())):
            for modality in ("T1w", "T2w", "T1wCE")[: 2 if number < REGISTERED else 3]:
                shutil.rmtree(patient / modality)
    prepared = tmp_path / "prepared"
    assert main(["prepare", str(raw), "--batch", "--out", str(prepared), "--spacing", "2"]) == 0

    labels, auc = raw / "train_labels.csv", {}
    runs = {cohort.name: trained(cohort, labels, tmp_path / f"runs-{cohort.name}") for cohort in (prepared, clean)}
    for name, run in runs.items():
        auc[name] = json.loads((run / "metrics.json").read_text())["fine_tune"]["test"]["patient"]["auc"]
    for one, other in (("prepared", "clean"), ("clean", "prepared")):
        assert auc[one]["low"] <= auc[other]["value"] <= auc[one]["high"], auc

    bundle = export_run(runs["prepared"], tmp_path / "models")
    training = json.loads((bundle / "configs/metadata.json").read_text())["training"]
    assert training["skull_stripped"] is True
    assert training["prepared"] == {"version": 1, "spacing_mm": 2.0, "n4": False}
    card = (bundle / "docs/README.md").read_text()
    assert "Skull-stripped. Prepared by mgmt-monai prepare (version 1, spacing_mm 2.0, n4 False)." in card

    study = raw / "train/90000"
    words = ["predict", str(study), "--bundle", str(bundle), "--out", str(tmp_path / "said")]
    capsys.readouterr()
    assert main(words) == 0
    assert "abstains: not skull-stripped: use --prepare" in capsys.readouterr().out
    assert main([*words, "--prepare", "--overwrite"]) == 0
    said = json.loads((tmp_path / "said/90000/prediction.json").read_text())["series"][0]
    assert said["n_slices"] == 78  # 155 mm in slices of 2 mm, as the training data
    assert 0 <= said["probability"] <= 1 or said["distance"] > said["distance_limit"]
