"""A bundle's network and chain, ready for a study."""

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch
from monai.bundle import ConfigParser
from monai.transforms import Compose
from monai.utils import convert_to_tensor
from torch import Tensor, nn

from mgmt_monai.cohort.patients import FUSION
from mgmt_monai.cohort.series import Series
from mgmt_monai.errors import one_line
from mgmt_monai.exchange.bundle_folder import BundleFolder, open_bundle
from mgmt_monai.exchange.errors import ExchangeError
from mgmt_monai.inference.engines.engine import BATCH_SIZE, Engine, PyTorchEngine
from mgmt_monai.inference.engines.engine_choice import AUTO, check_engine, make_engine
from mgmt_monai.inference.errors import InferenceError
from mgmt_monai.machine import check_machine, check_readable
from mgmt_monai.networks import MGMTClassifier
from mgmt_monai.networks.errors import NetworkError
from mgmt_monai.networks.feature_distance import FeatureDistance
from mgmt_monai.networks.fusion import FusionClassifier
from mgmt_monai.transforms.load import itk_warnings_off

STATE_OVERHEAD = 16 * 2**20
"""Bytes that a state's file may have beyond twice its network's tensors: names, a gap before each tensor."""

REFERENCE_LIMIT = 256 * 2**20
"""The most bytes of ``reference.safetensors``: 32 directions of 2048 features take half a MiB."""

_SCRIPTS = "scripts"


@dataclass(frozen=True)
class BundleModel:
    """A bundle's model: its network in eval mode, and the chain from a series reference to slices, ``(K, H, W)``.

    ``reference`` is None where the bundle does not know its training data; ``settings`` are the config's scalars.
    """

    bundle: BundleFolder
    network: MGMTClassifier
    chain: Compose
    reference: FeatureDistance | None
    settings: Mapping[str, Any]
    engine: Engine

    @property
    def modality(self) -> str:
        """Of the series it reads."""
        return self.bundle.modality

    @property
    def evaluation(self) -> dict[str, Any]:
        """What is known of its answers on its own test patients."""
        return self.bundle.evaluation

    @property
    def threshold(self) -> float:
        """Called methylated from this probability on."""
        return float(self.settings.get("threshold", 0.5))

    @cached_property
    def slices_key(self) -> tuple[object, ...]:
        """Equal for models that are shown the same slices of a series: of one modality, with the same chain."""
        if not self.bundle.is_ours:
            return (self.modality, self.bundle.path)
        names = re.findall(r"@(\w+)", json.dumps(self.bundle.config["preprocessing"]))
        return (self.modality, *((name, self.settings.get(name)) for name in sorted(set(names))))

    def item(self, series: Series) -> dict[str, Any]:
        """What the chain takes: ``{"image", "patient_id", "modality"}``.

        A bundle that runs its own code gets its own kind of reference.
        """
        own = None if self.bundle.is_ours else sys.modules.get(f"{_SCRIPTS}.cohort.series")
        image = series
        if own is not None:  # an older one may have fewer fields
            image = own.Series(**{one.name: getattr(series, one.name) for one in fields(own.Series)})
        return {"image": image, "patient_id": series.patient_id, "modality": series.modality}

    def slices(self, series: Series) -> Tensor:
        """The slices the network sees, ``(K, 1, H, W)`` float32 in [0, 1], as in training.

        Raises:
            InferenceError: It cannot be read, or cannot be brought into the plane that the model asks for.
            MachineError: The machine does not give a file.
        """
        try:
            with itk_warnings_off():
                volume = self.chain(self.item(series))["image"]
        except Exception as error:
            check_machine(error)
            message = one_line(error)  # MONAI wraps what a transform raises
            if message is None:
                raise
            raise InferenceError(message) from error
        return convert_to_tensor(volume, track_meta=False).float().unsqueeze(1)

    def features(self, images: Tensor) -> Tensor:
        """The backbone's features, ``(K, n_features)``, of slices ``(K, 1, H, W)``."""
        return self.engine.features(images)

    def probabilities(self, features: Tensor) -> list[float]:
        """The probability of each slice from its features ``(K, n_features)``."""
        with torch.no_grad():
            return torch.sigmoid(self.network.head(features).double()).flatten().tolist()


@contextmanager
def open_models(
    paths: Sequence[Path], trust: bool = False, engine: str = PyTorchEngine.name
) -> Iterator[list[BundleModel]]:
    """Read bundles, folders or zip files, and build their models as `load_model` does.

    Yields:
        The models, in the order of the paths; usable while the block runs.

    Raises:
        ExchangeError: As `open_bundle` and `load_model`.
        InferenceError: The same model twice; or as `load_model`.
    """
    check_engine(engine)  # before anything is read
    with ExitStack() as stack:
        bundles = [stack.enter_context(open_bundle(path)) for path in paths]
        _check_different(bundles)
        if len(bundles) > 1 and any(bundle.modality == FUSION for bundle in bundles):
            raise InferenceError(
                "--bundle: expected a fusion's bundle alone, found others beside it. Ask them by turns."
            )
        yield [model for bundle in bundles for model in load_models(bundle, trust, engine)]


def _check_different(bundles: Sequence[BundleFolder]) -> None:
    """A model that is named twice would count twice in the mean."""
    seen: dict[str, BundleFolder] = {}
    for bundle in bundles:
        other = seen.setdefault(bundle.sha256, bundle)
        if other is not bundle:
            raise InferenceError(
                f"--bundle: expected different models, found the same one twice ({other.name} and {bundle.name}). Name "
                "it once."
            )


def load_models(bundle: BundleFolder, trust: bool, engine: str) -> list[BundleModel]:
    """As `load_model`; of a fusion's bundle one model a modality, each by PyTorch."""
    model = load_model(bundle, trust, engine)
    if not isinstance(model.network, FusionClassifier):
        return [model]
    from mgmt_monai.inference.feature_fusion import FusedModel, alone

    found: list[BundleModel] = []
    for number, modality in enumerate(model.network.modalities):
        one = cast(MGMTClassifier, alone(model.network, number))
        reference = _reference(one, bundle, bundle.reference_of(modality))
        parts = (bundle, one, model.chain, reference, bundle.settings, _engine(PyTorchEngine.name, one, bundle))
        found.append(FusedModel(*parts, model.network, number))
    return found


def load_model(bundle: BundleFolder, trust: bool = False, engine: str = PyTorchEngine.name) -> BundleModel:
    """Build a bundle's network and chain; nothing is unpickled, and no code of the bundle runs unless trusted.

    Args:
        bundle: As `open_bundle` read it.
        trust: Whether a config that is not ours may be run. Its ``scripts`` are then importable from here on, as
            ``python -m monai.bundle run`` makes them; so one process can run the code of one such bundle.
        engine: As `make_engine` takes it; ``auto`` is PyTorch for a bundle that runs its own code, whose network may be
            anything.

    Raises:
        ExchangeError: A config that is neither ours nor trusted or that cannot be built, a state that does not fit the
            network, or a reference of another network.
        InferenceError: As `make_engine`.
    """
    config = bundle.executed_config(trust)
    if not bundle.is_ours:
        _import_from(bundle)
    parser = ConfigParser(config)
    try:
        network, chain = (parser.get_parsed_content(name) for name in ("network_def", "preprocessing"))
    except Exception as error:
        message = one_line(error)
        if message is None and bundle.is_ours:
            raise  # no fault of the bundle
        reason = message or f"{type(error).__name__}: {error}"
        raise ExchangeError(
            f"{bundle.name}: configs/inference.json cannot be run: {' '.join(reason.split())}"
        ) from error
    if not all(isinstance(getattr(network, part, None), nn.Module) for part in ("backbone", "head")):
        raise ExchangeError(
            f"{bundle.name}: expected a network_def with a backbone and a head, found {type(network).__name__}. Run "
            "this bundle with 'python -m monai.bundle run'."
        )
    _load_state(network, bundle)
    network.eval()
    reference = _reference(network, bundle, bundle.reference)
    engine = PyTorchEngine.name if bundle.modality == FUSION and engine == AUTO else engine
    return BundleModel(bundle, network, chain, reference, bundle.settings, _engine(engine, network, bundle))


def _load_state(network: nn.Module, bundle: BundleFolder) -> None:
    own = network.state_dict().values()
    limit = 2 * sum(tensor.numel() * tensor.element_size() for tensor in own) + STATE_OVERHEAD
    size = bundle.model.stat().st_size
    if size > limit:
        raise ExchangeError(
            f"{bundle.name}: models/model.pt: expected the network's state in at most {limit} bytes, found {size}. "
            "Export the bundle again."
        )
    try:
        network.load_state_dict(torch.load(bundle.model, map_location="cpu", weights_only=True))
    except Exception as error:  # a damaged or foreign file can raise nearly anything
        check_readable(bundle.model)
        raise ExchangeError(
            f"{bundle.name}: models/model.pt is not the state of the network in its config ({type(error).__name__}). "
            "Export the bundle again."
        ) from error
    broken = [name for name, tensor in network.state_dict().items() if not torch.isfinite(tensor).all()]
    if broken:
        raise ExchangeError(
            f"{bundle.name}: models/model.pt: expected finite weights, found others in {broken[0]}. Train again, with "
            "a smaller learning rate."
        )


def _reference(network: MGMTClassifier, bundle: BundleFolder, path: Path) -> FeatureDistance | None:
    if not path.is_file():
        return None
    size = path.stat().st_size
    if size > REFERENCE_LIMIT:
        raise ExchangeError(
            f"{bundle.name}: models/{path.name}: expected at most {REFERENCE_LIMIT} bytes, found {size}. "
            "Export the bundle again."
        )
    try:
        reference = FeatureDistance.load(path)
    except NetworkError as error:
        raise ExchangeError(f"{bundle.name}: models/{path.name}: {error}") from error
    norm = next((one for one in network.head.modules() if isinstance(one, nn.BatchNorm1d)), None)
    if norm is not None and norm.num_features != reference.n_features:
        raise ExchangeError(
            f"{bundle.name}: models/{path.name}: expected {norm.num_features} features as the network has, "
            f"found {reference.n_features}. Export the bundle again."
        )
    return reference


def _engine(name: str, network: MGMTClassifier, bundle: BundleFolder) -> Engine:
    def setting(key: str, default: int) -> int:  # a trusted bundle may not have it
        value = bundle.settings.get(key)
        return value if isinstance(value, int) and value > 0 else default

    name = PyTorchEngine.name if name == AUTO and not bundle.is_ours else name
    return make_engine(name, network, setting("image_size", 224), setting("evaluation_batch_size", BATCH_SIZE))


def _import_from(bundle: BundleFolder) -> None:
    """Make a trusted bundle's own code importable."""
    root = str(bundle.path.resolve())
    loaded = sys.modules.get(_SCRIPTS)
    if loaded is not None and root not in {str(Path(place).resolve().parent) for place in loaded.__path__}:
        raise ExchangeError(
            f"{bundle.name}: expected one bundle that runs its own code, found that another's is running. Predict with "
            "each of them by itself."
        )
    if root not in sys.path:
        sys.path.insert(0, root)
