"""The table of the two exports. Pure."""

from edgeprune.report.pages.tables import Row
from edgeprune.report.schema.schema import OnnxFacts, Report
from edgeprune.text import numerals as n


def exports(report: Report) -> list[Row]:
    """How the two networks were exported and checked against PyTorch."""
    before, after = report.onnx.baseline, report.onnx.pruned
    rows = [
        Row("Opset", str(before.opset), str(after.opset), ""),
        Row("Operators", n.count(before.nodes), n.count(after.nodes), n.relative(before.nodes, after.nodes)),
        Row("Simplified by", before.simplifier, after.simplifier, ""),
        Row("Largest |Δlogit| to PyTorch", _difference(before), _difference(after), ""),
        Row("Frames checked", n.count(before.checked_frames), n.count(after.checked_frames), ""),
        Row("Of them ties in PyTorch", n.count(before.tied_frames), n.count(after.tied_frames), ""),
    ]
    said = [
        Row("Same class at other gains", _gains(before), _gains(after), ""),
        Row("Precision", before.precision, after.precision, ""),
        Row("Calibrated", _calibrated(before), _calibrated(after), ""),
        Row("Kept out of int8", _kept(before), _kept(after), ""),
        Row("Exported by", before.exporter, after.exporter, ""),
        Row("Simplifier notes", "; ".join(before.simplifier_notes), "; ".join(after.simplifier_notes), ""),
    ]
    return [*rows, *(row for row in said if row.before or row.after)]


def _gains(facts: OnnxFacts) -> str:
    if not facts.gains:
        return ""
    gains, least = [check.gain for check in facts.gains], min(check.same_top1 for check in facts.gains)
    return f"{n.percent(least)} or more, from {min(gains):g} to {max(gains):g} times the gain"


def _calibrated(facts: OnnxFacts) -> str:
    made = facts.quantisation
    if made is None:
        return ""
    return f"{made.method}, {n.count(made.calibration_frames)} frames, sha256 {made.calibration_sha256[:12]}"


def _kept(facts: OnnxFacts) -> str:
    made = facts.quantisation
    if made is None or not made.kept:
        return ""
    return f"{len(made.kept)} of {len(made.kept) + made.quantised} layers, in {made.kept_in}: {', '.join(made.kept)}"


def _difference(facts: OnnxFacts) -> str:
    return f"{facts.max_abs_logit_difference:.1e}"
