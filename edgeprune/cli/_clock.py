"""Clock of a job on the terminal: the number of the stage, the time so far, and the time left."""

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeprune.cli._console import Console
    from edgeprune.protocols import Advance

_USUAL_S = {
    "00-baseline": 3.0,
    "00-export": 6.0,
    "02-similarity": 3.0,
    "02-trials": 300.0,
    "04-scores": 3.0,
    "05-latency": 60.0,
    "06-prune": 3.0,
    "08-accuracy": 4.0,
    "09-precision": 60.0,
    "09-export": 6.0,
    "10-engine": 60.0,
    "10-bench": 20.0,
    "10-bundle": 10.0,
    "11-device": 60.0,
    "12-report": 5.0,
}
"""Seconds that stages take on two cores: their shares in the whole; the clock learns how fast this machine is."""
_TRAINING, _EPOCH_S = ("07-finetune", "09-qat"), 5.0
_OTHERWISE_S = 0.5


class StageClock:
    """A `Progress` that hands everything on to a console, and tells each stage's place in the job.

    Args:
        console: Console that prints everything.
        stages: Name and title of each stage, in their order.
        epochs: Epochs of fine-tuning.
    """

    def __init__(self, console: "Console", stages: Sequence[tuple[str, str]], epochs: int) -> None:
        self._console, self._titles = console, [title for _, title in stages]
        usual = {**_USUAL_S, **dict.fromkeys(_TRAINING, epochs * _EPOCH_S)}
        self._usual = {title: usual.get(name, _OTHERWISE_S) for name, title in stages}
        self._began = self._stage_began = time.monotonic()
        self._at: str | None = None
        self._took: dict[str, float] = {}
        self._reused: set[str] = set()

    def stage(self, title: str, reused: bool = False) -> None:
        """Name the stage that begins, its number, the time so far and the time left."""
        if title == self._at and not reused:
            return  # it goes on
        self._end()
        if title in self._usual:
            self._at = title
            if reused:
                self._reused.add(title)
        self._console.stage(title, reused, "" if reused else self._place(title))

    def note(self, text: str) -> None:
        """Print a remark."""
        self._console.note(text)

    def track(self, label: str, total: int) -> "AbstractContextManager[Advance]":
        """Show a bar on a terminal, or lines elsewhere."""
        return self._console.track(label, total)

    def close(self) -> list[tuple[str, float]]:
        """Stop the clock; returns the stages that were run with the seconds that each took, in their order."""
        self._end()
        return [(title, self._took[title]) for title in self._titles if title in self._took.keys() - self._reused]

    def _end(self) -> None:
        now = time.monotonic()
        if self._at is not None:
            self._took[self._at] = self._took.get(self._at, 0.0) + now - self._stage_began
        self._at, self._stage_began = None, now

    def _place(self, title: str) -> str:
        if title not in self._usual:
            return ""
        place = f"stage {self._titles.index(title) + 1} of {len(self._titles)}"
        done = [each for each in self._took if each not in self._reused]
        if not done:
            return place
        pace = sum(self._took[each] for each in done) / sum(self._usual[each] for each in done)
        left = pace * sum(self._usual[each] for each in self._titles if each not in self._took)
        so_far = duration(time.monotonic() - self._began)
        return f"{place}; {so_far} so far, about {duration(left)} left"


def duration(seconds: float) -> str:
    """A time span in words: 4.2 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
