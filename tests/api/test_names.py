import inspect
import re
import subprocess
import sys

import pytest

import edgeprune as ep

FUNCTIONS = sorted(name for name in ep.__all__ if inspect.isfunction(getattr(ep, name)))
HIDDEN = ("accelerate", "click", "matplotlib", "numpy", "onnx", "onnxruntime", "pydantic", "rich", "scipy", "torch")


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_the_package_is_imported_without_anything_else():
    hide = f"import sys; sys.modules.update(dict.fromkeys({HIDDEN!r}))\n"
    done = python(
        hide + "import edgeprune as ep; print(ep.EdgepruneError.exit_code, 'prune' in dir(ep), ep.__version__)"
    )
    assert (done.stdout, done.stderr) == (f"70 True {ep.__version__}\n", "")


def test_every_name_is_there_and_nothing_else_is_made_up():
    assert FUNCTIONS
    assert [name for name in ep.__all__ if getattr(ep, name, None) is None] == []
    with pytest.raises(AttributeError, match="has no attribute 'prun'"):
        _ = ep.prun


def test_a_function_stays_one_when_the_package_of_its_name_is_imported():
    code = (
        "import edgeprune.prune, edgeprune.bench, edgeprune.export\n"
        "import edgeprune as ep\n"
        "from edgeprune.bench import stats\n"
        "import inspect\n"
        "print([inspect.isfunction(each) for each in (ep.prune, ep.bench, ep.export)], stats.__name__)"
    )
    done = python(code)
    assert (done.stdout, done.stderr) == ("[True, True, True] edgeprune.bench.stats\n", "")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_parameter_is_told_and_every_function_has_an_example(name):
    function = getattr(ep, name)
    text = inspect.getdoc(function)
    section = re.search(r"^Args:\n(.*?)\n\n\w+:$", text, re.DOTALL | re.MULTILINE).group(1)
    told = re.findall(r"^    (\w+): ", section, re.MULTILINE)
    assert told == list(inspect.signature(function).parameters)
    assert "Example:\n    >>> " in text
    assert inspect.signature(function).return_annotation is not inspect.Signature.empty
