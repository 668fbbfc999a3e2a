"""Count the files that a reader opens to follow a piece of work.

    python docs/reading.py [MODULE:NAME ...]

A file counts when code that the reader has reached refers to a function, class or constant that the file defines; the
code of that is then reached too. References are those that can be seen without running anything: names and attributes
of imported modules. Annotations are not followed, nor plug-ins that are found by their names, nor methods of objects
whose class is not named. A class is read as a whole.
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = "edgeprune"
WAYS = {
    "score of a criterion": ("edgeprune.criteria.block_influence:criterion", 11),
    "verdict of check": ("edgeprune.gate.check:check", 15),
    "plan under a latency budget": ("edgeprune.tasks.latency.budget:choose_within", 50),
    "prune-and-export": ("edgeprune.cli.prune_and_export:command", 185),
}
"""What is followed, where that begins, and the most files that it may take."""

Name = tuple[str, str]
"""A module, and a name in it."""


@dataclass
class Module:
    """What a module defines, and what it imports from the package under which name; None for a whole module."""

    defined: dict[str, ast.stmt] = field(default_factory=dict)
    imported: dict[str, tuple[str, str | None]] = field(default_factory=dict)


def modules(root: Path = ROOT) -> dict[str, Path]:
    """The file of each module of the package."""
    found = {}
    for file in (root / PACKAGE).rglob("*.py"):
        parts = file.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


class Reader:
    """Follows references from file to file."""

    def __init__(self, root: Path = ROOT) -> None:
        self._files = modules(root)
        self._read: dict[str, Module] = {}

    def files_from(self, start: str) -> dict[Path, set[str]]:
        """The files that are opened from `module:name` on, with the names that are read in each."""
        module, _, name = start.partition(":")
        waiting, seen, opened = [(module, name)], set[Name](), dict[Path, set[str]]()
        while waiting:
            place = waiting.pop()
            if place in seen:
                continue
            seen.add(place)
            module, name = place
            if name in self._module(module).defined:
                opened.setdefault(self._files[module], set()).add(name)
                waiting += self._references(module, self._module(module).defined[name])
            else:
                waiting += self._meant(module, (name,))
        return opened

    def _module(self, name: str) -> Module:
        if name not in self._read:
            self._read[name] = self._parsed(self._files[name])
        return self._read[name]

    def _parsed(self, file: Path) -> Module:
        tree, module = ast.parse(file.read_text(encoding="utf-8")), Module()
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == PACKAGE:
                assert node.module is not None
                for each in node.names:
                    whole = f"{node.module}.{each.name}"
                    meant = (whole, None) if whole in self._files else (node.module, each.name)
                    module.imported[each.asname or each.name] = meant
        for statement in tree.body:
            if isinstance(statement, ast.FunctionDef | ast.ClassDef):
                module.defined[statement.name] = statement
            elif isinstance(statement, ast.Assign | ast.AnnAssign):
                targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
                names = (node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name))
                module.defined.update(dict.fromkeys(names, statement))
        return module

    def _references(self, module: str, code: ast.stmt) -> Iterator[Name]:
        for words in _words(code):
            yield from self._meant(module, words)

    def _meant(self, module: str, words: tuple[str, ...]) -> Iterator[Name]:
        known = self._module(module)
        if words[0] in known.imported:
            other, name = known.imported[words[0]]
            named = name or (words[1] if len(words) > 1 else None)
            if named is not None:
                yield other, named
        elif words[0] in known.defined:
            yield module, words[0]


def _words(node: ast.AST) -> Iterator[tuple[str, ...]]:
    """Every name and dotted name in code, without those of annotations."""
    if isinstance(node, ast.FunctionDef):
        inner: list[ast.AST] = [*node.decorator_list, *node.args.defaults, *node.body]
        inner += [default for default in node.args.kw_defaults if default is not None]
    elif isinstance(node, ast.AnnAssign):
        inner = [node.value] if node.value is not None else []
    elif isinstance(node, ast.Name | ast.Attribute):
        words: list[str] = []
        while isinstance(node, ast.Attribute):
            words.append(node.attr)
            node = node.value
        if isinstance(node, ast.Name):
            yield (node.id, *reversed(words))
            return
        inner = [node]
    else:
        inner = list(ast.iter_child_nodes(node))
    for each in inner:
        yield from _words(each)


def main(starts: list[str]) -> None:
    """Print how many files each way takes, and with starts of one's own which."""
    reader = Reader()
    for what, (start, most) in {} if starts else WAYS.items():
        sys.stdout.write(f"{len(reader.files_from(start)):4} of at most {most:3}  {what}, from {start}\n")
    for start in starts:
        opened = reader.files_from(start)
        sys.stdout.write(f"{len(opened):4}  {start}\n")
        for file, names in sorted(opened.items()):
            sys.stdout.write(f"      {file.relative_to(ROOT)}: {', '.join(sorted(names))}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
