"""TensorRT in this process, by NVIDIA's Python packages."""
