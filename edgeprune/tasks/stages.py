"""The stages of a run in its folder: reused, taken over from another folder, or made."""

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
    """What a stage is kept under: the hash of each input, and the hashes that count for every stage."""
    return {**{name: canonical_sha256(value) for name, value in inputs.items()}, **common}


@dataclass
class StageCache:
    """The stages of a run: each leaves its record under the hashes of its inputs, and is reused while they match.

    Attributes:
        folder: The folder of the run.
        common: Hashes that count for every stage, as that of the model.
        progress: Told of every stage.
        title: What a stage does, in words.
        tell_reused: Whether stages are told of that are reused.
        dry: Only find out what is there; the first stage that is not ends it.
        source: A folder in which a stage may be found too; its files are then copied.
        outcome: What became of each stage so far.
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
        """Note that a stage begins.

        Raises:
            DryRunEnd: It would have to be made.
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
        """The record of a stage, reused or made. `inputs` are plain values; records count by their hash."""
        hashes = hashes_of(inputs, self.common)
        record = self.folder.reusable(stage, kind, hashes)
        elsewhere = None
        if record is None and self.source is not None:
            elsewhere = self.source.reusable(stage, kind, hashes)
        self.begin(stage, reused=record is not None or elsewhere is not None)
        if record is None:
            record = make() if elsewhere is None else self._taken_over(elsewhere, artifacts)
            self.folder.save(stage, record, hashes, artifacts)
        return record

    def found(self, stage: str, kind: type[Record], inputs: Mapping[str, Any]) -> Record | None:
        """The record of a stage that something else made, if it is there."""
        return self.folder.reusable(stage, kind, hashes_of(inputs, self.common))

    def note(self, text: str) -> None:
        """One line worth keeping, unless nothing is done."""
        if not self.dry:
            self.progress.note(text)

    def _taken_over(self, record: Record, artifacts: tuple[str, ...]) -> Record:
        assert self.source is not None
        for name in artifacts:
            with (self.source.path / name).open("rb") as there, replacing(self.path / name) as here:
                shutil.copyfileobj(there, here)
        return record
