"""What TensorRT says while it works: its log, and how far it is."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from edgeprune.protocols import Advance, Progress

_LOG = logging.getLogger("tensorrt")


def log_of(library: Any) -> Any:
    """A logger for one of NVIDIA's packages, which passes all on to Python's and keeps the errors.

    Its `reason()` is the last error in one line, '' without one.
    """
    levels = {
        library.ILogger.Severity.INTERNAL_ERROR: logging.ERROR,
        library.ILogger.Severity.ERROR: logging.ERROR,
        library.ILogger.Severity.WARNING: logging.WARNING,
    }

    class Log(library.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.errors: list[str] = []

        def log(self, severity: Any, text: str) -> None:
            level = levels.get(severity, logging.DEBUG)
            if level == logging.ERROR:
                self.errors.append(" ".join(text.split()))
            _LOG.debug(text)

        def reason(self) -> str:
            return self.errors[-1][:300].rstrip(". ") if self.errors else ""

    return Log()


@contextmanager
def monitor_of(library: Any, progress: Progress, label: str) -> Iterator[Any]:
    """A progress monitor for one build: its outermost phase is the bar, the phase it is in the text beside it."""
    with ExitStack() as open_bars:

        class Monitor(library.IProgressMonitor):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()
                self.outermost = ""
                self.phases: list[str] = []
                self.advance: Advance | None = None

            def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
                if parent is None and self.advance is None:
                    self.outermost = phase
                    self.advance = open_bars.enter_context(progress.track(label, steps))
                self.phases.append(phase)

            def step_complete(self, phase: str, _step: int) -> bool:
                if phase == self.outermost and self.advance is not None:
                    self.advance(1, self.phases[-1] if self.phases else "")
                return True

            def phase_finish(self, phase: str) -> None:
                if phase in self.phases:
                    self.phases.remove(phase)

        yield Monitor()
