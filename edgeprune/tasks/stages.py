"""The stages of a run in its folder: reused, copied from another folder, or made."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from edgeprune.files.store import RunFolder, canonical_sha256
from edgeprune.files.whole import replacing
from edgeprune.protocols import Progress

Record = TypeVar("Record")


class DryRunEnd(Exception):  # noqa: N818 (not an error)
    """A dry run reached a stage that would be run."""


def hashes_of(inputs: Mapping[str, Any], common: Mapping[str, str]) -> dict[str, str]:
    """Hash each input of a stage, and add the hashes that are common to every stage."""
    return {**{name: canonical_sha256(value) for name, value in inputs.items()}, **common}


@dataclass
class StageCache:
    """The stages of a run, each recorded under the hashes of its inputs and reused while they match.

    Attributes:
        folder: The folder of the run.
        common: Hashes that are common to every stage, such as that of the model.
        progress: Reporter of every stage.
        title: Function that gives the title of a stage.
        tell_reused: Whether reused stages are reported.
        dry: Only look for records; the first missing one ends the run.
        source: Another folder whose records may be reused; their files are then copied.
        outcome: Outcome of each stage so far.
    """

    folder: RunFolder
    common: Mapping[str, str]
    progress: Progress
    title: Callable[[str], str]
    tell_reused: bool = True
    dry: bool = False
    source: RunFolder | None = None
    outcome: dict[str, Literal["reuse", "run"]] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """The folder."""
        return self.folder.path

    def begin(self, stage: str, reused: bool) -> None:
        """Report that a stage begins.

        Raises:
            DryRunEnd: The run is dry, and the stage would have to be made.
        """
        self.outcome[stage] = "reuse" if reused else "run"
        if self.dry and not reused:
            raise DryRunEnd
        if not self.dry and (self.tell_reused or not reused):
            self.progress.stage(self.title(stage), reused)

    def stage(
        self,
        stage: str,
        kind: type[Record],
        inputs: Mapping[str, Any],
        make: Callable[[], Record],
        artifacts: tuple[str, ...] = (),
    ) -> Record:
        """Return the record of a stage, reused or made. `inputs` are plain values, with hashes in place of records."""
        hashes = hashes_of(inputs, self.common)
        record = self.folder.reusable(stage, kind, hashes)
        elsewhere = None
        if record is None and self.source is not None:
            elsewhere = self.source.reusable(stage, kind, hashes)
        self.begin(stage, reused=record is not None or elsewhere is not None)
        if record is None:
            record = make() if elsewhere is None else self._copied(elsewhere, artifacts)
            self.folder.save(stage, record, hashes, artifacts)
        return record

    def found(self, stage: str, kind: type[Record], inputs: Mapping[str, Any]) -> Record | None:
        """Return the record of a stage if it is in the folder, else None."""
        return self.folder.reusable(stage, kind, hashes_of(inputs, self.common))

    def note(self, text: str) -> None:
        """Keep one line, unless the run is dry."""
        if not self.dry:
            self.progress.note(text)

    def _copied(self, record: Record, artifacts: tuple[str, ...]) -> Record:
        assert self.source is not None
        for name in artifacts:
            with (self.source.path / name).open("rb") as there, replacing(self.path / name) as here:
                shutil.copyfileobj(there, here)
        return record
