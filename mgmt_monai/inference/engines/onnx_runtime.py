"""ONNX Runtime as an engine: the network's graph, exported in memory."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import numpy as np
import torch
from torch import nn

from mgmt_monai.inference.engines.engine import GraphEngine, Run, Slices


class OnnxRuntimeEngine(GraphEngine):
    """Runs the network's ONNX graph; no file is written."""

    name, package = "onnxruntime", "onnxruntime"
    modules, extra = ("onnxruntime", "onnx"), "onnx"

    def _build(self, module: nn.Module, shape: Sequence[int], n_threads: int) -> Run:
        import onnxruntime

        session = onnxruntime.InferenceSession(
            _exported(module, shape), _options(onnxruntime), providers=["CPUExecutionProvider"]
        )

        def one(image: Slices) -> Slices:
            features: Slices = session.run(["features"], {"image": image[None]})[0]
            return features

        def run(images: Slices) -> Slices:
            # A session may be run by several threads at once, and Python lets go of its lock meanwhile.
            with ThreadPoolExecutor(n_threads) as pool:
                return np.concatenate(list(pool.map(one, images)))

        return run


def _exported(module: nn.Module, shape: Sequence[int]) -> bytes:
    stream = BytesIO()
    # The exporter by tracing takes a second where that by torch.export, which bundles are written with, takes fourteen.
    torch.onnx.export(
        module,
        (torch.zeros(*shape),),
        stream,  # type: ignore[arg-type] # this exporter takes a stream too
        input_names=["image"],
        output_names=["features"],
        dynamo=False,
    )
    return stream.getvalue()


def _options(onnxruntime: object) -> object:
    options = onnxruntime.SessionOptions()  # type: ignore[attr-defined]
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors
    return options
