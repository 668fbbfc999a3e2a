"""From phases to signals on the unit circle."""

import numpy as np
import numpy.typing as npt

Signals = npt.NDArray[np.complex64]


def on_circle(cycles: npt.NDArray[np.floating]) -> Signals:
    """exp(2j pi x) of phases in cycles, of the same shape; whole cycles are taken off while they are exact."""
    angle = (cycles - np.rint(cycles)).astype(np.float32)
    angle *= np.float32(2 * np.pi)
    signal = np.empty(angle.shape, dtype=np.complex64)
    np.cos(angle, out=signal.real)
    np.sin(angle, out=signal.imag)
    return signal
