"""TorchScript and ONNX give PyTorch's logits, on phantom and on real slices, at any number of slices."""

import json
import zipfile

import onnx
import onnxruntime
import pytest
import torch
from monai.data.torchscript_utils import load_net_with_metadata

from mgmt_monai.exchange import formats
from mgmt_monai.exchange.bundle_folder import open_bundle
from mgmt_monai.exchange.errors import ExchangeError
from mgmt_monai.inference.model import load_model
from mgmt_monai.inference.study import read_study

pytestmark = pytest.mark.xdist_group("training")


@pytest.fixture(scope="module")
def bundle(page_exports):
    return page_exports / "exported" / "mgmt_t1w_forms"


@pytest.fixture(scope="module")
def model(bundle):
    with open_bundle(bundle) as opened:
        return load_model(opened)


@pytest.fixture(scope="module")
def forms(bundle):
    """Each other form as a function of slices."""
    scripted = torch.jit.load(str(bundle / "models" / "model.ts"))
    session = onnxruntime.InferenceSession(bundle / "models" / "model.onnx", providers=["CPUExecutionProvider"])
    return {
        "TorchScript": scripted,
        "ONNX": lambda images: torch.from_numpy(session.run(None, {"image": images.numpy()})[0]),
    }


def check(model, forms, images):
    assert len(images) > 5
    for size in (1, 2, 5, len(images)):
        with torch.no_grad():
            expected = model.network(images[:size])
            for name, run in forms.items():
                difference = (run(images[:size]) - expected).abs().max().item()
                assert difference <= 1e-4, f"{name}, {size} slices"


def test_forms_agree_on_phantom_slices(model, forms, phantom_dir):
    patients = sorted((phantom_dir / "train").iterdir())[:2]
    series = [read_study(patient, modalities=["T1w"])[0].series for patient in patients]

    check(model, forms, torch.cat([model.slices(each) for each in series]))


def test_forms_agree_on_real_slices(model, forms, real_slices):
    """Each patient's folder as it is: whatever the modality, they are slices of a head."""
    patients = sorted((real_slices / "train").iterdir())[:6]
    series = [read_study(patient, modalities=["T1wCE"])[0].series for patient in patients]

    check(model, forms, torch.cat([model.slices(each) for each in series]))


def test_torchscript_holds_metadata_and_config(bundle):
    _, metadata, extra = load_net_with_metadata(str(bundle / "models/model.ts"), more_extra_files=["inference.json"])

    assert metadata == json.loads((bundle / "configs" / "metadata.json").read_text())
    assert json.loads(extra["inference.json"]) == json.loads((bundle / "configs" / "inference.json").read_text())


def test_torchscript_lies_where_monai_deploy_looks_for_its_configs(bundle):
    """Below the file's name, as `ckpt_export` writes it: the stock operator reads ``model/extra/inference.json``."""
    with zipfile.ZipFile(bundle / "models" / "model.ts") as archive:
        names = archive.namelist()
    assert {name.partition("/")[0] for name in names} == {"model"}
    assert {"model/extra/metadata.json", "model/extra/inference.json", "model/data.pkl"} <= set(names)


def test_forms_hold_nothing_of_this_machine(bundle):
    with zipfile.ZipFile(bundle / "models" / "model.ts") as archive:
        content = b"".join(archive.read(member) for member in archive.infolist())
        assert [name for name in archive.namelist() if "debug" in name] == []
    for data in (content, (bundle / "models" / "model.onnx").read_bytes()):
        assert str(bundle).encode() not in data
        assert b"site-packages" not in data
        assert formats.__file__.encode() not in data


def test_onnx_is_valid_and_takes_any_number_of_slices(bundle):
    written = onnx.load(bundle / "models" / "model.onnx")
    onnx.checker.check_model(written, full_check=True)

    (image,), (pred,) = written.graph.input, written.graph.output
    assert (image.name, pred.name) == ("image", "pred")
    shape = image.type.tensor_type.shape.dim
    assert shape[0].dim_param
    assert [dimension.dim_value for dimension in shape[1:]] == [1, 48, 48]


def test_form_that_differs_is_refused():
    network = torch.nn.Flatten()

    formats._check(network, lambda images: network(images) + 0.9e-4, (4, 4), "model.ts")
    for other in (2e-4, float("nan")):
        with pytest.raises(ExchangeError, match=r"model\.ts: expected the network's own logits"):
            formats._check(network, lambda images, other=other: network(images) + other, (4, 4), "model.ts")
