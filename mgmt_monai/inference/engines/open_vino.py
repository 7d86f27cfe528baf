"""OpenVINO as an engine: the network's graph, converted in memory."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache
from queue import SimpleQueue
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

from mgmt_monai.inference.engines.engine import GraphEngine, RunSlice, Slice

REPORTS_HOME = "openvino_telemetry"
"""The package through which OpenVINO tells its makers, over the network, of each import and conversion."""


class OpenVinoEngine(GraphEngine):
    """Runs the network's OpenVINO graph in float32, on CPUs of whatever kind."""

    name, package = "openvino", "openvino"
    modules, extra = ("openvino",), "openvino"

    def _build(self, module: nn.Module, shape: Sequence[int], n_threads: int) -> RunSlice:
        core = _core()
        # Not openvino.convert_model, which takes longer and reports what it does.
        from openvino.frontend import FrontEndManager
        from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

        frontend = FrontEndManager().load_by_framework("pytorch")
        traced = torch.jit.trace(module, torch.zeros(*shape), check_trace=False)
        decoder = TorchScriptPythonDecoder(traced)  # the model that is loaded needs it until it is converted
        loaded = frontend.load(decoder)
        model = frontend.convert(loaded)
        model.reshape(list(shape))
        compiled = core.compile_model(
            model,
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": "f32",  # elsewhere it would take bfloat16 where the CPU has it
                "INFERENCE_NUM_THREADS": n_threads,
                "NUM_STREAMS": n_threads,
                "ENABLE_CPU_PINNING": False,  # processes side by side would all take the first core
            },
        )
        requests: SimpleQueue[Any] = SimpleQueue()
        for _ in range(n_threads):
            requests.put(compiled.create_infer_request())

        # Not openvino.AsyncInferQueue with a callback: its threads need Python's lock to let go of that function, which
        # whoever deletes the graph meanwhile holds, waiting for them for ever.
        def one(image: Slice) -> Slice:
            request = requests.get()
            try:
                return np.array(request.infer({0: image})[0])
            finally:
                requests.put(request)

        return one


@cache
def _core() -> Any:
    """One for the whole process, which never lets go of it.

    OpenVINO's plugin for CPUs gives the thread that loads it a stack for signals, and the memory of that back when its
    core ends; but only in the right order, and in the same thread, does it tell the kernel. Otherwise the next signal,
    Ctrl-C for one, would end the process by SIGSEGV.

    Source: ``SigAltStackSetup`` of OpenVINO's CPU plugin.
    """
    return import_openvino().Core()


def import_openvino() -> ModuleType:
    """OpenVINO without its reports: without `REPORTS_HOME`, which it does not need, it uses a stub of its own.

    Where a program has imported it already, it stays as that has it.
    """
    hidden = "openvino" not in sys.modules and REPORTS_HOME not in sys.modules
    if hidden:
        sys.modules[REPORTS_HOME] = None  # type: ignore[assignment]
    try:
        import openvino
    finally:
        if hidden:
            del sys.modules[REPORTS_HOME]
    return openvino
