"""ONNX Runtime as an engine: the network's graph, exported in memory."""

import logging
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mgmt_monai.inference.engines.engine import BATCH_SIZE, Engine
from mgmt_monai.networks import MGMTClassifier


class OnnxRuntimeEngine(Engine):
    """Runs the network's ONNX graph, made anew for each height and width that is asked for; no file is written.

    A graph takes one slice: its activations stay in a core's own cache, which a batch's do not, and a slice's features
    do not depend on those it is computed with. The cores, as many as PyTorch would use, compute a slice each.
    """

    name, package = "onnxruntime", "onnxruntime"
    modules, extra = ("onnxruntime", "onnx"), "onnx"

    def __init__(self, network: MGMTClassifier, batch_size: int = BATCH_SIZE) -> None:
        super().__init__(network, batch_size)
        self._sessions: dict[tuple[int, int], Any] = {}

    def _features(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        if (height, width) not in self._sessions:
            self._sessions[height, width] = self._session(height, width)
        session = self._sessions[height, width]
        slices = (image.numpy() for image in images.detach().contiguous().split(1))
        # The graph lets go of Python's lock while it computes.
        with ThreadPoolExecutor(torch.get_num_threads()) as threads:
            features = list(threads.map(lambda image: session.run(["features"], {"image": image})[0], slices))
        return torch.from_numpy(np.concatenate(features))

    def _session(self, height: int, width: int) -> Any:
        import onnxruntime

        stream = BytesIO()
        with _quiet_tracing():
            # By tracing: the exporter by torch.export, which bundles are written with, takes many times as long.
            torch.onnx.export(
                FeaturesOnly(self.network).eval(),
                (torch.zeros(1, 1, height, width),),
                stream,  # type: ignore[arg-type] # this exporter takes a stream too
                input_names=["image"],
                output_names=["features"],
                dynamo=False,
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors
        return onnxruntime.InferenceSession(stream.getvalue(), options, providers=["CPUExecutionProvider"])


class FeaturesOnly(nn.Module):
    """The network without its head, as a module of its own: what exporters take."""

    def __init__(self, network: MGMTClassifier) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Features ``(K, F)`` of slices ``(K, 1, H, W)``."""
        return self.network.features(images)


@contextmanager
def _quiet_tracing() -> Iterator[None]:
    """No gradients, and none of the notes that exporters make for those who write networks."""
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        exporter.setLevel(level)
