"""The simulated studies and the count of intervals that hold the truth: those of ``benchmarks/``."""

import importlib.util
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"

# At the end, for a module of the benchmarks may have the name of an installed package.
sys.path.append(str(BENCHMARKS))
from simulated import (  # noqa: E402
    MODEL_CORRELATION,
    SLICE_CORRELATION,
    SLICES,
    binormal,
    clustered,
    paired,
    true_figures,
)

_SPEC = importlib.util.spec_from_file_location("interval_coverage", BENCHMARKS / "coverage.py")
coverage = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(coverage)
sys.path.remove(str(BENCHMARKS))

covered, delong_interval = coverage.covered, coverage.delong_interval
main, proportions = coverage.main, coverage.proportions

__all__ = [
    "MODEL_CORRELATION",
    "SLICES",
    "SLICE_CORRELATION",
    "binormal",
    "clustered",
    "covered",
    "delong_interval",
    "main",
    "paired",
    "proportions",
    "true_figures",
]
