"""A patient's slices of several modalities, pooled as by hand; what is missing, what is trained, how it begins."""

import pytest
import torch

from mgmt_monai.networks.classifier import MGMTClassifier
from mgmt_monai.networks.errors import NetworkError
from mgmt_monai.networks.fusion import STEP, FusionClassifier, load_fusion_weights

ROW = torch.tensor([0, 0, 0, 1, 2, 2])
MODALITY = torch.tensor([0, 0, 1, 2, 0, 2])
NAMES = ("T1w", "T2w", "FLAIR")


def network(**settings) -> FusionClassifier:
    """Small and quick, its joining parts away from where they begin."""
    made = FusionClassifier("alexnet", NAMES, hidden_units=4, **settings)
    with torch.no_grad():
        for parameter in [*made.fusing.parameters(), *(made.attention.parameters() if made.attention else ())]:
            parameter.copy_(torch.randn_like(parameter) * 0.1 + parameter)
    return made.eval()


@pytest.mark.parametrize("slice_pool", ["mean", "attention"])
def test_patient_is_the_mean_over_its_modalities_of_their_pooled_slices(slice_pool):
    fusion = network(slice_pool=slice_pool)
    features = torch.randn(6, fusion.n_features)
    pooled, there = fusion.pooled(features, ROW, MODALITY)
    found = fusion.fused(pooled, there)

    def series(places: list[int], number: int) -> torch.Tensor:
        own = features[places]
        weights = torch.full((len(places),), 1 / len(places))
        if fusion.attention is not None:
            what, gate, score = fusion.attention.what, fusion.attention.gate, fusion.attention.score.weight[0]
            scores = [score @ (torch.tanh(what(one)) * torch.sigmoid(gate(one))) for one in own]
            weights = torch.softmax(torch.stack(scores), dim=0)
        return (weights @ own) * fusion.fusing["scale"][number] + fusion.fusing["shift"][number]

    expected = [
        (series([0, 1], 0) + series([2], 1)) / 2,
        series([3], 2),
        (series([4], 0) + series([5], 2)) / 2,
    ]
    torch.testing.assert_close(found, torch.stack(expected))
    assert there.tolist() == [[True, True, False], [False, False, True], [True, False, True]]


@pytest.mark.parametrize("slice_pool", ["mean", "attention"])
def test_answer_does_not_depend_on_who_else_is_in_the_batch_nor_on_the_order_of_slices(slice_pool):
    fusion, images = network(slice_pool=slice_pool), torch.rand(6, 1, 64, 64)
    with torch.no_grad():
        whole = fusion(images, ROW, MODALITY)
        alone = fusion(images[4:], torch.tensor([0, 0]), torch.tensor([0, 2]))
        order = torch.tensor([2, 1, 5, 0, 4, 3])
        shuffled = fusion(images[order], ROW[order], MODALITY[order])
        less = fusion(images[:2], torch.tensor([0, 0]), torch.tensor([0, 0]))
    torch.testing.assert_close(alone[0], whole[2])
    torch.testing.assert_close(shuffled, whole)
    assert abs(float(less[0] - whole[0])) > 1e-5  # without T2w the answer is another


@pytest.mark.parametrize("slice_pool", ["mean", "attention"])
def test_gradients_of_pooling_are_those_of_finite_differences(slice_pool):
    fusion = network(slice_pool=slice_pool).double()
    features = torch.randn(6, fusion.n_features, dtype=torch.float64, requires_grad=True)

    def answer(given):
        return fusion.fused(*fusion.pooled(given, ROW, MODALITY)).sum(dim=1)

    assert torch.autograd.gradcheck(answer, features, fast_mode=True)


@pytest.mark.parametrize("backbones", ["shared", "each"])
@pytest.mark.parametrize("stage", ["transfer", "fine_tune"])
def test_what_a_stage_trains_gets_gradients_and_nothing_else(stage, backbones):
    fusion = FusionClassifier("efficientnet-b0", NAMES, slice_pool="attention", backbones=backbones)
    torch.nn.init.normal_(fusion.attention.score.weight)
    fusion.set_stage(stage)
    fusion.train()
    fusion(torch.rand(6, 1, 32, 32), ROW, MODALITY).sum().backward()
    trained = {id(parameter) for parameter in fusion.stage_parameters(stage)}
    for name, parameter in fusion.named_parameters():
        assert (parameter.grad is not None) == (id(parameter) in trained), name
    joined = [name for name, parameter in fusion.named_parameters() if id(parameter) in trained]
    assert {"fusing.scale", "fusing.shift", "attention.what.weight", "head.dense2.weight"} <= set(joined)
    assert any(name.startswith("backbone") for name in joined) == (stage == "fine_tune")
    assert any(name.startswith("others") for name in joined) == (stage == "fine_tune" and backbones == "each")
    frozen = [m for m in fusion.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert not any(layer.training for layer in frozen)
    assert fusion.head.norm1.training == (stage == "transfer")
    assert set(fusion.frozen_tensors(stage)).isdisjoint(joined)


def test_it_begins_as_the_mean_of_the_classifiers_features():
    fusion = FusionClassifier("alexnet", NAMES, slice_pool="attention").eval()
    images = torch.rand(6, 1, 64, 64)
    single = MGMTClassifier("alexnet").eval()
    single.backbone.load_state_dict(fusion.backbone.state_dict())
    with torch.no_grad():
        found = fusion.fused(*fusion.pooled(fusion.slice_features(images, MODALITY), ROW, MODALITY))
        f = single.features(images)
    expected = torch.stack([((f[0] + f[1]) / 2 + f[2]) / 2, f[3], (f[4] + f[5]) / 2])
    torch.testing.assert_close(found, expected)


def test_linear_answer_is_that_of_the_mean_features():
    fusion = FusionClassifier("alexnet", NAMES).eval()
    images, weight = torch.rand(6, 1, 64, 64), torch.randn(fusion.n_features, dtype=torch.float64) / 100
    with torch.no_grad():
        mean = fusion.fused(*fusion.pooled(fusion.slice_features(images, MODALITY), ROW, MODALITY)).double()
        fusion.answer_linearly(weight, 0.3, mean.mean(0), mean.var(0) + 1e-3, mean)
        torch.testing.assert_close(
            fusion(images, ROW, MODALITY).double()[:, 0], mean @ weight + 0.3, rtol=1e-3, atol=1e-3
        )


def test_each_modality_has_its_own_backbone_which_begin_alike():
    fusion = FusionClassifier("efficientnet-b0", NAMES, backbones="each").eval()
    assert load_fusion_weights(fusion, "imagenet").pretrained
    images = torch.rand(6, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(fusion.slice_features(images, MODALITY), fusion.features(images))
        for parameter in fusion.others[1].parameters():
            parameter.mul_(1.1)
        changed = (fusion.slice_features(images, MODALITY) - fusion.features(images)).abs().amax(dim=1) > 1e-4
    assert changed.tolist() == (MODALITY == 2).tolist()


def test_backbones_without_weights_cannot_be_several():
    with pytest.raises(NetworkError, match="--backbones shared"):
        load_fusion_weights(FusionClassifier("alexnet", NAMES, backbones="each"), "none")


def test_features_of_many_slices_are_those_of_few_at_a_time():
    fusion, images = network(), torch.rand(STEP + 3, 1, 64, 64)
    with torch.no_grad():
        parts = torch.cat([fusion.features(part) for part in images.split(7)])
        torch.testing.assert_close(fusion.features(images), parts)


@pytest.mark.parametrize(
    "wrong", [{"modalities": ("T1w",)}, {"slice_pool": "max"}, {"backbones": "none"}], ids=lambda w: next(iter(w))
)
def test_wrong_setting_is_refused(wrong):
    with pytest.raises(NetworkError, match="two modalities or more"):
        FusionClassifier("alexnet", **wrong)
