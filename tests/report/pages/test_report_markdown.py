import dataclasses
import re
from html.parser import HTMLParser

import pytest
from fake_run import bench, document, evidence, origin, plan
from markdown_it import MarkdownIt

from edgeprune.report.document import build
from edgeprune.report.pages import markdown, requirements
from edgeprune.report.schema.json import parse

HOSTILE = (
    "<script>alert(1)</script>",
    "a|b",
    "**bold** _it_ `code`",
    "[x](http://evil.example)",
    "![x](http://evil.example/p.png)",
    "two\nlines",
    "# heading",
    "- item",
    "back\\slash",
    "``",
    "~~gone~~",
)


class Elements(HTMLParser):
    """Names of the elements of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)

    def handle_data(self, data):
        self.text += data


def rendered(text: str) -> Elements:
    """What a Markdown reader makes of it, raw HTML included."""
    return Elements(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text))


@pytest.fixture(scope="module")
def page() -> str:
    return markdown.render(parse(document(), "test"))


def test_the_first_line_is_the_verdict(page: str):
    assert page.splitlines()[0] == requirements.sentence(parse(document(), "test"))


@pytest.mark.parametrize(("ratio", "low", "high"), [(1.02, 0.98, 1.06), (0.9, 0.88, 0.93)])
def test_the_first_line_says_that_no_speedup_was_shown(ratio: float, low: float, high: float):
    unproven = dataclasses.replace(bench(), speedup=ratio, speedup_ci95=(low, high))
    text = markdown.render(parse(document(bench=unproven), "test"))
    assert text.splitlines()[0].startswith("No speed-up was shown: ")


def test_the_table_holds_the_figures_before_and_after(page: str):
    for row in (
        "| Speed-up | 1× | 2.81× | 95 % interval 2.74 to 2.90 |",
        "| Units | 29 | 8 | −72.4 % |",
        "| ONNX file | 3.47 MB | 1.02 MB | −70.5 % |",
    ):
        assert row in page
    assert re.search(
        r"\| Top-1 accuracy \| 91\.1 % \(89\.9 to 92\.3\) \| 90\.4 % \(89\.1 to 91\.6\) \| −0\.7 points", page
    )
    assert re.search(r"\| 99th percentile \| [\d.]+ ms \| [\d.]+ ms \| −64\.4 % \|", page)


def test_every_unit_has_its_reason(page: str):
    for decision in plan().decisions:
        assert re.search(
            rf"^\| {decision.index} \| `{re.escape(decision.path)}` \|.*\| {decision.reason} \|$", page, re.M
        )


def test_it_tells_how_to_run_it_again_and_what_to_compare(page: str):
    assert "```sh\nedgeprune prune-and-export resnet56-1d.pt --target host-cpu --seed 7 --out demo-run\n```" in page
    assert f"`pruned.onnx` | `{'2' * 64}`" in page
    assert "- runtime.version: 1.20.1" in page
    assert "- ram: 8.00 GB" in page
    assert "the class AM-SSB of this data set holds only noise" in page


def test_tables_are_tables_for_a_markdown_reader(page: str):
    elements = rendered(page)
    assert elements.names.count("table") == 6
    assert elements.names.count("h1") == 1
    assert "|" not in elements.text.replace("|Δlogit|", "")


def test_what_was_not_measured_has_no_row():
    page = markdown.render(parse(document(bench=None, accuracy=None, training=None), "test"))
    assert "Latency was not measured." in page
    for absent in ("Top-1", "Median latency", "Speed-up", "SNR"):
        assert absent not in page


@pytest.mark.parametrize("name", HOSTILE)
def test_names_show_as_they_are_whatever_they_hold(name: str):
    flat = " ".join(name.split())
    for text in (markdown.escape(name), f"| {markdown.escape(name)} | x |\n| --- | --- |"):
        elements = rendered(text)
        assert flat in elements.text
        assert set(elements.names) <= {"p", "table", "thead", "tbody", "tr", "th"}
    assert rendered(markdown.code(name)).text.strip() == flat
    assert rendered(f"| {markdown.code(name, in_table=True)} | x |\n| --- | --- |").text.split("\n")[3] == flat


def test_hostile_names_leave_the_page_whole():
    units = tuple(
        dataclasses.replace(one, path=HOSTILE[one.index % 11], reason=HOSTILE[-1]) for one in plan().decisions
    )
    hostile = build(
        evidence(plan=dataclasses.replace(plan(), decisions=units)),
        origin(model="<b>x</b>|`", target="**t**", commands=("```", "</code>"), warnings=HOSTILE),
    )
    elements = rendered(markdown.render(parse(hostile, "test")))
    assert {"script", "b", "img", "a", "em", "strong", "s"} & set(elements.names) == set()
    assert elements.names.count("table") == 6


def test_whether_frames_are_taken_for_independent_is_said(page: str):
    assert "It is not known which frames belong together. The intervals assume that frames are independent" in page
    plain = document()
    plain["accuracy"]["groups"] = 110
    plain["accuracy"]["baseline"]["design_effect"] = 2.517
    plain["accuracy"]["pruned"]["design_effect"] = 3.0
    grouped = markdown.render(parse(plain, "test"))
    assert "The frames come in 110 groups" in grouped
    assert "design effects 2.52 and 3" in grouped
    plain["accuracy"]["groups"] = plain["accuracy"]["frames"]
    assert "Every frame comes from a separate stream." in markdown.render(parse(plain, "test"))
