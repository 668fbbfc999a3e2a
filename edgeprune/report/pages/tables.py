"""The rows that report.md and report.html both show, as text. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from edgeprune.records.results import Energy, LayerTime, Rate
from edgeprune.report.pages.requirements import Section
from edgeprune.report.schema.measured import AccuracyOf, AccuracySection, DeviceAccuracySection, LatencySection
from edgeprune.report.schema.schema import Artifact, ComputeSection, OnnxFacts, Report, Size
from edgeprune.text import numerals as n


@dataclass(frozen=True)
class Row:
    """One figure before and after pruning; `change` is after against before."""

    label: str
    before: str
    after: str
    change: str


@dataclass(frozen=True)
class RateRow:
    """Accuracy on the frames of one SNR or one class: `change` in percentage points."""

    label: str
    frames: str
    before: str
    before_ci95: str
    after: str
    after_ci95: str
    change: str


def comparison(report: Report) -> list[Row]:
    """Make the table of before and after, without rows for figures that were not measured."""
    before, after, size = report.baseline, report.pruned, report.size
    return [
        *_accuracy_rows("Top-1 accuracy", report.accuracy),
        *_accuracy_rows("Top-1 on the device", report.device_accuracy),
        *_latency_rows(report),
        *_energy_rows(report.energy),
        Row("Units", n.count(before.units), n.count(after.units), n.relative(before.units, after.units)),
        Row("Parameters", n.count(before.params), n.count(after.params), n.relative(before.params, after.params)),
        Row("MACs per frame", n.scaled(before.macs), n.scaled(after.macs), n.relative(before.macs, after.macs)),
        Row(
            "ONNX file",
            n.size(size.baseline_bytes),
            n.size(size.pruned_bytes),
            n.relative(size.baseline_bytes, size.pruned_bytes),
        ),
        *_engine_rows(size),
    ]


def _accuracy_rows(label: str, accuracy: AccuracySection | None) -> list[Row]:
    if accuracy is None:
        return []
    gain = (-accuracy.drop_ci95[1], -accuracy.drop_ci95[0])
    change = f"{n.points(-accuracy.drop, plus=True)} points ({n.points_interval(gain, plus=True)})"
    return [Row(label, _rate(accuracy.baseline), _rate(accuracy.pruned), change)]


def intervals(accuracy: AccuracySection) -> str:
    """State in a sentence what the intervals of accuracy assume to be independent."""
    if accuracy.groups is None:
        return (
            "It is not known which frames belong together. The intervals assume that frames are independent; if they "
            "are not, those of the accuracy are too narrow."
        )
    if accuracy.groups == accuracy.frames:
        return "Every frame comes from a separate stream."
    effects = [each.design_effect for each in (accuracy.baseline, accuracy.pruned) if each.design_effect is not None]
    grown = " and ".join(n.significant(effect) for effect in effects)
    return (
        f"The frames come in {n.count(accuracy.groups)} groups, and frames of a group are not independent. The "
        f"intervals account for this" + (f" (design effects {grown})." if effects else ".")
    )


def _rate(accuracy: AccuracyOf) -> str:
    return f"{n.percent(accuracy.top1)} ({n.percent_interval(accuracy.ci95)})"


def _latency_rows(report: Report) -> list[Row]:
    latency = report.latency
    if latency is None:
        return []
    before, after = latency.baseline, latency.pruned
    times = [
        ("Median latency", before.median_ms, after.median_ms if after else None),
        ("90th percentile", before.p90_ms, after.p90_ms if after else None),
        ("99th percentile", before.p99_ms, after.p99_ms if after else None),
    ]
    rows = [_time_row(label, was_ms, is_ms) for label, was_ms, is_ms in times if was_ms or is_ms]
    if latency.speedup is not None and latency.speedup_ci95 is not None:
        ratio, low, high = n.ratios((latency.speedup, *latency.speedup_ci95))
        rows.append(Row("Speed-up", "1×", f"{ratio}×", f"95 % interval {low} to {high}"))
    if after is not None:
        was, now = (1000 * latency.batch / each.median_ms for each in (before, after))
        rows.append(Row("Frames a second", n.count(round(was)), n.count(round(now)), n.relative(was, now)))
    return rows


def _energy_rows(energy: Energy | None) -> list[Row]:
    if energy is None or energy.pruned is None:
        return []
    pairs = [
        ("Energy per inference", energy.baseline.energy_mj, energy.pruned.energy_mj),
        ("Energy above idle", energy.baseline.net_energy_mj, energy.pruned.net_energy_mj),
    ]
    return [
        Row(label, f"{n.significant(was)} mJ", f"{n.significant(now)} mJ", n.relative(was, now) if was else "")
        for label, was, now in pairs
        if was is not None and now is not None
    ]


def _engine_rows(size: Size) -> list[Row]:
    was, now = size.baseline_engine_bytes, size.pruned_engine_bytes
    return [] if not was or not now else [Row("Engine", n.size(was), n.size(now), n.relative(was, now))]


def _time_row(label: str, before_ms: float | None, after_ms: float | None) -> Row:
    was, now = (n.milliseconds(time_ms) if time_ms else "not measured" for time_ms in (before_ms, after_ms))
    return Row(label, was, now, n.relative(before_ms, after_ms) if before_ms and after_ms else "")


def by_snr(accuracy: AccuracySection) -> list[RateRow]:
    """List the accuracy at each labeled SNR, lowest first; empty if the frames have none."""
    after = accuracy.pruned.at_snr()
    return [_rate_row(n.signed(snr), rate, after[snr]) for snr, rate in accuracy.baseline.at_snr().items()]


def by_class(accuracy: AccuracySection) -> list[RateRow]:
    """List the accuracy on the frames of each class."""
    after = accuracy.pruned.of_class()
    return [_rate_row(name, rate, after[name]) for name, rate in accuracy.baseline.of_class().items()]


def _rate_row(label: str, before: Rate, after: Rate) -> RateRow:
    return RateRow(
        label=label,
        frames=n.count(before.frames),
        before=n.percent(before.top1),
        before_ci95=n.percent_interval(before.ci95),
        after=n.percent(after.top1),
        after_ci95=n.percent_interval(after.ci95),
        change=n.points(after.top1 - before.top1, plus=True),
    )


def measurement(report: Report) -> list[tuple[str, str]]:
    """Describe the latency measurement as (name, value); empty if there was none."""
    latency = report.latency
    if latency is None:
        return []
    samples = n.count(latency.baseline.samples)
    if latency.pruned is not None:
        samples += f" before, {n.count(latency.pruned.samples)} after"
    return [
        ("Target", report.target),
        ("Runtime", latency.runtime),
        ("Precision", latency.precision),
        ("Batch", n.count(latency.batch)),
        ("Threads", n.count(latency.threads)),
        ("Mode", latency.mode),
        ("Rounds", n.count(latency.rounds)),
        ("Samples", samples),
        *_processes(latency),
        *_agreement(report.device_accuracy),
    ]


def _processes(latency: LatencySection) -> list[tuple[str, str]]:
    """Give the number of processes and, if each has several rounds, the result of each process."""
    if latency.processes is None or latency.process_of_round is None:
        return []
    if latency.processes == latency.rounds:
        return [("Processes", f"{n.count(latency.processes)}, one per round")]
    rows = [("Processes", f"{n.count(latency.processes)}, each with the networks loaded anew")]
    for number in dict.fromkeys(latency.process_of_round):
        before, after = (
            [ms for ms, of in zip(each.round_medians_ms, latency.process_of_round, strict=True) if of == number]
            for each in (latency.baseline, latency.pruned or latency.baseline)
        )
        told = f"{len(before)} rounds, {n.milliseconds(median(before))}"
        if latency.pruned is not None:
            ratio = median([was / now for was, now in zip(before, after, strict=True)])
            told += f" before, {n.milliseconds(median(after))} after, {n.significant(ratio)}×"
        rows.append((f"Process {number}", told))
    return rows


def _agreement(accuracy: DeviceAccuracySection | None) -> list[tuple[str, str]]:
    """Compare the outputs of the device with those of the same files on the host."""
    if accuracy is None:
        return []
    before, after = accuracy.agreement.baseline, accuracy.agreement.pruned
    same = f"{n.percent(before.top1)} of frames before, {n.percent(after.top1)} after"
    off = f"{before.max_abs_logit_difference:.1e} before, {after.max_abs_logit_difference:.1e} after"
    return [("Same class as on the host", same), ("Largest |Δlogit| to the host", off)]


def device_facts(report: Report) -> list[tuple[str, str]]:
    """List the facts of the device, nested ones joined by dots."""
    return _flat("", report.device or {})


def energy_facts(report: Report) -> list[tuple[str, str]]:
    """List the readings of the board's meters."""
    energy = report.energy
    if energy is None:
        return []
    rows = [("Rails", " + ".join(energy.rails))]
    rows += [("Idle", f"{n.significant(energy.idle_w)} W")] if energy.idle_w is not None else []
    parts = [("before", energy.baseline), ("after", energy.pruned)]
    return [*rows, *((f"Power {when}", f"{n.significant(part.power_w)} W") for when, part in parts if part)]


def _flat(name: str, value: object) -> list[tuple[str, str]]:
    """Facts as (name, text): nested names joined by dots, lists on one line, sizes in bytes scaled."""
    if isinstance(value, dict):
        nested = [_flat(f"{name}.{key}" if name else str(key), inner) for key, inner in value.items()]
        return [pair for pairs in nested for pair in pairs]
    if isinstance(value, list):
        return [(_spelled(name), ", ".join(text for item in value for _, text in _flat("", item)))]
    if isinstance(value, bool):
        return [(_spelled(name), "yes" if value else "no")]
    if isinstance(value, int) and name.endswith("_bytes"):
        return [(_spelled(name.removesuffix("_bytes")), n.size(value))]
    return [(_spelled(name), str(value))]


def _spelled(name: str) -> str:
    return name.replace("_", " ")


def files(report: Report) -> list[tuple[str, Artifact]]:
    """List the files to deliver, as (description, file)."""
    artifacts = report.artifacts
    listed = [
        ("Original network, ONNX", artifacts.baseline_onnx),
        ("Pruned network, ONNX", artifacts.pruned_onnx),
        ("Pruned network, checkpoint", artifacts.pruned_checkpoint),
    ]
    others = [("Bundle for the device", artifacts.bundle), ("Engine for the target", artifacts.engine)]
    return [*listed, *((what, file) for what, file in others if file)]


def origin(report: Report) -> list[tuple[str, str]]:
    """List versions, seed and data, as (name, value)."""
    data = report.data
    rows = [
        ("Created", report.created),
        ("edgeprune", report.edgeprune_version),
        *report.packages.items(),
        ("Seed", str(report.seed)),
        ("Original checkpoint, sha256", report.baseline.sha256),
    ]
    if data is not None:
        rows += [
            ("Data", data.source),
            ("Data, sha256", data.sha256),
            ("Split", f"{data.split}, seed {data.split_seed}"),
        ]
    if data is not None and data.split_sha256:
        rows.append(("Split, sha256", data.split_sha256))
    if report.compute is not None:
        rows.append(("Networks ran on", _computed_on(report.compute)))
    return [*rows, ("git commit", report.git_commit)] if report.git_commit else rows


def _computed_on(compute: ComputeSection) -> str:
    known = [
        compute.name,
        f"compute capability {compute.capability}" if compute.capability else "",
        n.size(compute.memory_bytes) if compute.memory_bytes else "",
        f"driver {compute.driver}" if compute.driver else "",
        f"training in {compute.precision}",
    ]
    return ", ".join(each for each in known if each)


def exports(report: Report) -> list[Row]:
    """Describe the export of the two networks and its check against PyTorch."""
    before, after = report.onnx.baseline, report.onnx.pruned
    rows = [
        Row("Opset", str(before.opset), str(after.opset), ""),
        Row("Operators", n.count(before.nodes), n.count(after.nodes), n.relative(before.nodes, after.nodes)),
        Row("Simplified by", before.simplifier, after.simplifier, ""),
        Row("Largest |Δlogit| to PyTorch", _difference(before), _difference(after), ""),
        Row("Frames checked", n.count(before.checked_frames), n.count(after.checked_frames), ""),
        Row("Ties in PyTorch", n.count(before.tied_frames), n.count(after.tied_frames), ""),
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


_SHOWN = 8
_LONGEST = 72


def slowest_layers(report: Report) -> list[Section]:
    """List the slowest layers of each network; empty if the runtime does not report them."""
    if report.layers is None:
        return []
    both = (("before", report.layers.baseline), ("after", report.layers.pruned))
    return [_section(when, found) for when, found in both if found]


def _section(when: str, found: Sequence[LayerTime]) -> Section:
    shown, others = found[:_SHOWN], found[_SHOWN:]
    text = (
        f"Timed one by one, the {n.count(len(found))} layers of the engine take {n.milliseconds(_total_ms(found))} in "
        "total; the latencies above are those of the whole engine."
    )
    rows = [(_clipped(layer.name), n.percent(layer.share), n.milliseconds(layer.mean_ms)) for layer in shown]
    if others:
        share = n.percent(sum(layer.share for layer in others))
        rows.append((f"the other {n.count(len(others))}", share, n.milliseconds(_total_ms(others))))
    return Section(f"Slowest layers {when}", text, ("layer", "share", "mean"), tuple(rows))


def _total_ms(found: Sequence[LayerTime]) -> float:
    return sum(layer.mean_ms for layer in found)


def _clipped(name: str) -> str:
    """Cut the middle out of a long name; fused layers are named after all their parts."""
    if len(name) <= _LONGEST:
        return name
    half = (_LONGEST - 3) // 2
    return f"{name[:half]} … {name[-half:]}"
