"""Pulse shaping: symbols in, samples out, each frame with its own timing and roll-off."""

import numpy as np
import numpy.typing as npt

Signals = npt.NDArray[np.complex64]


def on_circle(cycles: npt.NDArray[np.floating]) -> Signals:
    """Compute exp(2j pi x) of phases in cycles, of the same shape; whole cycles are removed while they are exact."""
    angle = (cycles - np.rint(cycles)).astype(np.float32)
    angle *= np.float32(2 * np.pi)
    signal = np.empty(angle.shape, dtype=np.complex64)
    np.cos(angle, out=signal.real)
    np.sin(angle, out=signal.imag)
    return signal


Real = npt.NDArray[np.float64]


def root_raised_cosine(t: Real, rolloff: Real) -> Real:
    """Impulse response of the root-raised-cosine filter (Proakis, Digital Communications), of unit energy.

    Args:
        t: Time in symbols, any shape.
        rolloff: Roll-off in 0..1, broadcast against `t`; not 0.
    """
    x = 4 * rolloff * t
    edge = np.abs(np.abs(x) - 1) < 1e-6  # both limits of the formula are written out
    centre = np.abs(t) < 1e-9
    safe = np.where(edge | centre, 0.123, t)
    y = 4 * rolloff * safe
    narrow, wide = np.pi * (1 - rolloff) * safe, np.pi * (1 + rolloff) * safe
    h = (np.sin(narrow) + y * np.cos(wide)) / (np.pi * safe * (1 - y**2))
    h = np.where(centre, 1 - rolloff + 4 * rolloff / np.pi, h)
    quarter = np.pi / (4 * rolloff)
    at_edge = (1 + 2 / np.pi) * np.sin(quarter) + (1 - 2 / np.pi) * np.cos(quarter)
    found: Real = np.where(edge, rolloff / np.sqrt(2) * at_edge, h)
    return found


def rrc_taps(timing: Real, rolloff: Real, sps: int, span: int) -> npt.NDArray[np.float32]:
    """Filter taps of each frame, (n, span + 1, sps): the contribution of symbol k to sample p of a symbol's time.

    Args:
        timing: Delay of each frame in samples, (n,), in 0..sps.
        rolloff: Roll-off of each frame, (n,).
        sps: Samples a symbol.
        span: Length of a pulse in symbols.
    """
    symbol = np.arange(span + 1)[None, :, None]
    sample = np.arange(sps)[None, None, :]
    t = (sample - timing[:, None, None]) / sps + span / 2 - symbol
    return root_raised_cosine(t, rolloff[:, None, None]).astype(np.float32)


def symbols_for(samples: int, sps: int, span: int) -> int:
    """Number of symbols needed for a number of samples."""
    return -(-samples // sps) + span


def shape(symbols: npt.NDArray[np.float32], taps: npt.NDArray[np.float32], samples: int) -> npt.NDArray[np.float32]:
    """Shape real symbols into samples, without the filter's beginning and end.

    Args:
        symbols: Symbols, (n, s).
        taps: Filter taps, (n or 1, span + 1, sps).
        samples: Number of samples to return; `symbols_for` gives the number of symbols for them.

    Returns:
        Samples, (n, samples): each is the sum over the span + 1 symbols around it.
    """
    windows = np.lib.stride_tricks.sliding_window_view(symbols, taps.shape[1], axis=1)
    shaped: npt.NDArray[np.float32] = np.matmul(windows, taps)
    return shaped.reshape(len(symbols), -1)[:, :samples]
