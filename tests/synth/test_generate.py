"""Whole frames: SNR as measured against as asked for, scale, seeds, faults, and real GNU Radio signals beside them."""

import functools

import numpy as np
import pytest

from edgeprune import datasets
from edgeprune.errors import ConfigError
from edgeprune.files.shipped import shipped
from edgeprune.synth.generate import FrameBlock, frames_of, generate, pieces_of, table_of
from edgeprune.synth.recipes import RECIPES, recipe

SHAPED = {"2016": ["QPSK", "8PSK", "QAM64", "PAM4", "BPSK"], "2018": ["QPSK", "256QAM"]}
EDGE = {"2016": 0.35, "2018": 0.4}


def signals(name, label, snr, frames=400, quirks=False, seed=0):
    iq = frames_of(recipe(name, quirks), FrameBlock(label, snr, 0, frames), seed)
    return (iq[:, 0] + 1j * iq[:, 1]).astype(np.complex128)


def measured_snr_db(signal, rolloff):
    """By the noise outside the band of a shaped signal at 8 samples a symbol, frame by frame, so that scale is out."""
    window = np.blackman(signal.shape[1])
    power = np.abs(np.fft.fft(signal * window, axis=1)) ** 2 / (window**2).sum()
    outside = np.abs(np.fft.fftfreq(signal.shape[1])) > (1 + rolloff) / 16 + 0.05
    floor = power[:, outside].mean(axis=1, keepdims=True)
    return 10 * np.log10((power / floor).mean() - 1)


class TestSnr:
    @pytest.mark.parametrize(("name", "label"), [(name, label) for name, labels in SHAPED.items() for label in labels])
    @pytest.mark.parametrize("snr", [0, 10, 20])
    def test_is_the_one_asked_for_in_true_db(self, name, label, snr):
        assert measured_snr_db(signals(name, label, snr), EDGE[name]) == pytest.approx(snr, abs=0.6)

    @pytest.mark.parametrize(("label", "extra_db"), [("QPSK", 0), ("PAM4", 7.0), ("QAM16", 10.0), ("QAM64", 16.2)])
    def test_with_quirks_a_label_is_two_db_and_depends_on_the_constellation(self, label, extra_db):
        low, high = (measured_snr_db(signals("2016", label, snr, quirks=True), 0.35) for snr in (0, 4))
        assert high - low == pytest.approx(8, abs=0.6)
        fixed_channel_db = measured_snr_db(signals("2016", "QPSK", 0, quirks=True), 0.35)
        assert low - fixed_channel_db == pytest.approx(extra_db, abs=0.6)


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("quirks", [False, True])
def test_every_class_of_every_recipe_is_made_and_scaled(name, quirks):
    made_by = recipe(name, quirks)
    counts = {"2016": (11, 128), "2018": (24, 1024), "sig2019": (12, 512)}
    assert (len(made_by.modulators), made_by.length) == counts[name]
    for label in made_by.modulators:
        signal = signals(name, label, 10, frames=4, quirks=quirks)
        assert signal.shape == (4, made_by.length)
        scale = np.abs(signal).sum(axis=1) if name == "2016" else np.mean(np.abs(signal) ** 2, axis=1)
        np.testing.assert_allclose(scale, 1, rtol=1e-5)


def test_classes_are_those_of_the_published_sets():
    from edgeprune.datasets.hkdd import CLASSES as OF_HKDD
    from edgeprune.datasets.radioml2018 import CLASSES as OF_2018

    in_10a = "8PSK AM-DSB AM-SSB BPSK CPFSK GFSK PAM4 QAM16 QAM64 QPSK WBFM"
    assert " ".join(sorted(recipe("2016", quirks=False).modulators)) == in_10a
    assert set(recipe("2018", quirks=False).modulators) == set(OF_2018)
    assert set(recipe("sig2019", quirks=False).modulators) == set(OF_HKDD)


def test_the_carriers_of_sig2019_are_off_by_up_to_a_fifth():
    signal = signals("sig2019", "BPSK", 30, frames=1000)
    # BPSK squared is a line at twice the carrier; its place modulo 1
    squared = np.abs(np.fft.fft(signal**2, 4096, axis=1))
    carrier = (np.fft.fftfreq(4096)[squared.argmax(axis=1)] / 2 + 0.25) % 0.5 - 0.25
    assert np.abs(carrier).max() == pytest.approx(0.2, abs=0.01)
    assert carrier.std() == pytest.approx(0.2 / np.sqrt(3), rel=0.06)


def test_frames_do_not_depend_on_the_number_of_workers():
    made_by = recipe("2016", quirks=False)
    pieces = pieces_of(made_by, (0, 10), 1100)
    one, four = (np.concatenate(list(generate(made_by, pieces, 7, workers))) for workers in (1, 4))
    assert one.tobytes() == four.tobytes()
    table = table_of(made_by, (0, 10), 1100)
    assert len(one) == len(table) == 11 * 2 * 1100
    assert [piece.frames for piece in pieces[:2]] == [1024, 76]


def test_a_cell_depends_on_the_seed_and_on_no_other_cell():
    made_by = recipe("2016", quirks=False)
    alone = frames_of(made_by, FrameBlock("QPSK", 10, 0, 5), 7)
    assert not np.array_equal(alone, frames_of(made_by, FrameBlock("QPSK", 10, 0, 5), 8))
    assert not np.array_equal(alone, frames_of(made_by, FrameBlock("QPSK", 12, 0, 5), 7))
    assert not np.array_equal(alone, frames_of(made_by, FrameBlock("QPSK", 10, 1, 5), 7))
    everything = np.concatenate(list(generate(made_by, pieces_of(made_by, (10, 12), 5), 7, 2)))
    table = table_of(made_by, (10, 12), 5)
    here = (table.labels == table.classes.index("QPSK")) & (table.snrs == 10)
    np.testing.assert_array_equal(everything[here], alone)


def test_with_quirks_single_sideband_is_noise():
    def correlation(quirks):
        signal = signals("2016", "AM-SSB", 18, quirks=quirks)
        return np.abs(np.mean(signal[:, 1:] * signal[:, :-1].conj())) / np.mean(np.abs(signal) ** 2)

    assert correlation(quirks=True) < 0.02
    assert correlation(quirks=False) > 0.4


def test_with_quirks_some_frames_begin_in_silence():
    made_by = recipe("2016", quirks=True)
    iq = frames_of(made_by, FrameBlock("QPSK", 18, 0, 3000), 0)
    halves = (np.abs(iq[:, 0] + 1j * iq[:, 1]) ** 2).reshape(3000, 2, 64).mean(axis=2)
    silent = (halves[:, 0] < 0.01 * halves.max(axis=1)).mean()
    # one frame in 30, of which those that begin 224 to 288 samples before the filter is full
    assert 0.001 < silent < 0.03


def test_an_unknown_recipe():
    with pytest.raises(ConfigError, match="no recipe is named '2017'"):
        recipe("2017", quirks=False)


@functools.cache
def real():
    """Signals of each class in the shipped set."""
    frames = datasets.read(shipped("calib_data") / "gr2016a-high" / "frames.npz")
    complex_iq = (frames.iq[:, 0] + 1j * frames.iq[:, 1]).astype(np.complex128)
    return {name: complex_iq[frames.labels == place] for place, name in enumerate(frames.classes)}


@functools.cache
def made(label):
    """Signals at the same SNRs by the recipe."""
    return np.concatenate([signals("2016", label, snr, 160) for snr in range(10, 20, 2)])


class TestAgainstGnuRadio:
    """The shipped frames are real signals of GNU Radio 3.10: modulators, dynamic channel model, framing."""

    digital = ("8PSK", "BPSK", "CPFSK", "GFSK", "PAM4", "QAM16", "QAM64", "QPSK")

    @pytest.mark.parametrize("label", digital)
    def test_spectra_agree(self, label):
        def bands_db(signal):
            power = np.abs(np.fft.fftshift(np.fft.fft(signal * np.hanning(128), axis=1), axes=1)) ** 2
            bands = (power / power.sum(axis=1, keepdims=True)).mean(axis=0).reshape(32, 4).sum(axis=1)
            return 10 * np.log10(bands)

        of_real, of_made = bands_db(real()[label]), bands_db(made(label))
        strong = of_real > -15
        assert np.abs(of_real - of_made)[strong].max() < 1.5
        assert np.abs(of_real - of_made).max() < 4

    @pytest.mark.parametrize("label", digital)
    def test_moments_of_single_frames_agree(self, label):
        def moments(signal):
            unit = signal / np.sqrt(np.mean(np.abs(signal) ** 2, axis=1, keepdims=True))
            steps = np.angle(unit[:, 1:] * unit[:, :-1].conj())
            c20 = np.abs(np.mean(unit**2, axis=1))
            c42 = np.mean(np.abs(unit) ** 4, axis=1) - c20**2 - 2
            return [np.median(each) for each in (c20, c42, np.abs(unit).std(axis=1), steps.std(axis=1))]

        assert moments(made(label)) == pytest.approx(moments(real()[label]), rel=0.15, abs=0.05)
