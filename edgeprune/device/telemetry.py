"""Output of tegrastats during a step: power, GPU clock and temperatures, of every Jetson and JetPack. Pure.

The fields vary with the board, the release and the rights of the user, so that each is recognized by its form and not
by its place.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

_RAIL = re.compile(r"(?<!\S)([A-Z][A-Za-z0-9_]*) (\d+)(?:mW)?/\d+(?:mW)?(?:/\d+(?:mW)?)?(?!\S)")
_CLOCK = re.compile(r"\bGR3D_FREQ (?:(\d+)%)?(?:@\[?(\d[\d,]*))?")
_TEMPERATURE = re.compile(r"(?<!\S)([A-Za-z]\w*)@(-?\d+(?:\.\d+)?)C\b")
_NOT_CONNECTED = "NC"
_NOT_MEASURED = frozenset({"PMIC"})  # a constant on most boards
_SENSOR_OFF_C = -200.0
_BUSY = 0.5  # of the highest load: from there on the GPU counts as at work
_AT_WORK = 20  # percent that the highest load must reach to show when the GPU was busy
_EDGE = 0.1
_CLOCK_CHANGE = 0.02


@dataclass(frozen=True)
class MeterReading:
    """One line of readings.

    Attributes:
        rails_w: Current power of each rail, in W.
        gpu_mhz: Clock of the GPU in MHz, the highest of its clusters; None if not reported.
        gpu_load: Percentage of the time that the GPU was busy; None if not reported.
        celsius: Temperature of each active sensor, in degrees Celsius.
    """

    rails_w: Mapping[str, float]
    gpu_mhz: int | None
    gpu_load: int | None
    celsius: Mapping[str, float]


@dataclass(frozen=True)
class Summary:
    """Summary of a step while its model ran; a figure without readings is None.

    Attributes:
        readings: Number of readings.
        rails: Names of the rails whose sum is the power.
        power_w: Mean power on those rails, in W.
        gpu_mhz: Lowest and highest clock of the GPU between the first and last inference, in MHz.
        hottest_c: Highest temperature of any sensor, in degrees Celsius.
    """

    readings: int
    rails: tuple[str, ...]
    power_w: float | None
    gpu_mhz: tuple[int, int] | None
    hottest_c: float | None

    @property
    def clock_moved(self) -> bool:
        """Whether the GPU's clock changed."""
        return self.gpu_mhz is not None and self.gpu_mhz[0] < (1 - _CLOCK_CHANGE) * self.gpu_mhz[1]


def readings(text: str) -> tuple[MeterReading, ...]:
    """Parse the output of tegrastats; an incomplete last line is ignored."""
    found = (_reading(line) for line in text[: text.rfind("\n") + 1].splitlines())
    return tuple(reading for reading in found if reading.rails_w or reading.gpu_load is not None or reading.gpu_mhz)


def summarise(text: str, rails: Sequence[Sequence[str]], *, on_gpu: bool = False) -> Summary:
    """Summarize a step over the time that its model ran.

    Args:
        text: Output of tegrastats during the step.
        rails: Sets of rails that add up to the board's power; the first set that the board has is used.
        on_gpu: Whether the model runs on the GPU. If so, a step in which no reading finds the GPU busy has no figures:
            its readings were taken before the first inference or after the last.
    """
    found = readings(text)
    busy = _longest_busy(found)
    idle_counts = not on_gpu or all(reading.gpu_load is None for reading in found)
    loaded = _inside(busy) or busy or (_middle_half(found) if idle_counts else ())
    names = rails_of(loaded, rails)
    clocks = [reading.gpu_mhz for reading in _inside(busy) if reading.gpu_mhz is not None]
    heats = [heat for reading in loaded for heat in reading.celsius.values()]
    return Summary(
        readings=len(loaded),
        rails=names,
        power_w=fmean(power_w(reading, names) for reading in loaded) if names else None,
        gpu_mhz=(min(clocks), max(clocks)) if clocks else None,
        hottest_c=max(heats, default=None),
    )


def _longest_busy(found: Sequence[MeterReading]) -> tuple[MeterReading, ...]:
    """Return the longest run of readings with a busy GPU; empty if there are none or the load is not reported."""
    loads = [reading.gpu_load or 0 for reading in found]
    highest = max(loads, default=0)
    if highest < _AT_WORK:
        return ()
    best = (0, 0)
    start = 0
    for index, load in enumerate([*loads, -1]):
        if load < _BUSY * highest:
            best = max(best, (start, index), key=lambda span: span[1] - span[0])
            start = index + 1
    return tuple(found[slice(*best)])


def _inside(busy: Sequence[MeterReading]) -> tuple[MeterReading, ...]:
    """Drop the readings at both edges, which may begin before the first inference or end after the last."""
    edge = max(1, round(_EDGE * len(busy)))
    return tuple(busy[edge : len(busy) - edge])


def _middle_half(found: Sequence[MeterReading]) -> tuple[MeterReading, ...]:
    """Return the readings of the middle half, for steps without a load that shows when the model ran."""
    quarter = len(found) // 4
    return tuple(found[quarter : len(found) - quarter])


def rails_of(found: Sequence[MeterReading], rails: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Return the first set of rails that every reading has, or an empty one."""
    for names in rails:
        if found and all(set(names) <= reading.rails_w.keys() for reading in found):
            return tuple(names)
    return ()


def power_w(reading: MeterReading, rails: Sequence[str]) -> float:
    """Sum of the power on some rails."""
    return sum(reading.rails_w[rail] for rail in rails)


def disturbed(rounds: Sequence[Summary], hot_c: float) -> dict[int, str]:
    """Find disturbed rounds, with the reasons: too hot, or a clock that changed or differs from that of most rounds.

    Args:
        rounds: Rounds of all models, in any order.
        hot_c: Temperature of a sensor in degrees Celsius above which the board may slow down.
    """
    highest = [summary.gpu_mhz[1] for summary in rounds if summary.gpu_mhz]
    usual = Counter(highest).most_common(1)[0][0] if highest else 0
    reasons = {}
    for index, summary in enumerate(rounds):
        if summary.hottest_c is not None and summary.hottest_c >= hot_c:
            reasons[index] = f"it was {summary.hottest_c:.0f} °C hot"
        elif summary.clock_moved and summary.gpu_mhz:
            reasons[index] = f"the GPU's clock went from {summary.gpu_mhz[0]} to {summary.gpu_mhz[1]} MHz"
        elif summary.gpu_mhz and abs(summary.gpu_mhz[1] - usual) > _CLOCK_CHANGE * usual:
            reasons[index] = f"the GPU ran at {summary.gpu_mhz[1]} MHz, and mostly at {usual} MHz"
    return reasons


def _reading(line: str) -> MeterReading:
    clock = _CLOCK.search(line)
    load, clocks = clock.groups() if clock else (None, None)
    heats = {name: float(heat) for name, heat in _TEMPERATURE.findall(line) if name not in _NOT_MEASURED}
    return MeterReading(
        rails_w={name: int(mw) / 1000 for name, mw in _RAIL.findall(line) if name != _NOT_CONNECTED},
        gpu_mhz=max(int(mhz) for mhz in clocks.split(",") if mhz) if clocks else None,
        gpu_load=int(load) if load else None,
        celsius={name: heat for name, heat in heats.items() if heat > _SENSOR_OFF_C},
    )
