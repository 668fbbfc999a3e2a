"""TensorRT by its program trtexec: options and outputs."""
