import json

import numpy as np
import pytest

from edgeprune.errors import DeviceError
from edgeprune.runtimes._trtexec.outputs import read_answers, read_times

ROW = (
    '{{ "startEnqMs" : {0}, "endEnqMs" : {0}, "startH2dMs" : {0}, "endH2dMs" : {0}, "startComputeMs" : {0}, '
    '"endComputeMs" : {1}, "startD2hMs" : {1}, "endD2hMs" : {1}, "h2dMs" : 0, "computeMs" : {2}, "d2hMs" : 0.25, '
    '"latencyMs" : {3} }}'
)


def times(path, rows):
    """A file as trtexec writes it: the first row indented, the others after a comma."""
    path.write_text("[\n  " + "\n, ".join(ROW.format(*row) for row in rows) + "\n]\n")
    return path


def steady(count, start=500.0):
    return [(start + 2 * i, start + 2 * i + 1.5, f"{1.5 + i / 100:g}", f"{2.5 + i / 100:g}") for i in range(count)]


def test_compute_times_without_copies_and_latencies_with_them(tmp_path):
    path = times(tmp_path / "t.json", steady(12))
    computed, span_ms = read_times(path, transfers=False, warmup_ms=None)
    np.testing.assert_allclose(computed, 1.5 + np.arange(12) / 100)
    assert span_ms == 2 * 11 + 1.5
    whole, _ = read_times(path, transfers=True, warmup_ms=None)
    np.testing.assert_allclose(whole, 2.5 + np.arange(12) / 100)


def test_the_warm_up_of_old_versions_is_left_out(tmp_path):
    path = times(tmp_path / "t.json", steady(40, start=180.0))
    assert len(read_times(path, transfers=False, warmup_ms=None)[0]) == 40
    kept, span_ms = read_times(path, transfers=False, warmup_ms=200.0)
    assert len(kept) == 30  # rows from 200 ms on, of 180, 182, ... 258
    assert span_ms == 2 * 29 + 1.5


def test_numbers_as_cpp_writes_them_are_read(tmp_path):
    rows = steady(12)
    rows[3] = (506, 507.5, "8.2e-05", "1e+02")
    assert read_times(times(tmp_path / "t.json", rows), False, None)[0][3] == 8.2e-05


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is cut off"),
        ("[\n]\n", "holds 0 times; 10 or more are due"),
        ("{}", "is not a list"),
        ("[1, 2]", "is not a list of objects"),
        ('[ { "computeMs" : 1 } ]', "is not a file of trtexec's times"),
        ('[ { "computeMs" : "fast", "startComputeMs" : 1, "endComputeMs" : 2 } ]', "is not a file of trtexec's times"),
        ('[ { "computeMs" : true, "startComputeMs" : 1, "endComputeMs" : 2 } ]', "is not a file of trtexec's times"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path, text, words):
    path = tmp_path / "t.json"
    path.write_text(text)
    with pytest.raises(DeviceError, match=words):
        read_times(path, transfers=False, warmup_ms=None)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("nan", "holds values that are not numbers"),
        ("-nan", "holds values that are not numbers"),
        ("inf", "holds values that are not numbers"),
        ("NaN", "not positive numbers|not numbers"),
        ("Infinity", "not positive numbers|not numbers"),
        ("1e999", "not positive numbers"),
        ("-0.5", "not positive numbers"),
        ("0", "not positive numbers"),
    ],
)
def test_a_time_that_is_not_a_positive_number_is_refused(tmp_path, value, words):
    rows = steady(12)
    rows[5] = (510, 511.5, value, "1")
    with pytest.raises(DeviceError, match=words):
        read_times(times(tmp_path / "t.json", rows), transfers=False, warmup_ms=None)


def test_a_file_that_was_cut_off_is_refused(tmp_path):
    path = times(tmp_path / "t.json", steady(20))
    path.write_text(path.read_text()[:1200])
    with pytest.raises(DeviceError, match="is cut off"):
        read_times(path, transfers=False, warmup_ms=None)


def test_too_few_times_are_refused(tmp_path):
    with pytest.raises(DeviceError, match="holds 9 times; 10 or more are due"):
        read_times(times(tmp_path / "t.json", steady(9)), transfers=False, warmup_ms=None)


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(DeviceError, match=r"t\.json is missing"):
        read_times(tmp_path / "t.json", transfers=False, warmup_ms=None)


def output(path, **changes):
    tensor = {"name": "logits", "dimensions": "2x3", "values": [0.5, -1, 2e-05, 4, 5, 6], **changes}
    path.write_text(json.dumps([tensor]))
    return path


def test_answers_are_read_frame_by_frame(tmp_path):
    found = read_answers(output(tmp_path / "o.json"), "logits", 2, 3)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.array([[0.5, -1, 2e-05], [4, 5, 6]], np.float32))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "scores"}, "holds the outputs scores; 'logits' is due"),
        ({"dimensions": "3x2"}, "6 logits of shape 3x2; 2x3 is due"),
        ({"values": [1, 2, 3]}, "3 logits of shape 2x3; 2x3 is due"),
        ({"values": "many"}, "0 logits"),
        ({"values": [1, 2, 3, 4, 5, None]}, "a logit that is not a number"),
        ({"values": [1, 2, 3, 4, 5, float("nan")]}, "holds logits that are not finite"),
        ({"values": [1, 2, 3, 4, 5, 1e300]}, "holds logits that are not finite"),
    ],
)
def test_answers_that_are_none_are_refused(tmp_path, changes, words):
    with pytest.raises(DeviceError, match=words):
        read_answers(output(tmp_path / "o.json", **changes), "logits", 2, 3)
