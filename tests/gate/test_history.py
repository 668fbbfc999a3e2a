import dataclasses
import json
import os
import re
import shutil
from html.parser import HTMLParser

import made_runs
import pytest

import edgeprune
from edgeprune.errors import ConfigError, DataError
from edgeprune.files.run_folder import MANIFEST, begun_name
from edgeprune.gate import check, evidence, history, trend
from edgeprune.gate.change_points import ChangePoint
from edgeprune.gate.history import NAME, key_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Eight reports, slower by a tenth from the fifth on."""
    path = tmp_path_factory.mktemp("reports")
    for number in range(8):
        slower = 1.1 if number >= 4 else 1.0
        made_runs.write(
            path / f"r{number}", pruned_ms=0.15 * slower, seed=number, rounds=8, git_commit=f"{number}" * 40
        )
    return path


def test_reports_are_read_oldest_first(folder):
    found = history.read(folder)
    assert [each.commit for each in found] == [digit * 10 for digit in "01234567"]
    assert found[3].evidence().report == evidence.read(folder / "r3" / "report.json").report


def test_a_step_is_found_at_its_commit(folder):
    found = {one.name: one for one in history.trends(history.read(folder))}
    assert set(found) == {"median_ms", "speedup", "top1", "onnx_bytes"}
    (step,) = found["median_ms"].steps
    assert found["median_ms"].points[step.at].commit == "4" * 10
    assert step.after / step.before == pytest.approx(1.1, abs=0.01)
    (gone,) = found["speedup"].steps
    assert gone.after / gone.before == pytest.approx(1 / 1.1, abs=0.01)
    assert found["top1"].steps == ()
    assert trend.told(found["median_ms"])[0].startswith(
        "Median latency of host-cpu / resnet56-1d-gr2016a / fp32 changed by +10."
    )


def test_a_damaged_report_and_a_missing_folder_are_errors(folder, tmp_path):
    with pytest.raises(ConfigError, match="no such folder"):
        history.read(tmp_path / "nowhere")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "report.json").write_text("{")
    with pytest.raises(DataError, match="not a JSON file"):
        history.read(tmp_path)


def test_a_kept_report_is_read_back_whole_and_kept_once(run, tmp_path):
    one = evidence.read(run)
    place = history.keep(one, tmp_path)
    assert history.keep(one, tmp_path) == place
    (found,) = history.read(tmp_path)
    assert found.evidence().report == one.report
    assert set(found.evidence().rounds) == {"baseline", "pruned"}
    assert place.name == "20260101000000-no-commit-host-cpu-resnet56-1d-gr2016a-fp32"


def test_the_report_of_today_counts_once(folder, run):
    older, today = history.read(folder), evidence.read(run)
    assert len(history.merged(older, [older[3].evidence()])) == 8
    later = today.__class__(today.report.model_copy(update={"created": "2026-02-01"}), today.source)
    assert history.merged(older, [later])[-1] == history.entry_of(later)


class TestIndex:
    """The file beside the reports that says which were verified."""

    @pytest.fixture
    def copy(self, folder, tmp_path):
        history.read(folder)
        return shutil.copytree(folder, tmp_path / "copy")

    @pytest.fixture
    def verified(self, monkeypatch):
        """The reports that are verified from now on."""
        names, read = [], evidence.read
        monkeypatch.setattr(
            "edgeprune.gate.history.evidences.read", lambda path: names.append(path.parent.name) or read(path)
        )
        return names

    def test_a_report_is_verified_once_wherever_its_folder_goes(self, copy, verified):
        first = history.read(copy)
        assert verified == []
        assert [each.commit[0] for each in first] == list("01234567")

    def test_what_changed_or_is_new_is_verified_and_nothing_else(self, copy, verified):
        made_runs.write(copy / "r8", seed=8, rounds=8, git_commit="8" * 40)
        report = json.loads((copy / "r2" / "report.json").read_text())
        (copy / "r2" / "report.json").write_text(json.dumps(report))
        history.read(copy)
        assert sorted(verified) == ["r2", "r8"]
        history.read(copy)
        assert len(verified) == 2

    @pytest.mark.parametrize("name", ["report.json", "samples-pruned.npz"])
    def test_what_was_tampered_with_since_is_found(self, copy, name):
        before = (copy / "r2" / name).stat()
        if name == "report.json":
            report = json.loads((copy / "r2" / name).read_text())
            report["latency"]["pruned"]["median_ms"] *= 1.0001
            (copy / "r2" / name).write_text(json.dumps(report))
        else:
            shutil.copy(copy / "r3" / name, copy / "r2" / name)
        os.utime(copy / "r2" / name, ns=(before.st_atime_ns, before.st_mtime_ns))
        with pytest.raises(DataError):
            history.read(copy)

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"[" * 200_000,
            b"null",
            b'{"schema": "edgeprune-history/1"}',
            b'{"schema": "edgeprune-history/1", "edgeprune_version": "0.0.1", "verified": []}',
            b'{"schema": "edgeprune-history/1", "edgeprune_version": "VERSION", "verified": [1, null, [], "\\ud800"]}',
        ],
    )
    def test_a_damaged_one_is_made_anew(self, copy, verified, content):
        (copy / NAME).write_bytes(content.replace(b"VERSION", edgeprune.__version__.encode()))
        history.read(copy)
        assert len(verified) == 8
        history.read(copy)
        assert len(verified) == 8

    def test_no_figure_comes_from_it_and_what_others_are_compared_with_is_verified_all_the_same(self, copy, run):
        report = json.loads((copy / "r7" / "report.json").read_text())
        report["latency"]["pruned"]["median_ms"] *= 1.0001
        (copy / "r7" / "report.json").write_text(json.dumps(report))
        lie = key_of(evidence.beside(evidence.unverified(copy / "r7" / "report.json")), copy / "r7")
        index = json.loads((copy / NAME).read_text())
        (copy / NAME).write_text(json.dumps({**index, "verified": [*index["verified"], lie]}))
        entries = history.read(copy)
        assert entries[7].figures["median_ms"] == report["latency"]["pruned"]["median_ms"]
        today = evidence.read(run)
        later = dataclasses.replace(today, report=today.report.model_copy(update={"created": "2099-01-01"}))
        with pytest.raises(DataError, match="median_ms"):
            check.baseline_of(later, check.Against(history=entries), alone=True)

    def test_a_link_in_its_place_is_not_followed(self, copy, tmp_path):
        (tmp_path / "mine").write_text("keep")
        (copy / NAME).unlink()
        (copy / NAME).symlink_to(tmp_path / "mine")
        history.read(copy)
        assert (tmp_path / "mine").read_text() == "keep"

    def test_a_folder_that_cannot_be_written_is_read_all_the_same(self, copy, verified, monkeypatch):
        (copy / NAME).unlink()

        def refuse(*_arguments):
            raise ConfigError("read-only")

        monkeypatch.setattr("edgeprune.gate.history.write_json", refuse)
        assert len(history.read(copy)) == 8


def test_what_a_killed_keep_left_is_completed(run, tmp_path):
    one = evidence.read(run)
    place = history.keep(one, tmp_path)
    (place / "report.json").unlink()
    (place / "samples-pruned.npz").unlink()
    (place / begun_name(place / "report.json")).write_text("half")
    assert history.keep(one, tmp_path) == place
    whole = {MANIFEST, "report.json", "samples-baseline.npz", "samples-pruned.npz"}
    assert {path.name for path in place.iterdir()} == whole
    assert history.read(tmp_path)[0].evidence().report == one.report


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.figures, self.titles, self.links, self.paths = 0, [], [], 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.figures += tag == "figure"
        self.links += [value for key, value in attrs if key in ("src", "href") and not value.startswith("#")]


def test_the_page_has_a_plot_a_figure_and_needs_no_network(folder):
    text = trend.render(history.trends(history.read(folder)))
    page = Page(text)
    assert page.figures == 4
    assert page.links == []
    assert "at 4444444444" in text
    assert "Steps were found" in text


def test_a_page_without_history_says_so():
    assert "A trend needs at least two reports" in trend.render([])


def test_the_commit_of_a_step_is_named_on_the_axis_and_crowds_nobody():
    points = tuple(history.Point(f"commit-{number:02d}", "", 1.0 + (number >= 9)) for number in range(40))
    text = trend.render([history.Trend("model", "median_ms", points, (ChangePoint(9, 1.0, 2.0),))])
    ticks = re.findall(r"<text[^>]*>(commit-\d\d)</text>", text)
    assert ticks == [f"commit-{number:02d}" for number in (0, 4, 9, 16, 20, 24, 28, 32, 36)]
