"""GitLab's metrics report: OpenMetrics text, which the merge request shows beside the target branch's."""

from edgeprune.gate.verdict import EXIT_CODES, Judgement, Verdict
from edgeprune.text.printable import printable

_UNITS = {
    "median_ms": "milliseconds",
    "p99_ms": "milliseconds",
    "onnx_bytes": "bytes",
    "engine_bytes": "bytes",
    "energy_mj": "millijoules",
}


def text(verdict: Verdict) -> str:
    """Build one metric a figure and one for the outcome, labeled by target and model."""
    names = list(dict.fromkeys(figure.name for each in verdict.judgements for figure in each.figures))
    lines = []
    for name in names:
        metric = f"edgeprune_{name.rpartition('_')[0]}_{_UNITS[name]}" if name in _UNITS else f"edgeprune_{name}"
        lines.append(f"# TYPE {metric} gauge")
        if name in _UNITS:
            lines.append(f"# UNIT {metric} {_UNITS[name]}")
        for judgement in verdict.judgements:
            lines += [f"{metric}{_labels(judgement)} {each.value!r}" for each in judgement.figures if each.name == name]
    lines.append("# TYPE edgeprune_check_exit_code gauge")
    lines += [f"edgeprune_check_exit_code{_labels(each)} {EXIT_CODES[each.outcome]}" for each in verdict.judgements]
    return "\n".join([*lines, "# EOF", ""])


def _labels(judgement: Judgement) -> str:
    label = printable(judgement.label).replace("\\", "\\\\").replace('"', '\\"')
    return f'{{report="{label}"}}'
