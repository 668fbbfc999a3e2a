import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

import edgeprune
from edgeprune import targets

ROOT = Path(__file__).parents[2]
WRITTEN = ("*.md", "docs/*.md", "docs/results/README.md", "examples/README.md", "benchmarks/README.md")
PAGES = sorted(path for pattern in WRITTEN for path in ROOT.glob(pattern))
NAMES = [path.relative_to(ROOT).as_posix() for path in PAGES]
each_page = pytest.mark.parametrize("page", PAGES, ids=NAMES)


def tokens(page: Path) -> Iterator[Token]:
    """Every token of a page, inline ones after the block that holds them; comments are no part of it."""
    for token in MarkdownIt().enable("table").parse(page.read_text(encoding="utf-8")):
        yield token
        yield from token.children or ()


def anchors(page: Path) -> set[str]:
    """What a heading can be linked by, as GitHub makes it."""
    found = list(tokens(page))
    titles = [after.content for token, after in itertools.pairwise(found) if token.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def shell_lines(page: Path) -> list[str]:
    """The commands in a page's shell blocks, continued lines joined."""
    blocks = [token.content for token in tokens(page) if token.type == "fence" and token.info == "sh"]
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines() if line.strip()]


def found_command(generate, words: list[str]) -> tuple[click.Command, click.Context, list[str]]:
    """The command that words after `edgeprune` name, its parent's context, and the words left over."""
    context, left = generate.app_context(), list(words)
    command: click.Command = context.command
    while isinstance(command, click.Group) and left:
        name = left.pop(0)
        inner = command.get_command(context, name)
        assert inner is not None, f"no command {name!r} in: edgeprune {' '.join(words)}"
        parent, command = context, inner
        context = click.Context(command, parent=parent, info_name=name)
    return command, context, left


@each_page
def test_links_lead_somewhere(page):
    for token in tokens(page):
        link = str(token.attrs.get("href") or token.attrs.get("src") or "")
        if not link or link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@each_page
def test_commands_in_shell_blocks_can_be_typed(generate, page):
    goals = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    for line in shell_lines(page):
        program, *words = shlex.split(line, comments=True)
        if program == "make":
            assert goals.issuperset(word for word in words if "=" not in word), line
        elif program == "edgeprune":
            command, context, left = found_command(generate, words)
            command.make_context(context.info_name, left, parent=context.parent).close()
        else:
            assert program in {"git", "python", "source"}, line


@each_page
def test_commands_and_options_in_running_text_exist(generate, page):
    quoted = [token.content for token in tokens(page) if token.type == "code_inline"]
    for words in (text.split()[1:] for text in quoted if text.startswith("edgeprune ")):
        command, _, left = found_command(generate, words)
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in left if word.startswith("--")} <= known, words


def test_a_command_that_does_not_exist_would_be_found(generate, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("`edgeprune targets lst`\n\n```sh\nedgeprune inspect a.pt --no-such-option\n```\n")
    with pytest.raises(AssertionError, match="no command 'lst'"):
        test_commands_and_options_in_running_text_exist(generate, page)
    with pytest.raises(click.NoSuchOption):
        test_commands_in_shell_blocks_can_be_typed(generate, page)


def test_the_two_commands_stand_in_the_readme():
    typed = [line for line in shell_lines(ROOT / "README.md") if line.startswith("make")]
    assert typed == ["make demo", "make test"]


def test_every_page_can_be_reached_from_the_readme():
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page not in PAGES:
            continue
        reached.add(page)
        links = [str(token.attrs["href"]).partition("#")[0] for token in tokens(page) if "href" in token.attrs]
        waiting += [(page.parent / link).resolve() for link in links if link and not link.startswith("https://")]
    assert reached == set(PAGES)


def test_the_target_in_the_documentation_is_one_and_has_every_key(tmp_path):
    page = ROOT / "docs" / "targets.md"
    (example,) = [token.content for token in tokens(page) if token.type == "fence" and token.info == "toml"]
    file = tmp_path / "my-board.toml"
    file.write_text(example)
    target = targets.read(file)
    assert target.model_fields_set == targets.Target.model_fields.keys()
    assert target.bench.model_fields_set == targets.Bench.model_fields.keys()


def test_the_changes_of_this_version_are_told():
    titles = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert next(title for title in titles if title != "Unreleased") == edgeprune.__version__
