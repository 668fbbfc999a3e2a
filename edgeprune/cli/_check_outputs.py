"""Files that `edgeprune check` writes for CI systems on request."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edgeprune.files.store import write_json
from edgeprune.files.whole import append_text, replacing

if TYPE_CHECKING:
    from edgeprune.gate.verdict import Verdict


def write(verdict: "Verdict", files: Mapping[str, Path | None], budget: Path, github: bool | None) -> None:
    """Write the requested files, and annotate the GitHub job.

    Args:
        verdict: The verdict.
        files: Path of each file by its format: markdown, junit, benchmark_json, gitlab_metrics, verdict_json.
        budget: The budget file, for annotations.
        github: Whether to annotate the GitHub job; None to do so in a job of GitHub Actions.

    Raises:
        ConfigError: A file cannot be written.
    """
    if in_github() if github is None else github:
        tell_github(verdict, budget)
    if not any(files.values()):
        return
    from edgeprune.gate.outputs import benchmark, gitlab, junit, markdown
    from edgeprune.gate.verdict import plain

    texts = {"markdown": markdown.text, "junit": junit.text, "gitlab_metrics": gitlab.text}
    for name, path in files.items():
        if path is not None and name in texts:
            with replacing(path) as file:
                file.write(texts[name](verdict).encode())
        elif path is not None:
            write_json(path, benchmark.plain(verdict) if name == "benchmark_json" else plain(verdict))


def tell_github(verdict: "Verdict", budget: Path) -> None:
    """Write annotations to standard error, where the runner reads them, and the job's summary."""
    from edgeprune.gate.outputs import github, markdown

    for line in github.annotations(verdict, budget.as_posix()):
        sys.stderr.write(line + "\n")
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        append_text(Path(summary), markdown.text(verdict))


def in_github() -> bool:
    """Return whether this is a job of GitHub Actions."""
    return os.environ.get("GITHUB_ACTIONS") == "true"
