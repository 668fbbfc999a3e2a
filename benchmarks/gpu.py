"""What a GPU computes how fast: training beside bare loops, planning and accuracy beside the CPU, and the whole job.

    python benchmarks/gpu.py [--part training|inference|job ...] [--out FILE]

- Training: frames a second of a bare loop that launches every kernel, of one whose step is a CUDA graph, and of
  edgeprune's trainer, on resnet56-1d and resnet56 in batches of 256 and 1024, in turns in one run. All take the same
  steps: mixed precision, SGD, schedule and quarter turns. The trainer validates besides, on a tenth of the frames.
- Inference: similarity of 640 frames, every criterion, and answers to 11,000 frames, on the CPU and on the GPU.
- Job: `prune-and-export` of the shipped network with frames made from a recipe, by stage.

Without a GPU it ends with exit code 1, unless `--cpu` is given: then all of it runs on the CPU.
"""

import argparse
import dataclasses
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgeprune import registry
from edgeprune.network.cards import choose
from edgeprune.network.checkpoint import build
from edgeprune.network.compute import CPU, Compute
from edgeprune.protocols import Labelled, NullProgress, Subject
from edgeprune.prune.similarity import similarity_of
from edgeprune.prune.units.chain import layers_of
from edgeprune.records.pruning import Arch, InputSpec
from edgeprune.train import precision
from edgeprune.train.augment import rotate
from edgeprune.train.evaluate import predict
from edgeprune.train.feed import TrainingData
from edgeprune.train.finetune import Recipe, train
from edgeprune.train.step import cuda_graph

CLASSES, LENGTH, METRIC = 11, 128, "cka-unbiased"
EXAMPLE = Path(__file__).parents[1] / "examples" / "resnet56-1d-gr2016a.pt"
SHAPE = InputSpec(2, LENGTH)


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How much of everything is computed."""

    networks: tuple[str, ...] = ("resnet56-1d", "resnet56")
    batches: tuple[int, ...] = (256, 1024)
    steps: int = 40
    epochs: int = 3
    rounds: int = 3
    compared: int = 640
    judged: int = 4096
    answered: int = 11_000
    job_epochs: int = 5


TINY = Sizes(("resnet56-1d",), (8,), 2, 1, 1, 16, 24, 24, 1)


def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    return build(Arch(name, {"channels": 2, "length": LENGTH, "classes": CLASSES}))


def signals(count: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    iq = torch.randn(count, 2, LENGTH, generator=generator)
    return iq, torch.randint(0, CLASSES, (count,), generator=generator)


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def bare(model: nn.Module, iq: Tensor, labels: Tensor, batch: int, epochs: int, as_graph: bool) -> None:
    """A loop of the same steps and nothing else; captured, the weights are updated outside of the graph."""
    device, steps = iq.device, epochs * len(iq) // batch
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.2, momentum=0.9, nesterov=True, weight_decay=5e-4, fused=device.type == "cuda" or None
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.2, total_steps=steps + 1)
    frames, wanted = torch.empty_like(iq[:batch]), torch.empty_like(labels[:batch])
    model.train()

    def work() -> Tensor:
        optimizer.zero_grad()
        with precision.autocast(device):
            logits = model(frames)
        loss = functional.cross_entropy(logits.float(), wanted)
        loss.backward()
        return loss

    again = cuda_graph(work)[1] if as_graph else work
    for _ in range(epochs):
        for chosen in torch.randperm(len(iq), device=device).split(batch):
            frames.copy_(rotate(iq[chosen], torch.randint(0, 4, (len(chosen),), device=device)))
            wanted.copy_(labels[chosen])
            again()
            optimizer.step()
            schedule.step()
    wait(device)


def training(compute: Compute, sizes: Sizes) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    device = torch.device(compute.device)
    for name in sizes.networks:
        for batch in sizes.batches:
            count = batch * sizes.steps
            iq, labels = (each.to(device) for each in signals(count))
            way = precision.Way(mixed := precision.mixed(device), channels_last=mixed != "no")
            few = max(2, count // 10)
            data = TrainingData(iq, labels, iq[:few], labels[:few])
            loop = partial(bare, iq=iq, labels=labels, batch=batch, epochs=sizes.epochs)
            works: dict[str, Callable[[nn.Module], object]] = {
                "eager": partial(loop, as_graph=False),
                "edgeprune": partial(train, data=data, recipe=Recipe(sizes.epochs, batch), progress=NullProgress()),
            }
            if compute.on_gpu:
                works["graph"] = partial(loop, as_graph=True)
            seconds: dict[str, list[float]] = {work: [] for work in works}
            for turn in range(sizes.rounds + 1):
                for work, learn in works.items():
                    with compute.lent(model := network(name)), precision.laid_out({model: way}):
                        began = time.perf_counter()
                        learn(model)
                        wait(device)
                        seconds[work].append(time.perf_counter() - began)
                        del seconds[work][: turn == 0]  # the first warms up
            rates = {work: sizes.epochs * count / statistics.median(times) for work, times in seconds.items()}
            found.append({"network": name, "batch": batch, "frames_per_s": rates, "seconds": seconds})
            share = f", {rates['edgeprune'] / rates['graph']:.2f} of the graph's" if "graph" in rates else ""
            print(f"{name}, batch {batch}: {', '.join(f'{work} {rate:,.0f}' for work, rate in rates.items())}{share}")
    return found


def inference(compute: Compute, sizes: Sizes) -> dict[str, dict[str, float]]:
    model = network("resnet56-1d").eval()
    chain = layers_of(model, SHAPE, "benchmark")
    iq, labels = signals(max(sizes.compared, sizes.judged, sizes.answered))
    judged = Labelled(iq[: sizes.judged], labels[: sizes.judged])
    subject = Subject(model, chain, SHAPE, judged, judged, 0, NullProgress())
    parts, metric = list(iq[: sizes.compared].split(128)), registry.get("similarity", METRIC)
    raw = iq[: sizes.answered].numpy()
    works: dict[str, Callable[[], object]] = {
        "similarity": lambda: similarity_of(model, chain, parts, metric, METRIC, "benchmark", NullProgress()),
        "predict": lambda: predict(model, raw, SHAPE, NullProgress(), "frames"),
    }
    for name in registry.names("criteria"):
        works[name] = partial(registry.get("criteria", name).scores, subject)
    found = {}
    for what, work in works.items():
        seconds = {place.device: timed(work, place, model, sizes.rounds) for place in (CPU, compute)}
        found[what] = seconds
        print(f"{what}: {', '.join(f'{place} {value:.3f} s' for place, value in seconds.items())}")
    return found


def timed(work: Callable[[], object], place: Compute, model: nn.Module, rounds: int) -> float:
    """Seconds of some work with a network lent to a place, the median of rounds after a first one."""
    seconds = []
    for _ in range(rounds + 1):
        with place.lent(model):
            began = time.perf_counter()
            work()
            wait(torch.device(place.device))
            seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:])


def job(compute: Compute, sizes: Sizes) -> dict[str, float]:
    """Seconds of every stage of the whole job, by the times at which their records were written."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        began = time.time()
        subprocess.run(
            [
                *(sys.executable, "-m", "edgeprune", "prune-and-export", str(EXAMPLE), "--target", "host-cpu"),
                *("--compute", compute.device, "--epochs", str(sizes.job_epochs), "--out", str(out)),
            ],
            check=True,
        )
        written = sorted((file.stat().st_mtime, file.stem) for file in out.glob("[0-9][0-9]-*.json"))
    seconds, before = {}, began
    for moment, stage in written:
        seconds[stage], before = moment - before, moment
        print(f"{stage}: {seconds[stage]:.1f} s")
    return seconds


PARTS: dict[str, Callable[[Compute, Sizes], object]] = {"training": training, "inference": inference, "job": job}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", action="append", choices=PARTS, help="Part to run; can be repeated.  [default: all]")
    parser.add_argument("--tiny", action="store_true", help="Little of everything, to see that it runs.")
    parser.add_argument("--cpu", action="store_true", help="All on the CPU, to see that it runs.")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    compute = choose("cpu" if arguments.cpu else "auto")
    if not (arguments.cpu or compute.on_gpu):
        sys.exit(f"no GPU: PyTorch {torch.__version__} sees none here")
    print(compute.sentence)
    sizes = TINY if arguments.tiny else Sizes()
    result: dict[str, object] = {"compute": dataclasses.asdict(compute), "sizes": dataclasses.asdict(sizes)}
    for part in arguments.part or PARTS:
        result[part] = PARTS[part](compute, sizes)
        if arguments.out:  # after each, so that what was measured stays if a later part fails
            arguments.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
