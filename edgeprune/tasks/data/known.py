"""Published data sets: how to recognize them, and their known faults."""

import re
from dataclasses import dataclass

from edgeprune.records.frames import FrameTable


@dataclass(frozen=True)
class KnownSet:
    """Published data set.

    Attributes:
        name: Name as published.
        form: Name of its format.
        file_name: Regular expression for the name of its file.
        frames: Number of frames.
        faults: Known faults, one sentence each.
        licence: License of its data.
    """

    name: str
    form: str
    file_name: str
    frames: tuple[int, ...]
    faults: tuple[str, ...]
    licence: str


_DEEPSIG = "CC BY-NC-SA 4.0: not to be passed on in a permissive project"
_GENERATOR = (
    "labeled SNRs are not dB: one labeled dB is about two, and classes differ by up to 15 dB at one label",
    "some frames hold only the transient of a filter",
    "carrier and sample rate hardly drift, and the multipath profile is the same throughout",
)
_NO_SIGNAL = "AM-SSB holds only noise: its modulator multiplied by zero"
_SILENCE = "WBFM and AM-DSB are alike where the speech pauses"

KNOWN = (
    KnownSet(
        "RadioML 2016.10A",
        "radioml2016",
        r"2016\.10a",
        (220_000,),
        (_NO_SIGNAL, *_GENERATOR, _SILENCE),
        _DEEPSIG,
    ),
    KnownSet("RadioML 2016.10B", "radioml2016", r"2016\.10b", (1_200_000,), (*_GENERATOR, _SILENCE), _DEEPSIG),
    KnownSet(
        "RadioML 2016.04C",
        "radioml2016",
        r"2016\.04c",
        (162_060,),
        ("frames of 128 samples were cut every 64: neighbors overlap by half, and a random split leaks", *_GENERATOR),
        _DEEPSIG,
    ),
    KnownSet(
        "RadioML 2018.01A",
        "radioml2018",
        r".*",
        (2_555_904,),
        (
            "classes.txt beside the file is in the wrong order; the names here are in the right one",
            "the two AM-SSB classes are larger than the others, which lie within -2 to 2",
            "the roll-off does not vary as was published",
        ),
        _DEEPSIG,
    ),
    KnownSet(
        "HisarMod2019.1",
        "hisarmod",
        r".*",
        (780_000, 520_000, 260_000),
        ("QPSK and 4QAM are one constellation, rotated: they cannot be told apart",),
        "not stated",
    ),
    KnownSet("HKDD_AMC12", "hkdd", r".*", (252_000, 126_000), (), "not stated"),
)


def known_set(table: FrameTable, form: str) -> KnownSet | None:
    """Recognize a published set by its format and its name or number of frames; None for any other set."""
    for known in KNOWN:
        named = re.search(known.file_name, table.source, re.IGNORECASE) is not None
        if known.form == form and (named or len(table) in known.frames):
            return known
    return None
