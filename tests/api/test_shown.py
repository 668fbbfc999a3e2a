"""How results show themselves."""

import io
from html.parser import HTMLParser

import pytest
import synthetic
from matplotlib.figure import Figure
from matplotlib.image import imread

import edgeprune as ep
from edgeprune.api.tables import Table


class Cells(HTMLParser):
    """Collects the rows of a table, and every tag that is not one of a table's."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.others = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        else:
            self.others.add(tag)

    def handle_data(self, data):
        if self.rows:
            self.rows[-1][-1] += data


TABLE = Table("two <b>units</b>", ("unit", "path"), [("0", "stem"), ("10", "<script>alert(1)</script>")], ("unit",))


def test_a_table_as_text_is_aligned():
    assert TABLE.text() == "two <b>units</b>\nunit  path\n   0  stem\n  10  <script>alert(1)</script>"


def test_a_table_in_html_runs_nothing_of_what_it_shows():
    found = Cells(TABLE.html())
    assert found.rows == [["unit", "path"], ["0", "stem"], ["10", "<script>alert(1)</script>"]]
    assert found.others == {"p", "b", "table", "thead", "tbody"}
    assert TABLE.html().count("<b>") == 1


def test_a_long_table_is_cut_where_it_is_looked_at_and_kept_whole():
    table = Table("many", ("n",), [(str(number),) for number in range(100)])
    assert table.text().splitlines()[-2:] == ["59", "… and 40 more"]
    assert len(Cells(table.html()).rows) == 61
    assert len(table.rows) == 100


def test_every_result_is_shown_as_the_same_table_in_text_and_html(model, frames):
    plan = ep.plan(model, frames, keep_ratio=0.4)
    shown = [model, ep.units(model), plan, ep.evaluate(model, frames)]
    for result in shown:
        cells = [cell for row in Cells(result._repr_html_()).rows for cell in row]
        assert cells
        assert [cell for cell in cells if cell.strip() not in repr(result)] == []


def test_units_are_a_sequence(model):
    chain = ep.units(model)
    assert len(chain) == len(list(chain)) == len(chain.units)
    assert [chain[place].index for place in range(len(chain))] == list(range(len(chain)))
    assert repr(chain).startswith(
        f"{len(chain)} units, {len(chain.droppable)} droppable; {model.parameters:,} parameters"
    )


@pytest.mark.parametrize("what", ["plan", "accuracy"])
def test_a_plot_is_a_figure_that_a_notebook_shows(model, frames, what):
    result = ep.plan(model, frames, keep_ratio=0.4) if what == "plan" else ep.evaluate(model, frames)
    figure = result.plot()
    assert isinstance(figure, Figure)
    picture = imread(io.BytesIO(figure._repr_png_()), format="png")
    assert picture.shape[:2] == tuple(round(110 * inches) for inches in figure.get_size_inches()[::-1])
    assert picture.std() > 0.02
    axes = [each.get_xlabel() for each in figure.findobj(lambda artist: hasattr(artist, "get_xlabel"))]
    assert {"plan": "unit", "accuracy": "labeled SNR, dB"}[what] in axes


def test_results_are_frozen(model, frames):
    for result in (model, ep.units(model), ep.evaluate(model, frames)):
        with pytest.raises(AttributeError):
            result.name_that_nobody_gave = 1
        with pytest.raises(AttributeError):
            setattr(result, next(iter(vars(result))), None)


def test_an_accuracy_is_counted_by_hand(model, frames):
    found = ep.evaluate(model, frames, split="validation")
    x, y = model.tensors(frames, "validation")
    right = int((model.module(x).argmax(1) == y).sum())
    assert found.top1 == right / len(y)
    assert found.frames == len(y) == sum(sum(row) for row in found.confusion)
    assert found.classes == synthetic.CLASSES
