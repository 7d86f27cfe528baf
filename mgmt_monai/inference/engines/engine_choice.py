"""Which engine is taken, and that its figures are PyTorch's."""

import logging

import torch
from torch import Tensor

from mgmt_monai.allocator import keep_freed_memory
from mgmt_monai.inference.engines.engine import BATCH_SIZE, Engine, PyTorchEngine
from mgmt_monai.inference.engines.onnx_runtime import OnnxRuntimeEngine
from mgmt_monai.inference.errors import InferenceError
from mgmt_monai.networks import MGMTClassifier

logger = logging.getLogger(__name__)

AUTO = "auto"

ENGINES: dict[str, type[Engine]] = {engine.name: engine for engine in (OnnxRuntimeEngine, PyTorchEngine)}
"""By name, the one to be preferred first."""

TOLERANCE = 1e-4
"""The most by which a probability may differ from PyTorch's."""

FEATURE_TOLERANCE = 1e-3
"""The same for a feature, in units of the largest one: the distance from the training data is made of them. A deep
network may round differently by a tenth of it; half the digits, as bfloat16 has them, make several times as much."""

WORTHWHILE = 8
"""From so many studies on, another engine than PyTorch saves more time than it takes to make: see what
``benchmarks/profile_predict.py`` prints of both."""

#: The slices an engine is tried on.
_N_TRIED = 3


def for_studies(name: str, n_studies: int) -> str:
    """The engine to ask for when ``n_studies`` will be predicted with each model.

    Returns:
        ``pytorch`` for ``auto`` and fewer than `WORTHWHILE`, else ``name``.
    """
    return PyTorchEngine.name if name == AUTO and n_studies < WORTHWHILE else name


def check_engine(name: str) -> None:
    """Refuse a name that is neither ``auto`` nor in `ENGINES`, or of an engine that is not installed.

    Raises:
        InferenceError: It is so.
    """
    if name == AUTO:
        return
    if name not in ENGINES:
        raise InferenceError(f"engine {name!r}: expected one of {', '.join([AUTO, *ENGINES])}. Name one of these.")
    engine = ENGINES[name]
    if not engine.is_installed():
        raise InferenceError(
            f"engine {name}: expected {' and '.join(engine.modules)}, found no such package. Install it: pip install "
            f"'mgmt_monai[{engine.extra}]'"
        )


def make_engine(name: str, network: MGMTClassifier, side: int, batch_size: int = BATCH_SIZE) -> Engine:
    """An engine for a network in eval mode on the CPU, held against PyTorch on slices of ``side`` x ``side`` pixels.

    A process of ours keeps the memory it frees from here on (`keep_freed_memory`): PyTorch computes faster so. ``auto``
    is the first of `ENGINES` that is installed and gives PyTorch's figures; one that does not is told in a warning.

    Raises:
        InferenceError: The engine that was asked for by name is not installed, cannot be made, or differs.
    """
    check_engine(name)
    keep_freed_memory()
    if name != AUTO:
        engine = ENGINES[name](network, batch_size)
        fault = _fault(engine, side)
        if fault is not None:
            raise InferenceError(f"engine {name}: {fault}. Leave out --engine, or name {PyTorchEngine.name}.")
        return engine
    for kind in ENGINES.values():
        if kind.is_installed():
            engine = kind(network, batch_size)
            fault = _fault(engine, side)
            if fault is None:
                return engine
            logger.warning(f"engine {kind.name}: {fault}. Going on with another.")
    raise AssertionError("PyTorch agrees with itself")


def differences(engine: Engine, images: Tensor) -> tuple[float, float]:
    """How far an engine is from PyTorch on slices ``(K, 1, H, W)``, K at least 1.

    Returns:
        The largest difference of a probability, and of a feature divided by the largest feature; NaN where a figure
        of either is not finite.
    """
    network = engine.network
    expected, found = PyTorchEngine(network, engine.batch_size).features(images), engine.features(images)
    with torch.no_grad():
        of_probabilities = torch.sigmoid(network.head(found)) - torch.sigmoid(network.head(expected))
    largest = expected.abs().max().clamp_min(torch.finfo(expected.dtype).tiny)
    return float(of_probabilities.abs().max()), float(((found - expected) / largest).abs().max())


def _fault(engine: Engine, side: int) -> str | None:
    """Why an engine cannot be used, in words; None where it can."""
    if isinstance(engine, PyTorchEngine):
        return None
    images = torch.rand(_N_TRIED, 1, side, side, generator=torch.Generator().manual_seed(0))
    try:
        probabilities, features = differences(engine, images)
    except Exception as error:  # a converter may meet anything that it does not know
        logger.debug("an engine cannot be used", exc_info=error)
        return f"it cannot run this network ({type(error).__name__})"
    if not probabilities <= TOLERANCE:
        return f"expected PyTorch's probabilities within {TOLERANCE:g}, found them {probabilities:.1g} apart"
    if not features <= FEATURE_TOLERANCE:
        return (
            f"expected PyTorch's features within {FEATURE_TOLERANCE:g} of the largest, found them {features:.1g} apart"
        )
    return None
