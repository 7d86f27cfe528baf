"""What computes a network's features on a CPU: PyTorch, ONNX Runtime or OpenVINO, and which of them is taken."""
