"""Weights for the backbone: a file, the packaged ImageNet weights, the published ones, or none; never pickled code."""

import hashlib
import io
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from importlib import resources
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from mgmt_monai.machine import check_machine
from mgmt_monai.networks.backbones import Backbone, get_backbone
from mgmt_monai.networks.classifier import MGMTClassifier
from mgmt_monai.networks.errors import NetworkError

logger = logging.getLogger(__name__)

PACKAGED: dict[str, tuple[str, str]] = {
    "efficientnet-b0": (
        "efficientnet_b0_imagenet_bnfolded_fp16.safetensors",
        "5776d36749c568e9227769bfec59774732662a5819b41bc70cab23f3c93466f4",
    )
}
"""Backbone -> file in ``mgmt_monai/networks/data`` and its SHA-256; the card beside it says what it is."""

_N_NAMES_SHOWN = 4


@dataclass(frozen=True)
class WeightsReport:
    """What was loaded into the backbone: the file's name and SHA-256 (``none`` and None without weights).

    ``not_loaded`` are tensors in the file that the backbone has no use for (its ImageNet classifier).
    """

    source: str
    sha256: str | None
    not_loaded: tuple[str, ...] = ()

    @property
    def pretrained(self) -> bool:
        """Whether any weights were loaded; without them BatchNorm is to be calibrated first."""
        return self.sha256 is not None


def load_backbone_weights(classifier: MGMTClassifier, weights: str | Path) -> WeightsReport:
    """Load weights into the classifier's backbone, all of them or none.

    Args:
        classifier: The network; its head is left alone.
        weights: ``imagenet``: the packaged file where the backbone has one, else the published checkpoint
            (downloaded once into torch's hub folder, checked against the SHA-256 digits in its name), else,
            when that cannot be had or there is none, none. ``none``: the backbone stays as it is. Anything
            else is the path of a ``.safetensors``, ``.pt`` or ``.pth`` file of named tensors, under the
            backbone's own names or those of the published checkpoint.

    Returns:
        Where they came from and what of the file was not loaded. Running without weights is logged as a
        warning, anything else as one line.

    Raises:
        NetworkError: The file cannot be read, is damaged, holds more than tensors, or does not fit the
            backbone name by name and shape by shape. The network is then as it was.
    """
    backbone = get_backbone(classifier.network)
    if str(weights) == "none":
        remedy = "set weights to 'imagenet' or to a file"
        return _without_weights(classifier, "the setting weights is 'none'", remedy)
    if str(weights) != "imagenet":
        path = Path(weights)
        return _load(classifier, backbone, path.name, str(path), _read(path))
    if classifier.network in PACKAGED:
        file_name, sha256 = PACKAGED[classifier.network]
        return _load(classifier, backbone, file_name, file_name, _read_packaged(file_name, sha256))
    if backbone.url is None:
        remedy = "set weights to a file, or backbone to another network"
        return _without_weights(classifier, "no ImageNet weights of it are published", remedy)
    try:
        path = _published_checkpoint(backbone.url)
    except (OSError, HTTPException) as error:
        reason = f"no file of them is packaged and {backbone.url} cannot be had ({_one_line(error)})"
        return _without_weights(classifier, reason, "try again with a connection, or set weights to a file")
    return _load(classifier, backbone, path.name, str(path), _read(path))


def _without_weights(classifier: MGMTClassifier, reason: str, remedy: str) -> WeightsReport:
    logger.warning(
        f"NO PRETRAINED WEIGHTS in {classifier.network}: {reason}. THIS IS NOT THE PAPER'S METHOD (transfer learning "
        f"from ImageNet); do not compare the results with it. To use weights, {remedy}."
    )
    return WeightsReport(source="none", sha256=None)


def _load(classifier: MGMTClassifier, backbone: Backbone, name: str, where: str, content: bytes) -> WeightsReport:
    """Check ``content`` wholly, then load it."""
    tensors = _parse(content, where)
    expected = classifier.backbone.state_dict()
    published = {backbone.published_name(ours): ours for ours in expected}
    renamed = {published.get(theirs, theirs): tensor for theirs, tensor in tensors.items()}
    not_loaded = tuple(sorted(each for each in renamed if each not in expected and each.startswith(backbone.left_out)))
    found = {each: tensor for each, tensor in renamed.items() if each not in not_loaded}
    _check_fit(classifier.network, expected, found, where)
    # Counters of BatchNorm may be absent, hence not strict here: everything else was checked above.
    classifier.backbone.load_state_dict(found, strict=False)
    report = WeightsReport(name, hashlib.sha256(content).hexdigest(), not_loaded)
    logger.info(
        f"{classifier.network}: {len(found)} tensors loaded from {where} (SHA-256 {report.sha256}); in the file but "
        f"not loaded: {', '.join(not_loaded) or 'nothing'}"
    )
    return report


def _check_fit(network: str, expected: Mapping[str, Tensor], found: Mapping[str, Tensor], where: str) -> None:
    """Every tensor of the backbone, none besides, each in its shape."""
    # Files older than torch 0.4.1 have no such counter; nothing is computed from it.
    needed = [name for name in expected if not name.endswith("num_batches_tracked")]
    missing = [name for name in needed if name not in found]
    unexpected = sorted(name for name in found if name not in expected)
    misshaped = [
        f"{name} {tuple(found[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in found and found[name].shape != tensor.shape
    ]
    faults = {"missing": missing, "not of this network": unexpected, "of another shape": misshaped}
    if not any(faults.values()):
        return
    n_fitting = len(needed) - len(missing) - len(misshaped)
    listed = "; ".join(f"{kind}: {_shortened(names)}" for kind, names in faults.items() if names)
    # Files of another network share few names or, from the same family, few shapes.
    guess = "they are weights of another network" if n_fitting < len(needed) / 2 else "they are incomplete or changed"
    raise NetworkError(
        f"the weights in {where} do not fit {network}: {guess} ({n_fitting} of its {len(needed)} tensors found; "
        f"{listed}); name a file of {network}, or set network to the one that the file is of"
    )


def _parse(content: bytes, where: str) -> dict[str, Tensor]:
    """The named tensors in a file's content, without executing any of it."""
    if where.endswith(".safetensors"):
        try:
            return safetensors.torch.load(content)
        except Exception as error:  # a damaged file can raise nearly anything
            raise NetworkError(
                f"{where} is not a readable safetensors file ({_one_line(error)}): "
                "it is truncated or of another format; fetch it again"
            ) from error
    try:
        tensors = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # as above
        raise NetworkError(
            f"{where} is not a readable file of tensors: it is truncated, of another format, or holds objects "
            "other than tensors, which are never unpickled because that would run their code; "
            "fetch it again, or save its state_dict() alone"
        ) from error
    if not isinstance(tensors, dict) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in tensors.items()
    ):
        found = f"a mapping with {_shortened(list(map(repr, tensors)))}" if isinstance(tensors, dict) else None
        found = found or f"a {type(tensors).__name__}"
        raise NetworkError(
            f"{where} does not hold a plain mapping of names to tensors "
            f"(got {found}); save the backbone's state_dict() alone"
        )
    return tensors


def _read(path: Path) -> bytes:
    """A file's content, read once, so that what is hashed is what is loaded."""
    if path.suffix not in (".safetensors", ".pt", ".pth"):
        raise NetworkError(
            f"weights {str(path)!r}: give 'imagenet', 'none' or the path of a .safetensors, .pt or .pth file"
        )
    try:
        return path.read_bytes()
    except OSError as error:
        check_machine(error, path)
        raise NetworkError(
            f"the weights {path} cannot be read ({error.strerror}): give the path of a file, 'imagenet' or 'none'"
        ) from error


def _read_packaged(file_name: str, sha256: str) -> bytes:
    """The content of a file of this package, checked."""
    try:
        content = (resources.files("mgmt_monai.networks") / "data" / file_name).read_bytes()
        found = hashlib.sha256(content).hexdigest()
    except OSError as error:
        check_machine(error)
        found = f"no readable file: {error.strerror}"
        content = b""
    if found != sha256:
        raise NetworkError(
            f"the packaged weights {file_name} are damaged (expected SHA-256 {sha256}, got {found}); "
            "install mgmt_monai again"
        )
    return content


def _published_checkpoint(url: str) -> Path:
    """The published file in torch's hub folder, downloaded when it is not there yet.

    Raises:
        NetworkError: It is not the published file, by the digits of its SHA-256 in its name.
        OSError, HTTPException: It cannot be downloaded.
    """
    name = url.rsplit("/", 1)[-1]
    digits = Path(name).stem.rsplit("-", 1)[-1]
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    if not path.exists():
        logger.info("downloading %s to %s", url, path)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(path), hash_prefix=digits)
        except RuntimeError as error:  # torch's only one here: the hash differs; it keeps no file
            raise NetworkError(
                f"{url} is not the published file ({_one_line(error)}): the download was cut off or changed on "
                "its way; try again, or give the path of the file as weights"
            ) from error
    elif not hashlib.sha256(path.read_bytes()).hexdigest().startswith(digits):
        raise NetworkError(
            f"{path} is not the published file (expected a SHA-256 that begins with {digits}): delete it and try again"
        )
    return path


def _shortened(names: list[str]) -> str:
    shown = ", ".join(names[:_N_NAMES_SHOWN])
    return f"{shown}, ... ({len(names)} in all)" if len(names) > _N_NAMES_SHOWN else shown


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
