"""Errors name parameters in Python, and options on the command line."""

import ast
import re
from pathlib import Path

import click
import pytest

import edgeprune as ep
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
    """Every text in a file that is no docstring, those of f-strings joined."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    texts = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = getattr(call.func, "id", getattr(call.func, "attr", ""))
        if re.fullmatch(r"(Config|Model|Data|Device|Edgeprune)Error|LinkLost|MalformedError", name):
            for node in ast.walk(call):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in texts:
                    yield node.value


BELOW = [
    file
    for file in sorted(PACKAGE.rglob("*.py"))
    if file.relative_to(PACKAGE).parts[0] != "cli" and "programs" not in file.parts
]


def test_no_error_below_the_command_line_names_an_option():
    """Whole commands, which can be typed as they are, are no options of the one that fails."""
    typed = re.compile(r"(edgeprune|accelerate|pip|apt|python) [^,;]*")
    found = [
        f"{file.relative_to(PACKAGE)}: {text}"
        for file in BELOW
        for text in _sentences(file)
        if re.search(r"--[a-z]", typed.sub("", text))
    ]
    assert found == []


def test_every_parameter_that_an_error_names_is_an_option_somewhere(generate):
    app = generate.app_context()
    known = {
        option.lstrip("-").replace("-", "_")
        for each, _ in generate.commands(app.command, app)
        for parameter in each.params
        for option in (parameter.name, *parameter.opts)
    } | {"classes", "module", "models", "frames", "name", "path"}
    named = re.compile(r"`([a-z_]+)(?:=[^`]*)?`")
    found = {name for file in BELOW for text in _sentences(file) for name in named.findall(text)}
    assert found - known == set()
    assert len(found) > 20
