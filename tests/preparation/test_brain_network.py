"""The network gives what deepbet's own TorchScript gives; the values were taken from it once, outside this project."""

import pytest
import torch

from mgmt_monai.preparation import brain_network as module
from mgmt_monai.preparation.brain_network import brain_network
from mgmt_monai.preparation.errors import PreparationError


@pytest.fixture(scope="module")
def volume() -> torch.Tensor:
    """A pattern, scaled as the networks know it."""
    number = torch.arange(64**3).reshape(1, 1, 64, 64, 64).double()
    pattern = (torch.sin(number * 0.001) + torch.cos(number * 0.07)).float()
    return 0.226 * (pattern - pattern.mean()) / pattern.std() + 0.449


@pytest.mark.parametrize(
    ("name", "mean", "deviation", "points"),
    [
        ("where", 0.170700, 0.367553, (4e-6, 0.0, 1e-6, 1e-6)),
        ("edge", 0.381049, 0.477195, (0.003242, 2.1e-5, 1.0, 1.4e-5)),
    ],
)
def test_probabilities_are_those_of_the_source(
    volume: torch.Tensor, name: str, mean: float, deviation: float, points: tuple[float, ...]
) -> None:
    with torch.inference_mode():
        found = brain_network(name)(volume)[0]
    assert found.mean().item() == pytest.approx(mean, abs=2e-4)
    assert found.std().item() == pytest.approx(deviation, abs=2e-4)
    at = ((0, 0, 0), (31, 31, 31), (10, 50, 20), (63, 1, 40))
    assert [found[place].item() for place in at] == pytest.approx(points, abs=1e-4)


def test_damaged_weights_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    damaged = tmp_path / "weights.safetensors"
    damaged.write_bytes(module.WEIGHTS.read_bytes()[:-1] + b"x")
    monkeypatch.setattr(module, "WEIGHTS", damaged)
    with pytest.raises(PreparationError, match="found a damaged file"):
        brain_network.__wrapped__("where")
