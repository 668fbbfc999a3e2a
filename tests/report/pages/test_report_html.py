import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from fake_run import KEPT, bench, comparison, document, evidence, origin, plan, times

from edgeprune.records.results import BenchReport
from edgeprune.report.document import build
from edgeprune.report.pages import html
from edgeprune.report.plots import drawings as plots
from edgeprune.report.plots.drawings import Samples
from edgeprune.report.schema.json import parse

HOSTILE = (
    "</script><script>alert(1)</script>",
    "\"><img src=x onerror='alert(2)'>",
    "$\\frac{a}{b}$",
    "&amp;",
    "漢字 \x00\n改行",
    "url(http://evil.example)",
    "x" * 4000,
)


class Page(HTMLParser):
    """Elements of a page with their attributes, and the text outside style and script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.open = tag

    def handle_data(self, data):
        if self.open != "style":
            self.text += data

    def names(self) -> set[str]:
        return {name for name, _ in self.elements}


def svgs(text: str) -> dict[str, ElementTree.Element]:
    """The drawings of a page by the name of their figure, read by a strict parser."""
    found = re.findall(r'<figure id="([^"]+)".*?(<svg .*?</svg>)', text, re.DOTALL)
    return {name: strict(svg) for name, svg in found}


def strict(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg.replace("xlink:href", "href"))


def words(svg: ElementTree.Element) -> list[str]:
    return [element.text or "" for element in svg.iter("text")]


@pytest.fixture(scope="module")
def text(run: Path) -> str:
    return (run / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def hostile() -> str:
    """A page of names that try to break it, with 24 classes."""
    names = (*HOSTILE, *(f"class {number}" for number in range(17)))
    units = tuple(dataclasses.replace(one, path=HOSTILE[0], reason=HOSTILE[1]) for one in plan().decisions)
    made = build(
        evidence(
            accuracy=comparison(names), plan=dataclasses.replace(plan(), decisions=units, metric=HOSTILE[1]), bench=None
        ),
        origin(classes=names, model=HOSTILE[0], target=HOSTILE[1], commands=HOSTILE[:3], warnings=HOSTILE),
    )
    return html.render(parse(made, "test"), None)


@pytest.fixture(scope="module")
def unproven() -> str:
    """A page that shows no speed-up, without accuracy and without raw samples."""
    measured = dataclasses.replace(bench(), speedup=1.02, speedup_ci95=(0.98, 1.06))
    return html.render(parse(document(bench=measured, accuracy=None, training=None), "test"), None)


def assert_self_contained(text: str):
    """Nothing in the page is fetched or run."""
    page = Page(text)
    assert {"script", "link", "iframe", "object", "embed", "base", "img", "form"} & page.names() == set()
    for name, attributes in page.elements:
        assert [key for key in attributes if key.startswith("on")] == []
        for key in {"src", "href", "xlink:href", "action", "poster"} & attributes.keys():
            allowed = {"a": "./", "use": "#", "image": "data:image/png;base64,"}[name]
            assert (attributes[key] or "").startswith(allowed), (name, key)
        assert "url(" not in re.sub(r"url\(#[\w-]+\)", "", attributes.get("style") or "")
    style = text.split("<style>")[1].split("</style>")[0]
    assert re.search(r"@import|url\(|https?:", style) is None


def test_the_page_needs_nothing_from_outside(text: str):
    assert_self_contained(text)
    assert re.search(r"https?://", text) is None
    assert "default-src 'none'" in text
    assert len(text.encode()) < 1_500_000


def test_names_from_files_cannot_break_out(hostile: str):
    assert_self_contained(hostile)
    page = Page(hostile)
    assert "onerror='alert(2)'>" in page.text
    assert "<script>alert(1)</script>" in page.text
    assert {"figure", "table"} <= page.names()
    assert len(svgs(hostile)) == 7


def test_the_first_line_is_the_verdict(text: str):
    assert "<title>resnet56-1d runs 2.81× faster" in text.splitlines()[0]
    headline = re.search(r"<h1>(.*?)</h1>", text, re.DOTALL)
    said = re.sub(r"<[^>]+>", "", headline[1]).replace("\u00a0", " ")
    assert said.startswith(
        "resnet56-1d runs 2.81× faster (95 % interval 2.74 to 2.90) on host-cpu and shows no measurable change"
    )


def test_the_first_line_says_that_no_speedup_was_shown(unproven: str):
    assert "<title>No speed-up was shown: " in unproven.splitlines()[0]
    assert "<h1>No speed-up was shown: " in unproven
    assert '<p class="label">Speed ratio</p>' in unproven
    assert '<p class="label">Speed-up</p>' not in unproven


def test_without_raw_samples_the_page_says_so(unproven: str, text: str):
    assert "The raw samples (samples-baseline.npz) are not beside this report" in unproven
    assert list(svgs(unproven)) == ["rounds", "strip", "similarity", "segments"]
    assert "not beside this report" not in text


def test_every_drawing_is_there_and_says_what_it_shows(text: str):
    drawings = svgs(text)
    assert list(drawings) == [
        *("latency", "rounds", "snr", "training", "confusion-before", "confusion-after"),
        *("strip", "similarity", "segments"),
    ]
    for svg in drawings.values():
        assert svg.get("role") == "img"
        assert len(svg.get("aria-label") or "") > 40
        assert svg.get("viewBox")


def test_ids_are_unique_on_the_page(text: str):
    ids = re.findall(r'\sid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', text))
    assert used <= set(ids)


def test_drawings_take_their_colours_from_the_page(text: str):
    drawn = "".join(re.findall(r"<svg .*?</svg>", text, re.DOTALL))
    assert "var(--pruned)" in drawn
    assert set(re.findall(r"#[0-9a-f]{6}\b", drawn)) <= {"#ffffff"}
    style = text.split("<style>")[1].split("</style>")[0]
    for variable in set(re.findall(r"var\((--\w+)\)", drawn)):
        assert style.count(f"{variable}:") >= 1


def test_the_strip_shows_kept_units_twice_and_dropped_ones_once(text: str):
    shown = words(svgs(text)["strip"])
    for index in range(29):
        assert shown.count(str(index)) == (2 if index in KEPT else 1)


def test_the_confusion_matrix_shows_shares_of_the_true_class(text: str):
    counts = comparison().pruned.confusion
    wanted = sorted(f"{100 * count / 200:.0f}" for row in counts for count in row if count >= 2)
    shown = [word for word in words(svgs(text)["confusion-after"]) if word.isdigit()]
    assert sorted(shown) == wanted


def test_medians_stand_in_the_histogram(text: str):
    shown = words(svgs(text)["latency"])
    medians = [f"{one.median_ms:.2f} ms" for one in (bench().baseline,)] + [f"{bench().pruned.median_ms:.3f} ms"]
    assert shown[-2:] == [f"before, median {medians[0]}", f"after, median {medians[1]}"]


def test_what_was_not_measured_has_no_tile_and_no_drawing():
    bare = parse(document(bench=None, accuracy=None, training=None), "test")
    assert plots.accuracy(bare) == []
    assert plots.latency(bare, None) == []
    assert [tile.label for tile in html.tiles(bare)] == ["Units", "Parameters", "MACs per frame", "ONNX file"]


def test_the_page_says_what_was_not_measured(unproven: str, hostile: str):
    assert "Accuracy was not measured." in unproven
    assert "Latency was not measured." in hostile
    assert "not measured." not in unproven.replace("Accuracy was not measured.", "").split("</h1>")[1]


def latency_drawings(measured: BenchReport, samples: Samples) -> dict[str, list[str]]:
    """The words on each drawing of latency."""
    report = parse(document(bench=measured), "test")
    return {plot.name: words(strict(plot.svg)) for plot in plots.latency(report, samples)}


def test_far_apart_latencies_are_drawn_on_a_logarithmic_axis():
    measured = bench()
    slow = dataclasses.replace(measured.baseline, median_ms=30.0, round_medians_ms=(30.0,) * 16)
    samples = Samples(np.concatenate(times(30.0, 1)), np.concatenate(times(0.5, 2)))
    drawn = latency_drawings(dataclasses.replace(measured, baseline=slow), samples)
    assert "latency of one inference, ms (logarithmic)" in drawn["latency"]
    assert {"0.5", "1", "10"} <= set(drawn["rounds"])


def test_one_model_alone_is_drawn_alone():
    alone = dataclasses.replace(bench(), pruned=None, speedup=None, speedup_ci95=None)
    drawn = latency_drawings(alone, Samples(np.concatenate(times(1.42, 1)), None))
    assert "after" not in " ".join(drawn["latency"])
    assert "after" not in drawn["rounds"]


def test_groups_of_frames_are_told():
    plain = document()
    plain["accuracy"]["groups"] = 110
    assert "The frames come in 110 groups" in html.render(parse(plain, "test"), None)
    assert "It is not known which frames belong together" in html.render(parse(document(), "test"), None)
