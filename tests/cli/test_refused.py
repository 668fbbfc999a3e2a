"""What a refused command leaves: everything as it was."""

import contextlib

import pytest
from test_devices import _own_cache, finished, folder  # noqa: F401 (fixtures)

from edgeprune.device.replay.transport import open_board

BOARD = "replay:orin-nano-jp62"


def tree(place):
    """Every path below a folder with its content; links by where they lead."""
    return {
        path.relative_to(place).as_posix(): str(path.readlink())
        if path.is_symlink()
        else path.read_bytes()
        if path.is_file()
        else None
        for path in sorted(place.rglob("*"))
    }


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder as people have them, and in it."""
    home = tmp_path / "home"
    (home / ".ssh.bak.20240101").mkdir(parents=True)
    (home / ".ssh.bak.20240101" / "id_ed25519").write_text("secret")
    (home / ".env.local.template").write_text("KEY=")
    (home / "notes.md").write_text("mine")
    monkeypatch.chdir(home)
    return home


def commands(world):
    """Each command that works in a folder, without that folder."""
    model, data, target = world / "model.pt", world / "frames.npz", world / "quick-cpu.toml"
    (world / "grid.toml").write_text(f'models = ["{model}"]\n[[methods]]\nname = "chance"\ncriterion = "random"\n')
    return {
        "prune-and-export": ("prune-and-export", model, "--target", target, "--data", data, "--epochs", 1, "--out"),
        "prune-and-export --fresh": ("prune-and-export", model, "--target", target, "--data", data, "--fresh", "--out"),
        "prune-and-export --dry-run": ("prune-and-export", model, "--target", target, "--dry-run", "--out"),
        "compare": ("compare", "--grid", world / "grid.toml", "--out"),
        "compare --dry-run": ("compare", "--grid", world / "grid.toml", "--dry-run", "--out"),
        "bench": ("bench", world / "model.onnx", "--target", target, "--out"),
        "data calib": ("data", "calib", "--data", data, "--size", 6, "--out"),
        "report": ("report",),
        "device bundle": ("device", "bundle"),
    }


def test_a_folder_of_the_users_is_refused_and_stays_as_it_is(world, home, run):
    before = tree(home)
    for name, words in commands(world).items():
        ended = run(*words, ".")
        assert ended.code == 2, (name, ended.err)
        assert tree(home) == before, name


@pytest.mark.parametrize(
    ("more", "code"),
    [
        (("--keep", "99"), 2),
        (("--data", "nothing.npz"), 2),
        (("--precision", "int8"), 2),
        (("--device", "nowhere.invalid"), 2),
    ],
)
def test_what_is_asked_for_is_checked_before_anything_is_forgotten(world, home, run, more, code):
    out = home / "run"
    out.mkdir()
    (out / "01-layers.json").write_text('{"schema": "edgeprune-stage/1"}')
    (out / "finetune.state").write_text("a night's training")
    before = tree(home)
    what = ("--target", world / "quick-cpu.toml", "--data", world / "frames.npz", "--out", out, "--fresh")
    ended = run("prune-and-export", world / "model.pt", *what, *more)
    assert ended.code == code, ended.err
    assert tree(home) == before
    new = run("prune-and-export", world / "model.pt", *what[:4], "--out", home / "new" / "run", *more)
    assert new.code == code
    assert tree(home) == before


@pytest.fixture
def result(folder, tmp_path):  # noqa: F811 (fixtures)
    """What a board left that ran the folder's bundle."""
    from edgeprune.device.session import run_bundle
    from edgeprune.protocols import NullProgress

    with contextlib.closing(open_board(BOARD)) as board:
        return run_bundle(board, folder / "bundle.tar", tmp_path, NullProgress())


def test_a_result_is_not_collected_through_a_link(folder, result, tmp_path, run):  # noqa: F811
    mine = tmp_path / "mine"
    (mine / "result").mkdir(parents=True)
    (mine / "result" / "thesis.tex").write_text("years of work")
    (folder / "device").symlink_to(mine)
    before = tree(mine)
    ended = run("device", "collect", folder, result)
    assert ended.code == 2
    assert "device is a symbolic link, which is not followed" in ended.err
    assert tree(mine) == before


def test_a_result_replaces_an_earlier_one_and_nothing_else(folder, result, run):  # noqa: F811
    (folder / "device" / "result").mkdir(parents=True)
    (folder / "device" / "result" / "notes.md").write_text("mine")
    ended = run("device", "collect", folder, result)
    assert ended.code == 2
    assert "notes.md is not of an earlier result" in ended.err
    assert (folder / "device" / "result" / "notes.md").read_text() == "mine"
    (folder / "device" / "result" / "notes.md").unlink()
    for _ in range(2):
        assert run("device", "collect", folder, result).code == 0
    assert not [path for path in folder.rglob("*") if path.name.startswith(".")]


@pytest.mark.parametrize("name", ["trials", "latency"])
def test_nothing_is_forgotten_or_removed_through_a_link(world, home, run, name):
    out, other = home / "run", home / "other"
    for place in (out, other / "keep-03"):
        place.mkdir(parents=True)
    for place, stage in ((out, "01-layers"), (other, "kept-0"), (other / "keep-03", "07-finetune")):
        (place / f"{stage}.json").write_text('{"schema": "edgeprune-stage/1"}')
    (out / name).symlink_to(other)
    before = tree(other)
    what = (
        "--target",
        world / "quick-cpu.toml",
        "--data",
        world / "frames.npz",
        "--epochs",
        1,
        "--out",
        out,
        "--fresh",
    )
    ended = run("prune-and-export", world / "model.pt", *what)
    assert ended.code == 2
    assert f"{name} is a symbolic link, which is not followed" in ended.err
    assert tree(other) == before
