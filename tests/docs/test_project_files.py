import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import edgeprune

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
TEXT = {".cff", ".css", ".html", ".j2", ".json", ".md", ".py", ".sh", ".toml", ".txt", ".yml", ""}
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:root|work|tmp|home|opt|Users)/(?!edgeprune\.lock)\w")


def project_files() -> list[Path]:
    """Every file of the project that is text, those of folders whose names begin with a dot but .ci left out."""
    folders = ("edgeprune", "targets", "calib_data", "tests", "docs", "examples", "benchmarks", ".ci")
    files = [*ROOT.glob("*"), *(file for folder in folders for file in (ROOT / folder).rglob("*"))]
    return [file for file in files if file.is_file() and file.suffix in TEXT and "__pycache__" not in file.parts]


def test_no_file_names_a_place_on_one_machine():
    found = {
        str(file.relative_to(ROOT)): match.group()
        for file in project_files()
        if (match := MACHINE_PATH.search(file.read_text(encoding="utf-8", errors="replace")))
    }
    assert found == {}


def test_a_place_on_a_machine_would_be_found():
    assert MACHINE_PATH.search("read from /" + "work/main")
    assert not MACHINE_PATH.search("https://example.org/home/page and ../work/x")


def test_the_installed_version_is_that_of_the_package():
    assert version("edgeprune") == edgeprune.__version__, "run: make install"
    assert "version" in PROJECT["dynamic"]


def test_every_dependency_is_pinned_within_its_bounds():
    from packaging.requirements import Requirement

    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {pin.name: pin for pin in (Requirement(line) for line in lines if line and not line.startswith("#"))}
    wanted = [Requirement(text) for text in (*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"])]
    for requirement in wanted:
        (exactly,) = pinned[requirement.name].specifier
        assert exactly.operator == "=="
        assert requirement.specifier.contains(exactly.version), requirement.name


def test_ci_runs_what_people_run():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert "make --no-print-directory check VENV=" in script.read_text(encoding="utf-8")


def test_make_alone_tells_what_there_is_to_make():
    told = subprocess.run(["make", "-C", str(ROOT)], capture_output=True, text=True, check=True).stdout
    for goal in ("install", "demo", "test", "check", "docs", "clean"):
        assert re.search(rf"^  make {goal} +[A-Z].*\.$", told, flags=re.MULTILINE), goal


def test_make_check_is_made_of_all_checks():
    plan = subprocess.run(["make", "-C", str(ROOT), "-n", "check"], capture_output=True, text=True, check=True).stdout
    for step in ("ruff check .", "ruff format --check .", "mypy", "lint-imports", "-m pytest"):
        assert step in plan
