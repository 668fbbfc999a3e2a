"""TensorRT-RTX: engines for GeForce RTX, built ahead of time on any machine."""

from edgeprune.runtimes.tensorrt import TensorRt

runtime = TensorRt("tensorrt-rtx")
