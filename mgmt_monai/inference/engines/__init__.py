"""What computes a network's features on a CPU: PyTorch or ONNX Runtime, and which of them is taken."""
