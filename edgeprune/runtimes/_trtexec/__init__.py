"""TensorRT by its program trtexec: what it is told, and what it leaves."""
