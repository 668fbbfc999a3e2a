import re
from html.parser import HTMLParser

import made_runs
import pytest

from edgeprune.errors import ConfigError, DataError
from edgeprune.gate import evidence, history, trend
from edgeprune.gate.steps import Step


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
    assert [each.report.git_commit[0] for each in found] == list("01234567")


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
    assert found.report == one.report
    assert set(found.rounds) == {"baseline", "pruned"}
    assert place.name == "20260101000000-no-commit-host-cpu-resnet56-1d-gr2016a-fp32"


def test_the_report_of_today_counts_once(folder, run):
    older, today = history.read(folder), evidence.read(run)
    assert len(history.merged(older, [older[3]])) == 8
    later = today.__class__(today.report.model_copy(update={"created": "2026-02-01"}), today.source)
    assert history.merged(older, [later])[-1] is later


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
    assert "A trend takes at least two reports" in trend.render([])


def test_the_commit_of_a_step_is_named_on_the_axis_and_crowds_nobody():
    points = tuple(history.Point(f"commit-{number:02d}", "", 1.0 + (number >= 9)) for number in range(40))
    text = trend.render([history.Trend("model", "median_ms", points, (Step(9, 1.0, 2.0),))])
    ticks = re.findall(r"<text[^>]*>(commit-\d\d)</text>", text)
    assert ticks == [f"commit-{number:02d}" for number in (0, 4, 9, 16, 20, 24, 28, 32, 36)]
