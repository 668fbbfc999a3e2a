"""The pages of a comparison: what they say, and that they are what they claim to be."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import comparisons
import pytest
from markdown_it import MarkdownIt

from edgeprune.compare.report import columns, folder, html, pareto
from edgeprune.compare.report import text as pages
from edgeprune.errors import ConfigError
from edgeprune.files.store import to_plain


@pytest.fixture(scope="module")
def usual():
    return comparisons.usual()


@pytest.fixture(scope="module")
def page(usual):
    return html.render(usual, pareto.plot(usual))


def cells_of(usual):
    return {columns.name(line.row): dict(zip(columns.HEADER, line.cells, strict=True)) for line in lines_of(usual)}


def lines_of(usual):
    return [line for group in columns.groups(usual) for line in group.lines]


def test_the_table_has_the_columns_of_the_paper_in_its_numbers():
    model = comparisons.unpruned(top1=0.6206, params=852_795, macs=41_620_160, flops=41_923_264)
    cell = comparisons.cell("edgeprune", top1=0.6110, params=93_635, macs=5_000_000, flops=5_103_264, ratio=0.86)
    shown = cells_of(comparisons.comparison([cell], models=[model]))["net, edgeprune, 86 %"]
    assert (shown["Original, %"], shown["Pruned, %"], shown["Δ, points"]) == ("62.06", "61.10", "−0.96")
    assert (shown["ΔFLOPs"], shown["ΔParams"]) == ("−36.82 M", "−759.16 k")
    assert (shown["FLOPs PR, %"], shown["Params PR, %"], shown["MACs"]) == ("87.8", "89.0", "5.00 M")


def test_seeds_are_a_mean_and_a_deviation(usual):
    shown = cells_of(usual)["net, edgeprune, 67 %"]
    assert shown["Pruned, %"] == "92.20 ± 0.28"
    assert shown["Δ, points"] == "−0.80 ± 0.28"
    assert shown["Latency, ms"] == "0.2000"
    assert shown["Speed-up"] == "5.00×"


def test_a_method_with_a_failed_seed_says_so_and_why(usual, page):
    assert cells_of(usual)["net, random, 67 %"]["Method"] == "random (2 of 3 seeds)"
    for text in (page, pages.markdown(usual)):
        assert "net--x--random--r0.67--s2" in text
        assert "training diverged in epoch 1" in text


def test_only_the_best_of_a_group_is_bold(usual):
    best = {(columns.name(line.row), columns.HEADER[place]) for line in lines_of(usual) for place in line.best}
    assert {each for each in best if "67 %" in each[0]} == {
        ("net, edgeprune, 67 %", "Pruned, %"),
        ("net, edgeprune, 67 %", "Latency, ms"),
    }


def test_findings_name_the_winners_and_the_front(usual):
    said = columns.findings(usual)
    assert said[0].endswith("edgeprune is the most accurate (92.20 ± 0.28 %), and the fastest (0.2000 ms)")
    assert said[-1].endswith("ulcnn, from scratch; net, edgeprune, 67 %; net, train-on")


def test_methods_of_equal_accuracy_are_not_called_winners():
    cells = [comparisons.cell(name, median_ms=ms, speedup=1 / ms) for name, ms in (("a", 0.3), ("b", 0.2), ("c", 0.4))]
    said = columns.findings(comparisons.comparison(cells))[0]
    assert said.endswith("all 3 methods are equally accurate (90.00 %), b the fastest (0.2000 ms)")


def test_markdown_tables_are_tables(usual):
    tokens = MarkdownIt().enable("table").parse(pages.markdown(usual))
    rows = [token for token in tokens if token.type == "tr_open"]
    assert len([token for token in tokens if token.type == "table_open"]) == len(columns.groups(usual)) + 2
    assert len(rows) == sum(len(group.lines) + 1 for group in columns.groups(usual)) + 2 + 1 + len(usual.rows)
    widths = re.findall(r"^\|(.*)\|$", pages.markdown(usual).split("## Failed")[0], flags=re.MULTILINE)
    assert {len(re.split(r"(?<!\\)\|", line)) for line in widths} == {len(columns.HEADER)}


def test_names_cannot_break_out_of_a_page():
    odd = comparisons.comparison(
        [comparisons.cell("a|b", subject="n<i>_$%&#{x}\\")],
        models=[comparisons.unpruned(model="n<i>_$%&#{x}\\")],
        title="<script>alert(1)</script> 50 % & more",
        lost=[comparisons.failed("c", reason="| <b>bold</b>")],
    )
    page = html.render(odd, pareto.plot(odd))
    assert "<script" not in page
    assert "<b>bold" not in page
    text = pages.latex(odd)
    assert r"n<i>\_\$\%\&\#\{x\}\textbackslash{}" in text
    assert "50 \\% \\& more" in text
    assert r"a\|b" in pages.markdown(odd)


def test_latex_has_as_many_cells_in_every_line(usual):
    text = pages.latex(usual)
    body = text.split(r"\toprule")[1].split(r"\bottomrule")[0]
    lines = [line for line in body.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
    assert {len(re.split(r"(?<!\\)&", line)) for line in lines} == {len(columns.HEADER)}
    assert len(lines) == 1 + len(usual.rows)
    assert text.isascii()
    assert r"\textbf{92.20 $\pm$ 0.28}" in text


class Tags(HTMLParser):
    """Which tags are open, and what a page wants from elsewhere."""

    VOID = ("meta", "br", "link", "img", "input")

    def __init__(self):
        super().__init__()
        self.open, self.wanted, self.ids = [], [], []

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)
        about = dict(attrs)
        self.ids += [about["id"]] if "id" in about else []
        self.wanted += [about[key] for key in ("src", "href", "xlink:href") if key in about]

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_from_elsewhere(page):
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert len(tags.ids) == len(set(tags.ids))
    assert {target for target in tags.wanted if not target.startswith("#")} == {"./compare.json"}
    assert {"pareto", "methods", "curves", "kept"} <= set(tags.ids)


def test_plots_that_were_not_asked_for_are_not_drawn():
    plain = comparisons.comparison([comparisons.cell("edgeprune")], plots=())
    tags = Tags()
    tags.feed(html.render(plain, pareto.plot(plain)))
    assert not {"methods", "curves", "kept"} & set(tags.ids)


def test_the_pareto_plot_is_a_file_of_its_own(usual):
    text = html.standalone(pareto.plot(usual))
    root = ElementTree.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    defined = set(re.findall(r"(--\w+):", text))
    assert set(re.findall(r"var\((--\w+)\)", text)) <= defined
    drawn = {node.text for node in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"1", "2 train-on", "3 edgeprune 67 %", "4", "6 ulcnn"} <= drawn


def test_an_accuracy_far_below_the_best_does_not_squeeze_the_plot(usual):
    drawn = ElementTree.fromstring(html.standalone(pareto.plot(usual)))
    texts = {node.text for node in drawn.iter("{http://www.w3.org/2000/svg}text")}
    assert "5: 70.2 %" in texts
    assert not {"70", "75", "80"} & texts


def test_figures_are_read_back_as_they_were_written(usual, tmp_path):
    folder.write(tmp_path, usual)
    assert {file.name for file in tmp_path.iterdir()} == {
        "compare.json",
        "compare.md",
        "compare.tex",
        "compare.html",
        "pareto.svg",
    }
    assert to_plain(folder.load(tmp_path)) == to_plain(usual)
    (tmp_path / "compare.json").write_text('{"schema": "edgeprune-compare/99"}')
    with pytest.raises(ConfigError, match="compare/99"):
        folder.load(tmp_path)
