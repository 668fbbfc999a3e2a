"""Progress that nobody watches, and what torch writes beside its errors."""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr

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


@contextmanager
def unheard() -> Iterator[None]:
    """Keep from the user the pages that torch writes about code that fails: its errors say enough."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
