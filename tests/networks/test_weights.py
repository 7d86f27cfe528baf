import hashlib
import logging
import pickle
from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest
import torch
from monai.networks.nets import EfficientNetBN
from monai.networks.nets import efficientnet as monai_efficientnet
from safetensors.torch import load_file, save_file
from torch import Tensor

from mgmt_monai.networks import weights as weights_module
from mgmt_monai.networks.backbones import BACKBONES
from mgmt_monai.networks.classifier import MGMTClassifier
from mgmt_monai.networks.errors import NetworkError
from mgmt_monai.networks.weights import load_backbone_weights

DATA = Path(str(resources.files("mgmt_monai.networks") / "data"))
PACKAGED = DATA / "efficientnet_b0_imagenet_bnfolded_fp16.safetensors"
SHA256 = "5776d36749c568e9227769bfec59774732662a5819b41bc70cab23f3c93466f4"


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return Path.write_text, (self.marker, "ran")


@pytest.fixture
def b0_tensors() -> dict[str, Tensor]:
    """Random weights of a whole MONAI B0, with its ImageNet classifier, as one file would hold them."""
    return {name: torch.rand_like(tensor.float()) for name, tensor in full_network("b0").state_dict().items()}


def full_network(size: str) -> EfficientNetBN:
    return EfficientNetBN(f"efficientnet-{size}", pretrained=False)


def published_b3(folder: Path) -> tuple[Path, dict[str, Tensor]]:
    """A made checkpoint of B3 under the published names, with its hash in the file's name."""
    tensors = {}
    for name, tensor in full_network("b3").state_dict().items():
        parts = name.split(".")
        if parts[0] == "_blocks":
            del parts[1]
        tensors[".".join(parts)] = torch.rand_like(tensor, dtype=torch.float32)
    draft = folder / "draft.pth"
    torch.save(tensors, draft)
    digits = hashlib.sha256(draft.read_bytes()).hexdigest()[:8]
    return draft.rename(folder / f"efficientnet-b3-{digits}.pth"), tensors


def assert_unchanged(classifier: MGMTClassifier, before: dict[str, Tensor]) -> None:
    assert all(torch.equal(value, before[name]) for name, value in classifier.state_dict().items())


def refusal(classifier: MGMTClassifier, path: str | Path) -> str:
    """The message with which the file is refused: one line, the network left alone."""
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    with pytest.raises(NetworkError) as caught:
        load_backbone_weights(classifier, path)
    assert_unchanged(classifier, before)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_imagenet_loads_the_packaged_file(caplog: pytest.LogCaptureFixture) -> None:
    classifier = MGMTClassifier()
    head = {name: value.clone() for name, value in classifier.head.state_dict().items()}
    with caplog.at_level(logging.INFO):
        report = load_backbone_weights(classifier, "imagenet")
    assert (report.source, report.sha256, report.not_loaded) == (PACKAGED.name, SHA256, ())
    assert report.pretrained
    stored = load_file(PACKAGED)
    loaded = classifier.backbone.state_dict()
    assert loaded.keys() == stored.keys()
    assert all(torch.equal(loaded[name], stored[name].to(loaded[name].dtype)) for name in stored)
    assert all(torch.equal(value, head[name]) for name, value in classifier.head.state_dict().items())
    [record] = caplog.records
    assert (record.levelname, "358 tensors" in record.message, SHA256 in record.message) == ("INFO", True, True)


def test_packaged_file_has_batchnorm_folded_as_its_card_says() -> None:
    stored = load_file(PACKAGED)
    prefixes = [name.removesuffix("running_mean") for name in stored if name.endswith("running_mean")]
    assert len(prefixes) == 49
    for prefix in prefixes:
        assert bool((stored[prefix + "weight"] == 1).all())
        assert bool((stored[prefix + "running_mean"] == 0).all())
        # eps of the network is 1e-3; a 16-bit float has steps of 5e-4 there
        torch.testing.assert_close(
            stored[prefix + "running_var"].float() + 1e-3,
            torch.ones_like(stored[prefix + "running_var"], dtype=torch.float32),
            atol=5e-4,
            rtol=0,
        )
    assert sum(int(stored[prefix + "bias"].any()) for prefix in prefixes) == 49
    card = PACKAGED.with_suffix(".md").read_text()
    assert SHA256 in card
    assert "Apache License" in card


def test_damaged_packaged_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(weights_module.PACKAGED, "efficientnet-b0", (PACKAGED.name, "0" * 64))
    message = refusal(MGMTClassifier(), "imagenet")
    assert f"expected SHA-256 {'0' * 64}, got {SHA256}" in message
    assert "install mgmt_monai again" in message


def test_missing_packaged_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(weights_module.PACKAGED, "efficientnet-b0", ("gone.safetensors", SHA256))
    assert "gone.safetensors are damaged" in refusal(MGMTClassifier(), "imagenet")


def test_none_leaves_the_network_alone_and_warns(caplog: pytest.LogCaptureFixture) -> None:
    classifier = MGMTClassifier()
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    report = load_backbone_weights(classifier, "none")
    assert_unchanged(classifier, before)
    assert (report.source, report.sha256, report.pretrained) == ("none", None, False)
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert "THIS IS NOT THE PAPER'S METHOD" in record.message


@pytest.mark.parametrize("suffix", ["safetensors", "pt", "pth"])
def test_path_loads_the_backbone_and_names_what_it_leaves_out(
    suffix: str, b0_tensors: dict[str, Tensor], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / f"mine.{suffix}"
    (save_file if suffix == "safetensors" else torch.save)(b0_tensors, path)
    classifier = MGMTClassifier()
    with caplog.at_level(logging.INFO):
        report = load_backbone_weights(classifier, path)
    assert report.source == f"mine.{suffix}"
    assert report.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert report.not_loaded == ("_fc.bias", "_fc.weight")
    assert "not loaded: _fc.bias, _fc.weight" in caplog.text
    for name, tensor in classifier.backbone.state_dict().items():
        assert torch.equal(tensor, b0_tensors[name].to(tensor.dtype)), name


@pytest.mark.parametrize("network", BACKBONES)
def test_checkpoint_under_the_published_names_goes_into_every_backbone(network: str, tmp_path: Path) -> None:
    classifier, spec = MGMTClassifier(network), BACKBONES[network]
    wanted = {name: torch.rand(tensor.shape) for name, tensor in classifier.backbone.state_dict().items()}
    published = {spec.published_name(name): tensor for name, tensor in wanted.items()}
    [imagenet_classifier] = spec.left_out
    path = tmp_path / "published.pth"
    torch.save({**published, f"{imagenet_classifier}weight": torch.rand(1000, spec.n_features)}, path)
    report = load_backbone_weights(classifier, path)
    assert report.not_loaded == (f"{imagenet_classifier}weight",)
    for name, tensor in classifier.backbone.state_dict().items():
        assert torch.equal(tensor, wanted[name].to(tensor.dtype)), name
    lost = next(name for name in published if name.endswith("weight"))
    torch.save({name: tensor for name, tensor in published.items() if name != lost}, path)
    assert "incomplete or changed" in refusal(classifier, path)


def test_file_without_batchnorm_counters_is_taken(b0_tensors: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "old.pth"
    torch.save({n: t for n, t in b0_tensors.items() if "num_batches_tracked" not in n}, path)
    classifier = MGMTClassifier()
    load_backbone_weights(classifier, path)
    assert torch.equal(classifier.backbone._bn1.running_var, b0_tensors["_bn1.running_var"])


def test_missing_tensor_is_named(b0_tensors: dict[str, Tensor], tmp_path: Path) -> None:
    del b0_tensors["_blocks.3.5._bn1.running_mean"]
    path = tmp_path / "partial.safetensors"
    save_file(b0_tensors, path)
    message = refusal(MGMTClassifier(), path)
    assert str(path) in message
    assert "missing: _blocks.3.5._bn1.running_mean" in message
    assert "incomplete or changed" in message


def test_unexpected_tensors_are_named_and_shortened(b0_tensors: dict[str, Tensor], tmp_path: Path) -> None:
    extra = {f"adapter.{index}": torch.zeros(1) for index in range(6)}
    path = tmp_path / "more.safetensors"
    save_file({**b0_tensors, **extra}, path)
    message = refusal(MGMTClassifier(), path)
    assert "not of this network: adapter.0, adapter.1, adapter.2, adapter.3, ... (6 in all)" in message


def test_tensor_of_another_shape_is_named(b0_tensors: dict[str, Tensor], tmp_path: Path) -> None:
    b0_tensors["_conv_stem.weight"] = torch.zeros(32, 1, 3, 3)
    path = tmp_path / "grey.safetensors"
    save_file(b0_tensors, path)
    message = refusal(MGMTClassifier(), path)
    assert "of another shape: _conv_stem.weight (32, 1, 3, 3) instead of (32, 3, 3, 3)" in message


def test_mobilenet_weights_are_refused_as_another_networks(shared_data: Path) -> None:
    path = shared_data / "weights/mobilenet_v2-b0353104.pth"
    message = refusal(MGMTClassifier(), path)
    assert message.startswith(f"the weights in {path} do not fit efficientnet-b0: they are weights of another network")
    assert len(message) < 1000


def test_b0_weights_are_refused_by_b3() -> None:
    message = refusal(MGMTClassifier("efficientnet-b3"), PACKAGED)
    assert "do not fit efficientnet-b3: they are weights of another network" in message


@pytest.mark.parametrize("zipped", [True, False], ids=["torch.save", "bare pickle"])
def test_pickle_with_code_is_refused_and_not_executed(zipped: bool, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    path = tmp_path / "evil.pt"
    if zipped:
        torch.save({"_conv_stem.weight": Payload(marker)}, path)
    else:
        path.write_bytes(pickle.dumps({"_conv_stem.weight": Payload(marker)}, protocol=2))
    message = refusal(MGMTClassifier(), path)
    assert "never unpickled" in message
    assert not marker.exists()
    # The payload is live: whoever unpickles the file runs it.
    torch.load(path, weights_only=False) if zipped else pickle.loads(path.read_bytes())
    assert marker.read_text() == "ran"


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
@pytest.mark.parametrize("damage", ["truncated", "empty", "text"])
def test_damaged_file_is_refused(damage: str, suffix: str, b0_tensors: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / f"damaged.{suffix}"
    (save_file if suffix == "safetensors" else torch.save)(b0_tensors, path)
    content = path.read_bytes()
    path.write_bytes({"truncated": content[: len(content) // 2], "empty": b"", "text": b"<html>\n" * 99}[damage])
    message = refusal(MGMTClassifier(), path)
    assert message.startswith(f"{path} is not a readable")
    assert "truncated" in message


@pytest.mark.parametrize(
    ("content", "got"),
    [({"epoch": 3, "model": {}}, "a mapping with 'epoch', 'model'"), ([1, 2], "a list")],
    ids=["nested", "list"],
)
def test_file_without_named_tensors_is_refused(content: object, got: str, tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    torch.save(content, path)
    assert f"does not hold a plain mapping of names to tensors (got {got})" in refusal(MGMTClassifier(), path)


def test_absent_file_is_refused(tmp_path: Path) -> None:
    message = refusal(MGMTClassifier(), tmp_path / "gone.safetensors")
    assert f"{tmp_path / 'gone.safetensors'} cannot be read (No such file or directory)" in message


def test_mistyped_source_is_refused() -> None:
    assert "weights 'imagnet': give 'imagenet', 'none' or the path" in refusal(MGMTClassifier(), "imagnet")


def test_imagenet_without_packaged_file_loads_the_published_one_as_monai_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published, tensors = published_b3(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    spec = replace(BACKBONES["efficientnet-b3"], url=published.as_uri())
    monkeypatch.setitem(BACKBONES, "efficientnet-b3", spec)
    classifier = MGMTClassifier("efficientnet-b3")
    report = load_backbone_weights(classifier, "imagenet")
    assert report.source == published.name
    assert report.not_loaded == ("_fc.bias", "_fc.weight")
    monkeypatch.setattr(monai_efficientnet.model_zoo, "load_url", lambda *_, **__: tensors)
    theirs = EfficientNetBN("efficientnet-b3", pretrained=True).state_dict()
    for name, tensor in classifier.backbone.state_dict().items():
        assert torch.equal(tensor, theirs[name]), name


def test_imagenet_without_published_file_means_none_and_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    classifier = MGMTClassifier("resnet-10")
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    report = load_backbone_weights(classifier, "imagenet")
    assert_unchanged(classifier, before)
    assert (report.source, report.pretrained) == ("none", False)
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert "in resnet-10: no ImageNet weights of it are published" in record.message
    assert "NOT THE PAPER'S METHOD" in record.message
    assert "set weights to a file, or backbone to another network" in record.message


def test_published_file_with_another_hash_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = tmp_path / "efficientnet-b3-5fb5a3c3.pth"
    changed.write_bytes(b"not the file")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    spec = replace(BACKBONES["efficientnet-b3"], url=changed.as_uri())
    monkeypatch.setitem(BACKBONES, "efficientnet-b3", spec)
    assert "is not the published file (invalid hash value" in refusal(MGMTClassifier("efficientnet-b3"), "imagenet")
    assert not list((tmp_path / "hub").rglob("*.p*"))


def test_cached_published_file_with_another_hash_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cached = tmp_path / "hub/checkpoints" / BACKBONES["efficientnet-b3"].url.rsplit("/", 1)[-1]
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"cut off")
    message = refusal(MGMTClassifier("efficientnet-b3"), "imagenet")
    assert f"{cached} is not the published file" in message
    assert "delete it" in message


def test_unreachable_published_file_means_none_and_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    url = (tmp_path / "nowhere" / "efficientnet-b3-5fb5a3c3.pth").as_uri()
    monkeypatch.setitem(BACKBONES, "efficientnet-b3", replace(BACKBONES["efficientnet-b3"], url=url))
    report = load_backbone_weights(MGMTClassifier("efficientnet-b3"), "imagenet")
    assert report.source == "none"
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert url in record.message
    assert "NOT THE PAPER'S METHOD" in record.message
