"""ONNX Runtime as an engine: the network's graph, exported in memory."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import torch
from torch import nn

from mgmt_monai.inference.engines.engine import GraphEngine, RunSlice, Slice


class OnnxRuntimeEngine(GraphEngine):
    """Runs the network's ONNX graph; no file is written."""

    name, package = "onnxruntime", "onnxruntime"
    modules, extra = ("onnxruntime", "onnx"), "onnx"

    def _build(self, module: nn.Module, shape: Sequence[int], n_threads: int) -> RunSlice:
        import onnxruntime

        session = onnxruntime.InferenceSession(
            _exported(module, shape), _options(onnxruntime), providers=["CPUExecutionProvider"]
        )

        def one(image: Slice) -> Slice:
            features: Slice = session.run(["features"], {"image": image})[0]
            return features

        return one


def _exported(module: nn.Module, shape: Sequence[int]) -> bytes:
    stream = BytesIO()
    # By tracing: the exporter by torch.export, which bundles are written with, takes many times as long.
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
