"""Progress that nobody watches."""

from collections.abc import Iterator
from contextlib import contextmanager

from edgeprune.protocols import Advance


class Silence:
    """The `Progress` of protocols.py for a caller that wants none."""

    def stage(self, title: str, reused: bool = False) -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""

    @contextmanager
    def track(self, label: str, total: int) -> Iterator[Advance]:
        """Say nothing."""
        del label, total
        yield lambda _steps, _text: None
