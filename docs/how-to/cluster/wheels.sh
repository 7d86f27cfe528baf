#!/bin/bash
# All that an image needs, in the folder wheels: run it in a checkout, on a machine with internet, with the image's Python.
# INDEX: of PyTorch's build; with CUDA, for example https://download.pytorch.org/whl/cu130
set -eu
python=${PYTHON:-python3.11} index=${INDEX:-https://download.pytorch.org/whl/cpu}
$python -m pip wheel --no-deps --wheel-dir wheels --index-url "$index" "$(grep ^torch== constraints.txt)"
$python -m pip wheel --wheel-dir wheels --find-links wheels --constraint constraints.txt .
