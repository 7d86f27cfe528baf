"""One step of MONAI's own engine in each stage; what changed is compared by name."""

import pytest
import torch
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from torch import Tensor, nn

from mgmt_monai.networks.classifier import MGMTClassifier
from mgmt_monai.networks.errors import NetworkError

# Counted by hand from the papers' tables.
N_BATCHNORM = {
    "efficientnet-b0": 49,
    "efficientnet-b3": 78,
    "alexnet": 0,
    "mobilenet-v2": 52,
    "resnet-10": 12,
    "resnet-50": 53,
}
LABELS = torch.tensor([[0.0], [1.0], [0.0], [1.0]])


def state(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def changed(network: nn.Module, before: dict[str, Tensor]) -> set[str]:
    return {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}


def batchnorm_names(network: nn.Module) -> set[str]:
    """Names of all tensors of BatchNorm layers, told by the running mean that only these have."""
    prefixes = {name.removesuffix("running_mean") for name in network.state_dict() if "running_mean" in name}
    return {name for name in network.state_dict() if name.rpartition(".")[0] + "." in prefixes}


def train_one_step(network: MGMTClassifier, slices: Tensor, stage: str, optimizer=None) -> None:
    SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=1,
        train_data_loader=[{"image": slices[:4], "label": LABELS}],
        network=network,
        optimizer=optimizer or torch.optim.Adam(network.stage_parameters(stage), lr=1e-3),
        loss_function=nn.BCEWithLogitsLoss(),
    ).run()


def test_transfer_step_changes_the_head_and_nothing_else(pretrained: MGMTClassifier, made_slices: Tensor) -> None:
    pretrained.set_stage("transfer")
    before = state(pretrained)
    train_one_step(pretrained, made_slices, "transfer")
    head = {name for name in before if name.startswith("head.")}
    assert len(head) == 14
    assert changed(pretrained, before) == head


def test_fine_tune_step_changes_everything_but_batchnorm(pretrained: MGMTClassifier, made_slices: Tensor) -> None:
    pretrained.set_stage("fine_tune")
    before = state(pretrained)
    train_one_step(pretrained, made_slices, "fine_tune")
    batchnorm = batchnorm_names(pretrained)
    assert len(batchnorm) == 5 * (49 + 2)  # five tensors each; 49 layers in B0, 2 in the head
    assert changed(pretrained, before) == before.keys() - batchnorm


def test_each_stage_changes_what_it_trains_in_every_backbone(calibrated: MGMTClassifier, made_slices: Tensor) -> None:
    before = state(calibrated)
    head = {name for name in before if name.startswith("head.")}
    train_one_step(calibrated, made_slices, "transfer")
    assert changed(calibrated, before) == head
    calibrated.set_stage("fine_tune")
    before = state(calibrated)
    train_one_step(calibrated, made_slices, "fine_tune")
    batchnorm = batchnorm_names(calibrated)
    assert len(batchnorm) == 5 * (N_BATCHNORM[calibrated.network] + 2)  # five tensors each; 2 layers in the head
    assert changed(calibrated, before) == before.keys() - batchnorm


def test_both_optimizers_can_be_built_before_the_first_stage(pretrained: MGMTClassifier, made_slices: Tensor) -> None:
    transfer = torch.optim.Adam(pretrained.stage_parameters("transfer"), lr=1e-3)
    fine_tune = torch.optim.Adam(pretrained.stage_parameters("fine_tune"), lr=1e-3)
    pretrained.set_stage("transfer")
    train_one_step(pretrained, made_slices, "transfer", transfer)
    pretrained.set_stage("fine_tune")
    before = state(pretrained)
    train_one_step(pretrained, made_slices, "fine_tune", fine_tune)
    assert changed(pretrained, before) == before.keys() - batchnorm_names(pretrained)


@pytest.mark.parametrize("stage", ["transfer", "fine_tune"])
def test_stage_parameters_are_those_that_take_gradients(stage: str) -> None:
    network = MGMTClassifier()
    listed = [id(parameter) for parameter in network.stage_parameters(stage)]
    network.set_stage(stage)
    assert listed == [id(parameter) for parameter in network.parameters() if parameter.requires_grad]
    assert listed == [id(parameter) for parameter in network.stage_parameters(stage)]


def test_transfer_builds_no_graph_through_the_backbone(made_slices: Tensor) -> None:
    network = MGMTClassifier().train()
    features = network.features(made_slices[:4].clone().requires_grad_())
    assert not features.requires_grad
    assert network(made_slices[:4]).requires_grad  # through the head


def test_fine_tune_drops_connections_in_the_backbone(pretrained: MGMTClassifier, made_slices: Tensor) -> None:
    pretrained.set_stage("fine_tune")
    with torch.no_grad():
        first, second = (pretrained.train().features(made_slices[:4]) for _ in range(2))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("stage", ["transfer", "fine_tune"])
def test_eval_puts_everything_in_eval_and_train_brings_the_stage_back(stage: str) -> None:
    network = MGMTClassifier()
    network.set_stage(stage)
    in_stage = {name for name, module in network.named_modules() if module.training}
    network.eval()
    assert not any(module.training for module in network.modules())
    network.train()
    assert {name for name, module in network.named_modules() if module.training} == in_stage
    assert {"", "head", "head.dropout1", "head.dropout2"} <= in_stage
    assert ("backbone" in in_stage) == (stage == "fine_tune")
    assert ("head.norm1" in in_stage) == (stage == "transfer")


def test_stage_survives_an_evaluation_between_two_steps(pretrained: MGMTClassifier, made_slices: Tensor) -> None:
    before = state(pretrained)
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=[{"image": made_slices[:4], "label": LABELS}],
        network=pretrained,
    )
    train_one_step(pretrained, made_slices, "transfer")
    evaluator.run()
    train_one_step(pretrained, made_slices, "transfer")
    assert all(name.startswith("head.") for name in changed(pretrained, before))


def test_set_stage_drops_gradients_of_the_stage_before(made_slices: Tensor) -> None:
    network = MGMTClassifier()
    network(made_slices[:4]).sum().backward()
    assert network.head.norm1.weight.grad is not None
    network.set_stage("fine_tune")
    assert all(parameter.grad is None for parameter in network.parameters())


def test_set_stage_keeps_eval_mode() -> None:
    network = MGMTClassifier().eval()
    network.set_stage("fine_tune")
    assert not any(module.training for module in network.modules())


@pytest.mark.parametrize("method", ["set_stage", "stage_parameters"])
def test_unknown_stage_is_refused_by_name(method: str) -> None:
    network = MGMTClassifier()
    with pytest.raises(NetworkError, match="'finetune': use one of transfer, fine_tune"):
        getattr(network, method)("finetune")
    assert network.stage == "transfer"


@pytest.mark.parametrize("stage", ["transfer", "fine_tune"])
def test_eval_mode_passes_gradients_to_an_image_that_asks_for_them(
    stage: str, pretrained: MGMTClassifier, made_slices: Tensor
) -> None:
    pretrained.set_stage(stage)
    image = made_slices[:1].clone().requires_grad_()
    pretrained.eval()(image).sum().backward()
    assert image.grad is not None
    assert image.grad.abs().max() > 0
