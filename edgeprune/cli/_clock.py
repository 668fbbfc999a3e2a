"""Clock of a job on the terminal: the number of the stage, the time so far, and the time left."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeprune.cli._console import Console
    from edgeprune.protocols import Advance

_USUAL_S = {
    "measure the unpruned network on the validation split": 3.0,
    "export the unpruned network": 6.0,
    "find the fewest units that are accurate enough": 300.0,
    "compare the layers": 3.0,
    "score the layers": 3.0,
    "choose units within the latency budget": 60.0,
    "drop the others": 3.0,
    "measure accuracy on the test split": 4.0,
    "choose the precision": 60.0,
    "export to ONNX": 6.0,
    "measure latency": 20.0,
    "build engines": 60.0,
    "pack a measurement for the device": 10.0,
    "measure on the device": 60.0,
    "write the report": 5.0,
}
"""Seconds that stages take on two cores: their shares in the whole; the clock learns how fast this machine is."""
_TRAINING, _EPOCH_S = ("fine-tune", "fine-tune for int8"), 5.0
_OTHERWISE_S = 0.5


class StageClock:
    """A `Progress` that hands everything on to a console, and tells each stage's place in the job.

    Args:
        console: Console that prints everything.
        titles: Titles of the stages, in their order.
        epochs: Epochs of fine-tuning.
    """

    def __init__(self, console: "Console", titles: Sequence[str], epochs: int) -> None:
        self._console, self._titles = console, titles
        self._usual = {title: _USUAL_S.get(title, _OTHERWISE_S) for title in titles}
        self._usual |= {title: epochs * _EPOCH_S for title in _TRAINING if title in titles}
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

    @contextmanager
    def track(self, label: str, total: int) -> "Iterator[Advance]":
        """Show a bar on a terminal, or lines elsewhere."""
        with self._console.track(label, total) as advance:
            yield advance

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
