"""Errors name parameters in Python, and options on the command line."""

import ast
import inspect
import re
from pathlib import Path

import click
import pytest

import edgeprune as ep
from edgeprune.cli import app
from edgeprune.cli._options import told_in_options
from edgeprune.errors import ConfigError

PACKAGE = Path(ep.__file__).parent


@click.command()
@click.argument("model")
@click.option("--keep-ratio", type=float)
@click.option("--out", "out_dir")
@click.option("--distill/--no-distill", default=True)
@click.option("--trust-pickle", is_flag=True)
@click.option("--class-names")
@click.option("-b", "--batch", type=int)
def command(**_):
    """Nothing."""


@pytest.mark.parametrize(
    ("python", "shell"),
    [
        ("`keep_ratio=2` is not a share", "--keep-ratio 2 is not a share"),
        ("Give `keep_ratio` or `batch`", "Give --keep-ratio or --batch"),
        ("another `out`", "another --out"),
        ("`distill=False` or `distill`", "--no-distill or --distill"),
        ("add `trust_pickle=True`", "add --trust-pickle"),
        ("`classes` are missing", "--class-names are missing"),
        ("`batch='a'`", "--batch a"),
        ("of `model`", "of MODEL"),
        ("a class named `nothing`", "a class named `nothing`"),
    ],
)
def test_the_command_line_shows_its_options(python, shell):
    with click.Context(command), pytest.raises(ConfigError) as caught, told_in_options(command):
        raise ConfigError(python, python)
    assert (caught.value.message, caught.value.hint) == (shell, shell)
    assert type(caught.value) is ConfigError


def _sentences(file):
    """Every text in a file that is no docstring and has several words; what an f-string fills in is left out."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    told = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "{}" for part in node.values]
            told.update(map(id, node.values))
            yield "".join(parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told:
            yield node.value


PROGRAMS = ("cli", "device/bundle/agent.py", "device/replay/boards")
"""What parses options of its own."""
BELOW = [
    file for file in sorted(PACKAGE.rglob("*.py")) if not file.relative_to(PACKAGE).as_posix().startswith(PROGRAMS)
]


def test_no_text_below_the_command_line_names_an_option():
    """Whole commands, which can be typed as they are, are no options of the one that fails."""
    typed = re.compile(r"(edgeprune|accelerate launch|pip install|Run it there:) [^,;)]*|`--batch` of them")
    option = re.compile(r"(^| )(--[a-z][a-z-]+ | --[a-z][a-z-]+|--[a-z-]+$)")
    found = [
        f"{file.relative_to(PACKAGE)}: {text}"
        for file in BELOW
        for text in _sentences(file)
        if " " in text.strip() and option.search(typed.sub("", text))
    ]
    assert found == []


def _in_errors(file):
    """Every text in a file that is handed to an error."""
    for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(call, ast.Call) and getattr(call.func, "id", "").endswith("Error"):
            texts = (node.value for node in ast.walk(call) if isinstance(node, ast.Constant))
            yield from (text for text in texts if isinstance(text, str))


def _parameters(command, context):
    """The parameters of a command and of all below it."""
    yield from command.params
    for name in command.list_commands(context) if isinstance(command, click.Group) else ():
        yield from _parameters(command.get_command(context, name), context)


def test_every_parameter_that_a_text_names_is_one_of_a_command_or_of_a_function():
    context = click.Context(app)
    typed = {
        name.lstrip("-").replace("-", "_")
        for parameter in _parameters(app, context)
        for name in (parameter.name, *parameter.opts)
    }
    taken = {
        name
        for function in (getattr(ep, name) for name in ep.__all__)
        if inspect.isfunction(function)
        for name in inspect.signature(function).parameters
    }
    found = {name for file in BELOW for text in _in_errors(file) for name in re.findall(r"`([a-z_]+)(?:=|`)", text)}
    assert found - typed - taken == {"add", "with"}  # of `check calibrate`, which click does not list; of Python
    assert len(found) > 20
