"""What a bundle's own run leaves behind."""

import json
import logging
from pathlib import Path

import torch
from ignite.engine import Engine

from mgmt_monai.inference import NOTICE
from mgmt_monai.inference.saving import SavePrediction


def run(output_dir: Path, outputs: list) -> SavePrediction:
    batches = iter(outputs)
    engine = Engine(lambda engine, batch: next(batches))
    saved = SavePrediction(output_dir, "T1w")
    saved.attach(engine)
    engine.run([0] * len(outputs))
    return saved


def test_probabilities_of_all_batches_and_their_mean_are_written(tmp_path: Path) -> None:
    zero, big = torch.zeros(2, 1), torch.tensor([[1.0986123]])  # sigmoid: 1/2, and 3/4 at log 3
    run(tmp_path / "out", [{"pred": zero}, {"pred": big}])

    written = json.loads((tmp_path / "out" / "prediction.json").read_text())
    assert written["notice"] == NOTICE
    assert [round(p, 6) for p in written["slice_probabilities"]] == [0.5, 0.5, 0.75]
    assert round(written["probability"], 6) == round(1.75 / 3, 6)


def test_outputs_taken_apart_by_slice_are_joined(tmp_path: Path) -> None:
    run(tmp_path, [[{"pred": torch.zeros(1)}, {"pred": torch.zeros(1)}]])

    assert json.loads((tmp_path / "prediction.json").read_text())["slice_probabilities"] == [0.5, 0.5]


def test_second_run_begins_anew(tmp_path: Path) -> None:
    engine = Engine(lambda engine, batch: {"pred": torch.zeros(1, 1)})
    SavePrediction(tmp_path, "T1w").attach(engine)
    engine.run([0, 0])
    engine.run([0])

    assert json.loads((tmp_path / "prediction.json").read_text())["slice_probabilities"] == [0.5]


def test_log_has_the_notice(tmp_path: Path, caplog) -> None:
    with caplog.at_level(logging.INFO):
        run(tmp_path, [{"pred": torch.zeros(1, 1)}])

    assert "T1w: probability of MGMT promoter methylation 0.500" in caplog.text
    assert NOTICE in caplog.text
