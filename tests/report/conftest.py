import json
from pathlib import Path

import fake_run
import pytest

from edgeprune.report import folder

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def schema() -> dict:
    """The published JSON Schema."""
    return json.loads((ROOT / "docs" / "report.schema.json").read_text())


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> Path:
    """The folder of a whole run with its report. Read only."""
    path = tmp_path_factory.mktemp("run")
    fake_run.write_samples(path)
    folder.write(path, fake_run.document())
    return path
