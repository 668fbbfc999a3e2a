"""Points against what the literature says of them, and their cumulants against Swami and Sadler (2000), table I."""

import numpy as np
import pytest

from edgeprune.errors import ConfigError
from edgeprune.synth.constellations import points

ORDERS = {
    "OOK": 2,
    "4ASK": 4,
    "8ASK": 8,
    "BPSK": 2,
    "QPSK": 4,
    "8PSK": 8,
    "16PSK": 16,
    "32PSK": 32,
    "4PAM": 4,
    "8PAM": 8,
    "16APSK": 16,
    "32APSK": 32,
    "64APSK": 64,
    "128APSK": 128,
    "4QAM": 4,
    "8QAM": 8,
    "16QAM": 16,
    "32QAM": 32,
    "64QAM": 64,
    "128QAM": 128,
    "256QAM": 256,
}


def cumulants(s):
    """|C20|, |C40| and C42 of zero-mean points of unit power."""
    c20, c40 = np.mean(s**2), np.mean(s**4) - 3 * np.mean(s**2) ** 2
    c42 = np.mean(np.abs(s) ** 4) - np.abs(c20) ** 2 - 2 * np.mean(np.abs(s) ** 2) ** 2
    return abs(c20), abs(c40), c42.real


@pytest.mark.parametrize("name", ORDERS)
def test_points_are_as_many_as_named_apart_and_of_unit_power(name):
    s = points(name).astype(complex)
    distances = np.abs(s[:, None] - s[None, :]) + 9 * np.eye(len(s))
    assert len(s) == ORDERS[name]
    assert np.mean(np.abs(s) ** 2) == pytest.approx(1, abs=1e-6)
    assert distances.min() > 0.05


@pytest.mark.parametrize("name", sorted(set(ORDERS) - {"OOK", "4ASK", "8ASK"}))
def test_points_are_balanced_about_zero_unless_the_carrier_is_switched(name):
    assert abs(points(name).mean()) < 1e-6


@pytest.mark.parametrize(
    ("name", "c20", "c40", "c42"),
    [
        ("BPSK", 1, 2, -2),
        ("4PAM", 1, 1.36, -1.36),
        ("8PAM", 1, 1.2381, -1.2381),
        ("QPSK", 0, 1, -1),
        ("8PSK", 0, 0, -1),
        ("16PSK", 0, 0, -1),
        ("16QAM", 0, 0.68, -0.68),
        ("64QAM", 0, 0.6191, -0.6191),
        ("256QAM", 0, 0.6047, -0.6047),
    ],
)
def test_cumulants_are_those_of_swami_and_sadler(name, c20, c40, c42):
    assert cumulants(points(name).astype(complex)) == pytest.approx((c20, c40, c42), abs=1e-4)


def test_points_by_hand():
    assert points("BPSK").tolist() == pytest.approx([1, -1])
    assert points("OOK").tolist() == pytest.approx([0, np.sqrt(2)])
    assert sorted(points("4PAM").real * np.sqrt(5)) == pytest.approx([-3, -1, 1, 3])
    levels = set(np.round(points("16QAM").real * np.sqrt(10), 4).tolist())
    assert levels == {-3, -1, 1, 3}
    assert np.degrees(np.angle(points("QPSK"))) % 90 == pytest.approx([45] * 4)


@pytest.mark.parametrize(("name", "missing"), [("32QAM", 4), ("128QAM", 16)])
def test_crosses_are_squares_without_corners(name, missing):
    s = points(name)
    side = len(set(np.round(s.real, 4)))
    assert side**2 - missing == len(s)
    corner = np.abs(s.real).max() + 1j * np.abs(s.imag).max()
    assert np.abs(s - corner).min() > 0.1


@pytest.mark.parametrize(("name", "rings"), [("16APSK", [4, 12]), ("32APSK", [4, 12, 16]), ("64APSK", [4, 12, 20, 28])])
def test_rings_of_dvb_s2(name, rings):
    _, counts = np.unique(np.round(np.abs(points(name)), 4), return_counts=True)
    assert counts.tolist() == rings


@pytest.mark.parametrize("name", ["9QAM", "8APSK", "QAM", "FM", "1PSK"])
def test_another_name_is_refused(name):
    with pytest.raises(ConfigError, match=f"no modulation is named '{name}'"):
        points(name)
