"""What import-linter and ruff cannot see: what loads without torch, and how long files and functions are."""

import ast
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    file
    for folder in ("edgeprune", "tests", "docs", "benchmarks", "calib_data")
    for file in (ROOT / folder).rglob("*.py")
)
MOST_LINES = 400
MOST_FUNCTION_LINES = 60

ENGINES = ("accelerate", "networkx", "onnx", "onnxruntime", "onnxscript", "torch")
HEAVY = (*ENGINES, "jinja2", "matplotlib", "scipy")
MAIN = "from edgeprune.cli import main; main()"


def hidden(modules: tuple[str, ...]) -> str:
    """Code that makes importing any of the modules an error."""
    return f"import sys; sys.modules.update(dict.fromkeys({modules!r}))\n"


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_the_program_says_what_it_is_with_click_alone(option):
    done = python(hidden((*HEAVY, "numpy", "pydantic", "rich")) + MAIN, option)
    assert (done.returncode, done.stderr) == (0, "")
    assert "edgeprune" in done.stdout


@pytest.mark.parametrize("action", [["list"], ["show", "host-cpu"], ["validate"]], ids=" ".join)
def test_targets_are_looked_at_without_torch_and_onnx(action):
    done = python(hidden(HEAVY) + MAIN, "targets", *action)
    assert (done.returncode, done.stderr) == (0, "")
    assert "host-cpu" in done.stdout


def test_every_help_is_shown_without_torch_and_onnx():
    names = [file.stem.rstrip("_").replace("_", "-") for file in (ROOT / "edgeprune" / "cli").glob("[a-z]*.py")]
    shown = "from edgeprune.cli import app\nfor name in sys.argv[1:]: app([name, '--help'], 'edgeprune', None, False)"
    done = python(hidden(HEAVY) + shown, *names)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[2] for line in done.stdout.splitlines() if line.startswith("Usage: ")] == names


def test_the_report_is_loaded_without_torch_and_onnx():
    done = python(hidden(ENGINES) + "import edgeprune.report.folder, edgeprune.report.document")
    assert (done.returncode, done.stderr) == (0, "")


def test_hiding_torch_hides_it():
    said = python(hidden(ENGINES) + "import edgeprune.network.checkpoint").stderr
    assert "ModuleNotFoundError: import of torch halted" in said


def test_the_layers_in_the_documentation_are_those_that_are_checked():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["id"] == "layers"]
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert "```text\n" + "\n".join(layers) + "\n```" in page


def test_the_root_holds_what_every_room_needs_and_nothing_else():
    at_the_root = {path.stem for path in (ROOT / "edgeprune").glob("*.py")}
    assert at_the_root - {"api"} == {"__init__", "__main__", "errors", "protocols", "registry", "targets"}


def test_every_folder_and_module_is_in_the_documentation():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    parts = [path for path in (ROOT / "edgeprune").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()]
    names = [path.stem + (".py" if path.suffix else "/") for path in parts if path.stem != "__init__"]
    assert names
    assert [name for name in names if name not in page] == []


@pytest.mark.parametrize("file", SOURCES, ids=[file.relative_to(ROOT).as_posix() for file in SOURCES])
def test_files_and_functions_are_short(file):
    text = file.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MOST_LINES
    long = {
        node.name: lines
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := _lines_without_docstring(node)) > MOST_FUNCTION_LINES
    }
    assert long == {}


def _lines_without_docstring(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = function.body[0]
    docstring = first if ast.get_docstring(function) is not None else None
    return function.end_lineno - function.lineno + 1 - (docstring.end_lineno - docstring.lineno + 1 if docstring else 0)


def test_networks_are_moved_in_one_place():
    by_hand = re.compile(r"deepcopy\(.*\)\.(cpu|cuda|to)\(|(model|network|teacher)\.(cpu|cuda|to)\(")
    package = ROOT / "edgeprune"
    found = {
        file.relative_to(package).as_posix(): found
        for file in package.rglob("*.py")
        if not file.is_relative_to(package / "runtimes") and (found := by_hand.findall(file.read_text("utf-8")))
    }
    assert found.keys() == {"network/compute.py"}


def test_no_file_is_named_for_nothing():
    vague = re.compile(r"(utils?|helpers?|managers?|common|misc|base)\.py$")
    assert [file.name for file in SOURCES if vague.search(file.name)] == []


@pytest.mark.parametrize("file", SOURCES, ids=[file.relative_to(ROOT).as_posix() for file in SOURCES])
def test_docstrings_and_fields_begin_with_a_verb_or_a_noun(file):
    neither = "Of|What|How|Which|Where|Told" if file.is_relative_to(ROOT / "edgeprune") else "Of"
    begins_with_neither = re.compile(rf"(?:\A|^ *(?:[\w*, ]+(?: \([^)]*\))?: ))(?:{neither})\b", re.MULTILINE)
    source = file.read_text(encoding="utf-8")
    docstrings = (
        node.value.value.strip()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    )
    assert [found[0] for text in docstrings for found in begins_with_neither.finditer(text)] == []
    assert re.findall(r'(?:description|help)="(?:Of|What|How|Which|Where)\b[^"]*', source) == []


def test_no_page_and_no_module_speaks_a_private_dialect():
    dialect = re.compile(
        "asking the unpruned|small and right enough|measuring_there|met an nvidia|named rightly|of everything random",
        re.I,
    )
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    others = [file for file in SOURCES if file != Path(__file__)]
    assert {file: found for file in (*pages, *others) if (found := dialect.findall(file.read_text("utf-8")))} == {}


def test_a_class_name_has_one_meaning():
    places = defaultdict(list)
    for file in sorted((ROOT / "edgeprune").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(file.relative_to(ROOT).as_posix())
    assert len(places) > 300
    assert {name: files for name, files in places.items() if len(files) > 1} == {}
