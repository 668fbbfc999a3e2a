"""What was asked for beside a number of units: in report.json, on the pages, and whether it holds."""

import dataclasses

import pytest
from fake_run import bench, chain, evidence, origin, sha

from edgeprune.records.constraints import AccuracyBound, LatencyPlan, Narrowing, Timing
from edgeprune.records.results import Trial
from edgeprune.report.document import build
from edgeprune.report.pages import html, markdown, requirements
from edgeprune.report.pages.requirements import sections, unmet
from edgeprune.report.schema.json import parse
from edgeprune.text.numerals import told_apart

MEASURED_MS = bench().pruned.median_ms  # about half a millisecond


def timing(units, ratio, predicted_ms=None):
    return Timing(tuple(range(units)), sha("7"), 1.4 * ratio, 1.4, ratio, (ratio, ratio), "latency/x.npz", predicted_ms)


def plan(budget_ms=0.6, candidates=True):
    chosen = (timing(11, 0.43, 0.58), timing(8, 0.36, 0.5)) if candidates else ()
    costs = dict.fromkeys(range(1, 28), 0.05) if candidates else {}
    kept = tuple(range(8))
    probes = (timing(2, 0.1),)
    return LatencyPlan("host-cpu", "fp32", 1, budget_ms, 1.4, 0.14, costs, probes, chosen, kept, 0.5)


def bound(drop=0.004, trials=()):
    return AccuracyBound(0.005, 0.91, Trial(8, 0.91 - drop, drop), trials)


def narrowing():
    sizes = {"stem": ((2, 16), (2, 12)), "blocks.0.conv1": ((16, 16), (12, 8))}
    return Narrowing("l1", 12, 2 * chain((0, 5, 28)).macs, sizes, chain((0, 5, 28)))


def document(**changes):
    return build(evidence(**changes), origin())


def test_what_was_not_asked_for_is_absent():
    plain = document()
    assert {"latency_plan", "accuracy_bound", "width"}.isdisjoint(plain)
    assert {"budget_ms", "predicted_ms"}.isdisjoint(plain["latency"])
    assert sections(parse(plain, "test")) == []


def test_the_latency_budget_in_the_document():
    plain = document(latency_plan=plan())
    assert (plain["latency"]["budget_ms"], plain["latency"]["predicted_ms"]) == (0.6, 0.5)
    assert plain["latency_plan"]["costs_ms"]["27"] == 0.05
    assert [each["units"] for each in plain["latency_plan"]["candidates"]] == [11, 8]
    assert "predicted_ms" not in plain["latency_plan"]["probes"][0]


def test_a_budget_that_holds_is_not_in_the_verdict():
    report = parse(document(latency_plan=plan(), bound=bound()), "test")
    assert unmet(report) == []
    assert requirements.sentence(report) == requirements.sentence(parse(document(), "test"))


def test_a_median_over_the_budget_is_in_the_verdict_and_the_warnings():
    plain = document(latency_plan=plan(budget_ms=0.4))
    report = parse(plain, "test")
    said = f"The pruned network is over the latency budget: its median is {MEASURED_MS:.3f} ms, above 0.400 ms"
    assert unmet(report) == [said]
    assert plain["warnings"][-1] == said
    assert requirements.sentence(report).endswith(f"p = 0.21). {said}.")


def test_a_loss_above_the_bound_is_in_the_verdict_and_the_warnings():
    plain = document(bound=bound(drop=0.0125))
    said = (
        "The pruned network is less accurate than required: "
        "it loses 1.2 percentage points on the validation split, more than 0.50"
    )
    assert unmet(parse(plain, "test")) == [said]
    assert said in plain["warnings"]


def test_a_budget_without_a_measurement_is_not_called_broken():
    report = parse(document(bench=None, latency_plan=plan(budget_ms=0.4)), "test")
    assert unmet(report) == []


@pytest.mark.parametrize(
    ("numbers", "texts"),
    [((0.5, 0.4), ("0.500", "0.400")), ((0.50012, 0.5), ("0.5001", "0.5000")), ((2.0, 2.0), ("2.00", "2.00"))],
)
def test_two_numbers_are_told_apart(numbers, texts):
    assert told_apart(*numbers) == texts


def test_both_pages_say_all_of_it():
    trials = (Trial(15, 0.909, 0.001), Trial(8, 0.906, 0.004))
    report = parse(document(latency_plan=plan(), bound=bound(trials=trials), narrowing=narrowing()), "test")
    text = markdown.render(report)
    page = html.render(report, None).replace("\u00a0", " ")
    for said in ("at most 0.600 ms", "Predicted: 0.500 ms", f"Measured after fine-tuning: {MEASURED_MS:.3f} ms"):
        assert said in text
        assert said in page
    assert "| candidate | 8 | 0.500 ms | 0.504 ms | 36.0 % |" in text
    assert "| probe | 2 |  | 0.140 ms | 10.0 % |" in text
    assert "| 15 | 90.9 % | 0.1 |" in text
    assert "l1 removed 12 output channels" in text
    assert "| blocks.0.conv1 | 16 → 16 | 12 → 8 |" in text
    for title in ("Latency budget", "Accuracy bound", "Width"):
        assert f"## {title}\n" in text
        assert f"<h2>{title}</h2>" in page
    assert page.count("16 → 16") == 1


def test_the_share_of_macs_after_the_width_is_that_of_the_network_before_it():
    left = narrowing()
    report = parse(document(narrowing=left, after=left.chain), "test")
    assert "50.0 % of the MACs are left" in sections(report)[0].text


def test_a_budget_under_which_nothing_had_to_go_says_so():
    report = parse(document(latency_plan=dataclasses.replace(plan(candidates=False), budget_ms=2.0)), "test")
    assert "The unpruned network is within the budget: nothing was dropped." in sections(report)[0].text
