"""Grid files: what they may say, and what is said of one that is wrong."""

from pathlib import Path

import pytest

from edgeprune import registry
from edgeprune.compare.grid.grid import CHANNEL_METHODS, WELL_KNOWN
from edgeprune.compare.grid.read import parse, read, study, study_names
from edgeprune.errors import ConfigError
from edgeprune.prune.channels.scores import METHODS


@pytest.fixture
def grid(tmp_path):
    """Read a grid of some text, in a folder that holds m.pt and d.npz."""
    (tmp_path / "m.pt").touch()
    (tmp_path / "d.npz").touch()

    def of(text, **overrides):
        file = tmp_path / "g.toml"
        file.write_text(text)
        return read(file, overrides)

    return of


def test_words_and_tables_name_methods_and_networks(grid):
    found = grid(
        'models = ["m.pt"]\nmethods = ["random", {name = "mine", segments = 3}, {name = "l1"}]\n'
        'networks = ["ulcnn", {name = "gru2", learning_rate = 0.01}]\nseeds = [4, 2]\n'
        '[data]\npath = ["d.npz"]\n[training]\nepochs = 3\n'
    )
    assert [(m.name, m.kind, m.criterion, m.segments) for m in found.methods] == [
        ("random", "layers", "random", 1),
        ("mine", "layers", None, 3),
        ("l1", "channels", "l1", None),
    ]
    assert [(n.name, n.learning_rate) for n in found.networks] == [("ulcnn", None), ("gru2", 0.01)]
    assert (found.seeds, found.training.epochs, found.training.distill) == ((4, 2), 3, True)


def test_a_table_with_a_well_known_name_changes_what_that_means(grid):
    (method,) = grid('models = ["m.pt"]\nmethods = [{name = "random", segments = 4}]').methods
    assert (method.criterion, method.segments) == ("random", 4)


def test_paths_are_looked_for_beside_the_grid_then_in_the_working_directory(grid, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "other.pt").touch()
    (elsewhere / "m.pt").touch()
    monkeypatch.chdir(elsewhere)
    found = grid('models = ["m.pt", "other.pt"]\nmethods = ["edgeprune"]')
    assert found.models == (tmp_path / "m.pt", elsewhere / "other.pt")


def test_the_command_line_replaces_values_within_tables(grid):
    text = 'models = ["m.pt"]\nmethods = ["edgeprune"]\nseeds = [0, 1]\n[training]\nepochs = 9\nbatch_size = 8\n'
    found = grid(text, training={"epochs": 1}, seeds=[5])
    assert (found.training.epochs, found.training.batch_size, found.seeds) == (1, 8, (5,))


MODEL = 'models = ["m.pt"]\n'
METHODS_LINE = 'methods = ["edgeprune"]\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (MODEL + 'methods = ["randm"]', ("no method is named 'randm'", "Did you mean 'random'?")),
        (MODEL + 'methods = [{name = "a", criterion = "synflw"}]', ("criterion", "'synflw'", "synflow")),
        (MODEL + 'methods = [{name = "a", metric = "cka"}]', ("similarity metric", "'cka'")),
        (MODEL + 'methods = [{name = "a", kind = "channels", criterion = "l2"}]', ("'l2'", "fpgm")),
        (MODEL + 'methods = [{name = "a", bridge = "inheritt"}]', ("no bridge", "Did you mean 'inherit'?")),
        (MODEL + 'methods = [{name = "l1", metric = "cosine"}]', ("'l1'", "takes no metric")),
        (MODEL + 'methods = [{name = "train-on", released = ["choice"]}]', ("kind 'none'", "takes no released")),
        (MODEL + 'methods = [{name = "a", then_width = 0.5, width_method = "l2"}]', ("'l2'", "fpgm")),
        (MODEL + METHODS_LINE + 'networks = ["ulcn"]', ("'ulcn'", "Did you mean 'ulcnn'?")),
        (MODEL + METHODS_LINE + "ratio = [0.5]", ("'ratio'", "Did you mean 'ratios'?")),
        (MODEL + METHODS_LINE + "[training]\nepoch = 3", ("'epoch'", "Did you mean 'epochs'?")),
        (MODEL + 'methods = [{name = "a", segmets = 3}]', ("'segmets'", "Did you mean 'segments'?")),
        (MODEL + METHODS_LINE + '[bench]\ntarget = "host-cp"', ("no target", "'host-cp'", "host-cpu")),
        (MODEL + METHODS_LINE + "ratios = []", ("ratios is empty",)),
        (MODEL + "methods = []", ("methods is empty",)),
        ("models = []\n" + METHODS_LINE, ("models is empty",)),
        (MODEL + METHODS_LINE + "seeds = []", ("seeds is empty",)),
        (MODEL + METHODS_LINE + "networks = []", ("networks is empty",)),
        (MODEL + METHODS_LINE + "[data]\npath = []", ("data.path is empty",)),
        (METHODS_LINE, ("names no models",)),
        (MODEL, ("names no methods",)),
        (MODEL + METHODS_LINE + "ratios = [0.5, 0.5]", ("ratios names 0.5 twice",)),
        (MODEL + 'methods = ["random", {name = "random"}]', ("methods names 'random' twice",)),
        (MODEL + METHODS_LINE + "ratios = [1.5]", ("ratios.0", "less than or equal to 1", "1.5")),
        (MODEL + METHODS_LINE + 'seeds = ["1"]', ("seeds.0", "valid integer", "'1'")),
        (MODEL + 'methods = [{name = "a/b"}]', ("methods.0.name", "pattern", "'a/b'")),
        ('models = ["gone.pt"]\n' + METHODS_LINE, ("no such file: gone.pt",)),
        ("models = [", ("is not a TOML file",)),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_what_is_allowed(grid, text, words):
    with pytest.raises(ConfigError) as error:
        grid(text)
    said = str(error.value)
    assert all(word in said for word in words), said
    assert "\n" not in said


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"no such grid file: .*gone\.toml"):
        read(tmp_path / "gone.toml")


@pytest.mark.parametrize("name", WELL_KNOWN)
def test_every_well_known_method_is_one(name):
    networks_only = {"methods": [name], "networks": ["ulcnn"]}
    (method,) = parse(networks_only, "the grid", Path()).methods
    assert method.name == name


def test_the_channel_methods_are_those_there_are():
    assert set(CHANNEL_METHODS) == set(METHODS)


@pytest.mark.parametrize("name", study_names())
def test_every_study_is_a_grid_for_the_model_it_is_given(name, tmp_path):
    model, data = tmp_path / "m.pt", tmp_path / "d.npz"
    model.touch()
    data.touch()
    grid = study(name, model, data, {"training": {"epochs": 7}})
    assert (grid.models, grid.data.path, grid.training.epochs) == ((model,), (data,), 7)
    assert len(grid.methods) > 1
    assert study(name, model, None, {}).data.path is None


def test_the_studies_leave_no_metric_and_no_criterion_out(tmp_path):
    (tmp_path / "m.pt").touch()
    found = {name: study(name, tmp_path / "m.pt", None, {}).methods for name in ("metrics", "criteria")}
    assert {method.metric for method in found["metrics"]} == set(registry.names("similarity"))
    assert {method.criterion for method in found["criteria"]} == set(registry.names("criteria"))


def test_an_unknown_study_is_answered_with_those_there_are(tmp_path):
    with pytest.raises(ConfigError, match="no study is named 'metric'") as error:
        study("metric", tmp_path / "m.pt", None, {})
    assert "Did you mean 'metrics'?" in error.value.hint
