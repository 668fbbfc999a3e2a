import pytest

from edgeprune.runtimes._trtexec.outputs import read_profile

# The rows of two files that trtexec 8.2 and 8.6 wrote on boards, as they were published.
OLD = '{ "name" : "Conv_4 + PWN(Clip_7)", "timeMs" : 68.3092, "averageMs" : 0.109295, "percentage" : 2.24374 }'
NEW = (
    '{ "name" : "/conv1/Conv + /act1/Relu", "timeMs" : 1160.78, "averageMs" : 0.0280382, "medianMs" : 0.027872, '
    '"percentage" : 100 }'
)


def profile(path, *rows):
    path.write_text("[\n" + '  { "count" : 625 }\n' + "".join(f", {row}\n" for row in rows) + "]\n")
    return path


def test_layers_of_every_version_are_read_slowest_first(tmp_path):
    slow, fast = read_profile(profile(tmp_path / "p.json", NEW, OLD))
    assert (slow.name, slow.mean_ms) == ("Conv_4 + PWN(Clip_7)", 0.109295)
    assert (fast.name, fast.mean_ms) == ("/conv1/Conv + /act1/Relu", 0.0280382)
    assert slow.share == pytest.approx(0.109295 / (0.109295 + 0.0280382))
    assert slow.share + fast.share == pytest.approx(1)


def test_names_that_are_not_escaped_and_shares_that_are_no_numbers_are_read(tmp_path):
    row = '{ "name" : "a "quoted" \\d{layer}", "timeMs" : 1.5, "averageMs" : 1e-05, "percentage" : nan }'
    (layer,) = read_profile(profile(tmp_path / "p.json", row))
    assert (layer.name, layer.mean_ms, layer.share) == ('a "quoted" \\d{layer}', 1e-05, 1.0)


@pytest.mark.parametrize("time", ["nan", "inf", "-0.1", "0", "soon"])
def test_a_time_that_is_no_time_leaves_nothing(tmp_path, time):
    assert read_profile(profile(tmp_path / "p.json", OLD.replace("0.109295", time))) == ()


def test_without_layers_there_is_nothing(tmp_path):
    assert read_profile(tmp_path / "none.json") == ()
    assert read_profile(profile(tmp_path / "p.json")) == ()
