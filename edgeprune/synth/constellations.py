"""Constellations of linear modulations, of unit mean power."""

import re

import numpy as np
import numpy.typing as npt

from edgeprune.errors import unknown_name

Points = npt.NDArray[np.complex64]
Grid = npt.NDArray[np.complex128]

# (points, radius over the innermost, turn in units of half the spacing) of each ring: DVB-S2 and DVB-S2X
_RINGS: dict[int, tuple[tuple[int, float, float], ...]] = {
    16: ((4, 1.0, 1.0), (12, 2.85, 1.0)),
    32: ((4, 1.0, 1.0), (12, 2.84, 1.0), (16, 5.27, 0.0)),
    64: ((4, 1.0, 1.0), (12, 2.4, 1.0), (20, 4.3, 1.0), (28, 7.0, 1.0)),
    128: ((16, 1.0, 1.0), (16, 1.715, 1.0), (32, 2.118, 1.0), (32, 2.681, 1.0), (32, 3.312, 1.0)),
}


def points(name: str) -> Points:
    """List all points of a modulation, equally likely, with mean |s|^2 = 1.

    Args:
        name: OOK, BPSK, QPSK, nPSK, nASK or nPAM (both are on the real line; ASK counts levels from zero), nQAM, nAPSK.

    Raises:
        ConfigError: No such modulation.
    """
    match = re.fullmatch(
        r"(\d+)(PSK|ASK|PAM|QAM|APSK)", {"BPSK": "2PSK", "QPSK": "4PSK", "OOK": "2ASK"}.get(name, name)
    )
    makers = {"PSK": _psk, "ASK": _ask, "PAM": _pam, "QAM": _qam, "APSK": _apsk}
    orders = {"QAM": _QAM_ORDERS, "APSK": tuple(_RINGS)}
    if match is None or int(match[1]) < 2 or int(match[1]) not in orders.get(match[2], (int(match[1]),)):
        raise unknown_name("modulation", name, ("OOK", "BPSK", "QPSK", "8PSK", "4ASK", "4PAM", "16QAM", "16APSK"))
    found = makers[match[2]](int(match[1]))
    scaled: Points = (found / np.sqrt(np.mean(np.abs(found) ** 2))).astype(np.complex64)
    return scaled


def _psk(order: int) -> Grid:
    turn = np.pi / 4 if order == 4 else 0.0
    return np.asarray(np.exp(1j * (2 * np.pi * np.arange(order) / order + turn)))


def _ask(order: int) -> Grid:
    """Levels 0, 1, ... : the carrier is switched, never inverted."""
    return np.arange(order).astype(np.complex128)


def _pam(order: int) -> Grid:
    """Levels ..., -3, -1, 1, 3, ..."""
    return (2 * np.arange(order) - (order - 1)).astype(np.complex128)


_QAM_ORDERS = (4, 8, 16, 32, 64, 128, 256)


def _qam(order: int) -> Grid:
    """Square grid; for odd powers of two a square without its corners (a cross), for 8 a rectangle."""
    if order == 8:
        return (_pam(4)[:, None] + 1j * _pam(2)[None, :]).ravel()
    bits = order.bit_length() - 1
    if bits % 2 == 0:
        side = _pam(2 ** (bits // 2))
        return (side[:, None] + 1j * side[None, :]).ravel()
    side = _pam(3 * 2 ** ((bits - 3) // 2))
    grid = (side[:, None] + 1j * side[None, :]).ravel()
    edge = 2 ** ((bits - 1) // 2)  # the cross is within this on at least one axis
    cross: Grid = grid[(np.abs(grid.real) < edge) | (np.abs(grid.imag) < edge)]
    return cross


def _apsk(order: int) -> Grid:
    rings = [
        radius * np.exp(1j * (2 * np.pi * np.arange(count) + turn * np.pi) / count)
        for count, radius, turn in _RINGS[order]
    ]
    return np.concatenate(rings)
