import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edgeprune.report import facts


@pytest.fixture
def repository(tmp_path: Path, monkeypatch) -> Path:
    """A git repository with one commit of one file."""
    for key in [key for key in os.environ if key.startswith("GIT_")]:
        monkeypatch.delenv(key)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    (tmp_path / "file").write_text("one")
    who = ["-c", "user.name=n", "-c", "user.email=n@example.org", "-c", "commit.gpgsign=false"]
    for arguments in (["init", "-q", "-b", "main"], ["add", "file"], [*who, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True)
    return tmp_path


def test_the_commit_is_that_of_the_branch(repository: Path):
    commit = (repository / ".git" / "refs" / "heads" / "main").read_text().strip()
    assert facts.git_commit(repository) == commit
    (repository / "new").write_text("not in the repository")
    assert facts.git_commit(repository) == commit
    (repository / "file").write_text("two")
    assert facts.git_commit(repository) == f"{commit}+changes"


def test_no_commit_outside_a_repository_or_without_git(repository: Path, tmp_path_factory, monkeypatch):
    outside = tmp_path_factory.mktemp("outside")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(outside.parent))
    assert facts.git_commit(outside) is None
    assert facts.git_commit(outside / "missing") is None
    monkeypatch.setenv("PATH", "")
    assert facts.git_commit(repository) is None


def test_versions_are_those_of_the_installed_packages():
    found = facts.packages()
    assert found["numpy"] == np.__version__
    assert "torch" in found
    assert found.keys() <= {"python", *facts.PACKAGES}
