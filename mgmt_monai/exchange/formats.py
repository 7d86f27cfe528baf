"""The network in forms that run without its code: TorchScript and ONNX, held against PyTorch as they are written."""

import io
import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import torch
from torch import Tensor, nn

from mgmt_monai.exchange.configs import write_config
from mgmt_monai.exchange.errors import ExchangeError

TOLERANCE = 1e-4
"""The most that a logit may differ by between PyTorch and another form."""

BATCHES = (1, 3)
"""Sizes of the batches that each form is tried on."""


def write_torchscript(
    network: nn.Module, path: Path, metadata: Mapping[str, Any], configs: Mapping[str, Mapping[str, Any]]
) -> None:
    """As MONAI's ``ckpt_export`` writes it: scripted, with metadata and configs (by name) as extra files.

    Raises:
        ExchangeError: It does not agree with the network, which is in eval mode.
    """
    from monai.data.torchscript_utils import save_net_with_metadata
    from monai.networks.utils import convert_to_torchscript

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        scripted = convert_to_torchscript(network)
        stream = io.BytesIO()
        extra = {f"{name}.json": write_config(config).encode() for name, config in configs.items()}
        save_net_with_metadata(
            scripted, stream, include_config_vals=False, meta_values=metadata, more_extra_files=extra
        )
        path.write_bytes(_named(stream.getvalue(), path.stem))
        loaded = torch.jit.load(str(path))

    def run(images: Tensor) -> Tensor:
        with torch.no_grad():
            return loaded(images)

    _check(network, run, metadata["network_data_format"]["inputs"]["image"]["spatial_shape"], path.name)


def write_onnx(network: nn.Module, path: Path, spatial_shape: Sequence[int]) -> None:
    """Write the network, in eval mode, as ONNX: input ``image`` (slices, 1, H, W), output ``pred`` (slices, 1).

    Height and width stay fixed; the number of slices does not.

    Raises:
        ExchangeError: A library is missing, or it does not agree with the network.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401 - torch's exporter needs it
        from onnx import ModelProto
    except ImportError as error:
        raise ExchangeError(f"--onnx needs {error.name}. Install it: pip install 'mgmt_monai[onnx]'") from error

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    batch = torch.export.Dim("slices")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(
            network, (torch.rand(2, 1, *spatial_shape),), dynamic_shapes=({0: batch},), strict=True
        )
        written = torch.onnx.export(program, (), input_names=["image"], output_names=["pred"], verbose=False)
    if written is None:
        raise ExchangeError(f"{path.name}: torch.onnx wrote nothing. Export without --onnx.")
    model: ModelProto = written.model_proto
    _strip(model)
    path.write_bytes(model.SerializeToString(deterministic=True))
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> Tensor:
        return torch.from_numpy(session.run(["pred"], {"image": images.numpy()})[0])

    _check(network, run, spatial_shape, path.name)


def _check(network: nn.Module, run: Callable[[Tensor], Tensor], spatial_shape: Sequence[int], name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    for size in BATCHES:
        images = torch.rand(size, 1, *spatial_shape, generator=generator)
        with torch.no_grad():
            expected = network(images)
        difference = float((run(images) - expected).abs().max())
        if not difference <= TOLERANCE:
            raise ExchangeError(
                f"{name}: expected the network's own logits within {TOLERANCE:g}, found them {difference:g} apart. "
                "Export without this form."
            )


def _named(archive: bytes, root: str) -> bytes:
    """The TorchScript archive below a root of the file's name, where MONAI Deploy looks for the extra files.

    Its debug records are left out: they tell where each source file lies on this machine.
    """
    made = io.BytesIO()
    with ZipFile(io.BytesIO(archive)) as read, ZipFile(made, "w", ZIP_STORED) as write:
        for member in read.infolist():
            if not member.filename.endswith(".debug_pkl"):
                inside = member.filename.partition("/")[2]
                write.writestr(ZipInfo(f"{root}/{inside}"), read.read(member))
    return made.getvalue()


def _strip(message: Any) -> None:
    """Take out what the exporter notes for debugging: paths and lines of this machine's source files."""
    for name in {"doc_string", "metadata_props"} & set(message.DESCRIPTOR.fields_by_name):
        message.ClearField(name)
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in [value] if hasattr(value, "ListFields") else value:
                _strip(part)
