from fake_run import document

from edgeprune.report.pages import html, markdown, tables
from edgeprune.report.schema.json import parse


def timed(*times):
    total = sum(times)
    return [{"name": f"layer<{number}>", "mean_ms": ms, "share": ms / total} for number, ms in enumerate(times)]


def report(**both):
    return parse({**document(), "layers": both}, "test")


def test_the_slowest_layers_of_both_networks_are_shown_and_the_others_summed():
    before, after = tables.slowest_layers(report(baseline=timed(*range(10, 0, -1)), pruned=timed(0.03, 0.01)))
    assert [row[1:] for row in before.rows[:2]] == [("18.2 %", "10.0 ms"), ("16.4 %", "9.00 ms")]  # of 55 ms
    assert before.rows[-1] == ("the other 2", "5.5 %", "3.00 ms")
    assert len(before.rows) == 9
    assert "10 layers" in before.text
    assert "55.0 ms" in before.text
    assert [row[1:] for row in after.rows] == [("75.0 %", "0.0300 ms"), ("25.0 %", "0.0100 ms")]


def test_long_names_keep_their_ends():
    name = "{ForeignNode[/first/Conv" + "." * 400 + "/last/Gemm]}"
    (section,) = tables.slowest_layers(report(pruned=[{"name": name, "mean_ms": 1.0, "share": 1.0}]))
    shown = section.rows[0][0]
    assert shown.startswith("{ForeignNode[/first/Conv")
    assert shown.endswith("/last/Gemm]}")
    assert len(shown) <= 72


def test_both_pages_show_them_and_names_are_names():
    page = report(baseline=timed(2.0, 1.0))
    assert "| layer\\<0\\> | 66.7 % | 2.00 ms |" in markdown.render(page)
    assert "layer&lt;0&gt;" in html.render(page, None)


def test_without_them_nothing_is_said():
    assert tables.slowest_layers(parse(document(), "test")) == []
