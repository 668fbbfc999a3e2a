import made_runs
import pytest

from edgeprune.gate import evidence


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A run folder's report. Read only."""
    return made_runs.write(tmp_path_factory.mktemp("run"))


@pytest.fixture
def made(tmp_path):
    """Make reports, each in a folder of its own, and read them as evidence."""
    count = iter(range(1000))

    def call(**changes):
        return evidence.read(made_runs.write(tmp_path / f"run-{next(count)}", **changes))

    return call
