"""Functions that build a user's network, and which of them need not be named again."""

import sys

import pytest

from edgeprune.errors import ConfigError
from edgeprune.network.consent import remember, remembered
from edgeprune.network.factory import from_factory, portable, same_factory

CODE = """
import torch.nn as nn
from beside_{number} import WIDTH

def build(width=WIDTH, *, depth=1):
    return nn.Sequential(*[nn.Linear(width, width) for _ in range(depth)])

def needy(width, depth):
    return build(width, depth=depth)

made = build(5)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch, request):
    """A folder with a user's module, whose names no other test has, and another module that it imports."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    number = abs(hash(request.node.nodeid))
    home = tmp_path / "home"
    home.mkdir()
    (home / f"net_{number}.py").write_text(CODE.format(number=number))
    (home / f"beside_{number}.py").write_text("WIDTH = 3\n")
    return home


def file_in(folder):
    return next(folder.glob("net_*.py"))


def refused(name, arguments=None):
    with pytest.raises(ConfigError) as caught:
        from_factory(name, arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestCalling:
    def test_a_function_of_a_file(self, folder):
        assert from_factory(f"{file_in(folder)}:build")[0].in_features == 3

    def test_a_function_of_a_file_by_a_relative_path(self, folder, monkeypatch):
        monkeypatch.chdir(folder)
        assert from_factory(f"{file_in(folder).name}:build")[0].in_features == 3

    def test_a_module_in_the_current_folder(self, folder, monkeypatch):
        monkeypatch.chdir(folder)
        assert from_factory(f"{file_in(folder).stem}:build")[0].in_features == 3

    def test_the_current_folder_hides_nothing(self, folder, monkeypatch):
        monkeypatch.chdir(folder)
        (folder / "torch.py").write_text("raise SystemExit('hidden')")
        assert from_factory("torch.nn:Identity") is not None
        assert from_factory(f"{file_in(folder).stem}:build") is not None

    def test_a_file_named_as_an_installed_package(self, folder):
        file = folder / "networkx.py"
        file.write_text(file_in(folder).read_text())
        assert from_factory(f"{file}:build")[0].in_features == 3
        import networkx

        assert networkx.__file__ != str(file)

    def test_arguments(self, folder):
        built = from_factory(f"{file_in(folder)}:build", {"width": 7, "depth": 2})
        assert [layer.in_features for layer in built] == [7, 7]

    def test_a_network_that_is_there_already(self, folder):
        assert from_factory(f"{file_in(folder)}:made")[0].in_features == 5

    def test_arguments_that_are_missing_are_all_named(self, folder):
        message = refused(f"{file_in(folder)}:needy")
        assert "needs width, depth. Add `factory_arg=width=VALUE` `factory_arg=depth=VALUE`" in message

    def test_arguments_that_it_does_not_take(self, folder):
        assert "It takes width, depth" in refused(f"{file_in(folder)}:build", {"height": 1})

    def test_a_file_that_is_not_there(self, folder):
        assert "no such file: " in refused(f"{folder}/gone.py:build")


def test_a_model_file_does_not_say_where_on_a_machine():
    assert portable("/anywhere/net.py:build") == portable("net.py:build") == "net.py:build"
    assert portable("package.net:build") == "package.net:build"
    assert same_factory("../net.py:build", "net.py:build")
    assert not same_factory("net.py:other", "net.py:build")
    assert not same_factory(None, "net.py:build")


class TestRemembering:
    def remembered_there(self, folder, monkeypatch, arguments=None, form="{name}:build"):
        """Import in one folder, as the command does, and ask in another."""
        monkeypatch.chdir(folder)
        name = form.format(name=file_in(folder).name, stem=file_in(folder).stem)
        from_factory(name, arguments)
        assert remember(name, arguments or {})
        monkeypatch.chdir(folder.parent)
        return name

    def test_a_function_of_a_file_is_found_from_anywhere(self, folder, monkeypatch):
        name = self.remembered_there(folder, monkeypatch, {"width": 4})
        known = remembered(name, {"width": 4})
        assert known == f"{file_in(folder)}:build"
        assert from_factory(known, {"width": 4})[0].in_features == 4

    def test_a_function_of_a_package_is_found_from_anywhere(self, folder, monkeypatch):
        name = self.remembered_there(folder, monkeypatch, form="{stem}:build")
        del sys.modules[file_in(folder).stem]
        sys.path.remove(str(folder))
        assert remembered(name, {}) == name
        assert from_factory(name)[0].in_features == 3

    def test_another_function_other_arguments_and_a_changed_file_are_not(self, folder, monkeypatch):
        name = self.remembered_there(folder, monkeypatch)
        assert remembered(name, {"width": 4}) is None
        assert remembered(name.replace("build", "needy"), {}) is None
        file_in(folder).write_text(file_in(folder).read_text() + "\n")
        assert remembered(name, {}) is None

    def test_nothing_where_nothing_was_or_it_is_damaged(self, folder, monkeypatch, tmp_path):
        assert remembered("net.py:build", {}) is None
        self.remembered_there(folder, monkeypatch)
        (tmp_path / "config" / "edgeprune" / "factories.json").write_text("[{]")
        assert remembered(f"{file_in(folder).name}:build", {}) is None
