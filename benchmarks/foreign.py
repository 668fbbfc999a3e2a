"""Networks that edgeprune has no code for, each taken through the whole job at one epoch.

    pip install pytorch-tcn conformer x-transformers timm torchvision
    python benchmarks/foreign.py [NAME...] --out FILE.json

Some are built by their authors' packages, the others are written anew and small from their papers. The frames are
made-up; what is shown is that the job runs, which units it finds and drops, and how long it takes, not an accuracy.
"""

import argparse
import copy
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

LENGTH, CLASSES = 128, 11
OPSET = 18
TARGET = f"""
name = "few-rounds"
description = "This machine's CPU, measured for a moment"
runtime = "onnxruntime"
opset = {OPSET}
precisions = ["fp32"]
batch = "dynamic"
threads = 1
bench = {{rounds = 16, round_ms = 10.0, warmup_ms = 50.0, processes = 2}}
"""
NAMES = "8PSK,AM-DSB,AM-SSB,BPSK,CPFSK,GFSK,PAM4,QAM16,QAM64,QPSK,WBFM"


class Around(nn.Module):
    """A network between what turns frames (N, 2, L) into its input, and its features into logits (N, classes)."""

    def __init__(self, before: nn.Module, network: nn.Module, after: nn.Module) -> None:
        super().__init__()
        self.before, self.network, self.after = before, network, after

    def forward(self, x: Tensor) -> Tensor:
        """Logits of frames."""
        logits: Tensor = self.after(self.network(self.before(x)))
        return logits


class Pooled(nn.Module):
    """The mean over time, which is an axis, and a linear layer of so many features."""

    def __init__(self, width: int, axis: int = -1) -> None:
        super().__init__()
        self.axis, self.fc = axis, nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of features."""
        logits: Tensor = self.fc(x.mean(self.axis))
        return logits


class Patches(nn.Module):
    """Patches of eight samples as a sequence (N, L/8, width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed = nn.Conv1d(2, width, 8, stride=8)

    def forward(self, x: Tensor) -> Tensor:
        """The patches of frames."""
        return self.embed(x).transpose(1, 2)


def tcn() -> nn.Module:
    """pytorch-tcn: dilated causal convolutions with weight norm and buffers for streaming."""
    from pytorch_tcn import TCN

    return Around(nn.Identity(), TCN(2, [16] * 5, kernel_size=3), Pooled(16))


def conformer() -> nn.Module:
    """conformer: attention, convolution and feed-forward layers, four shortcuts a block."""
    from conformer import Conformer

    return Around(Patches(32), Conformer(32, depth=3, heads=4, dim_head=8, conv_kernel_size=7), Pooled(32, axis=1))


def x_transformers() -> nn.Module:
    """x-transformers: an encoder of three blocks with rotary positions."""
    from x_transformers import ContinuousTransformerWrapper, Encoder

    layers = Encoder(dim=32, depth=3, heads=4, attn_dim_head=8, rotary_pos_emb=True)
    return Around(Patches(32), ContinuousTransformerWrapper(max_seq_len=16, attn_layers=layers), Pooled(32, axis=1))


def efficientnet() -> nn.Module:
    """timm: EfficientNet-B0 over the frame as an image of two rows."""
    import timm

    return Around(
        nn.Unflatten(1, (1, 2)), timm.create_model("efficientnet_b0", in_chans=1, num_classes=CLASSES), nn.Identity()
    )


def vit() -> nn.Module:
    """timm: a vision transformer over patches of two rows and eight samples."""
    from timm.models.vision_transformer import VisionTransformer

    network = VisionTransformer((2, LENGTH), (2, 8), 1, CLASSES, embed_dim=48, depth=4, num_heads=4)
    return Around(nn.Unflatten(1, (1, 2)), network, nn.Identity())


def convnext() -> nn.Module:
    """timm: ConvNeXt over the frame as an image of 16 by 16 with one channel."""
    from timm.models.convnext import ConvNeXt

    sizes = {"depths": (2, 2, 2, 1), "dims": (16, 32, 48, 64), "patch_size": 1}
    network = ConvNeXt(1, CLASSES, **sizes, stem_type="patch", ls_init_value=1.0)  # with 1e-6, untrained outputs tie
    return Around(nn.Sequential(nn.Flatten(), nn.Unflatten(1, (1, 16, 16))), network, nn.Identity())


def densenet() -> nn.Module:
    """torchvision: DenseNet over the frame as an image of 16 by 16; its layers each read all layers before."""
    from torchvision.models import DenseNet

    network = DenseNet(growth_rate=8, block_config=(3, 3, 3), num_init_features=16, num_classes=CLASSES)
    network.features.conv0 = nn.Conv2d(1, 16, 3, padding=1)
    return Around(nn.Sequential(nn.Flatten(), nn.Unflatten(1, (1, 16, 16))), network, nn.Identity())


def _layer(given: int, made: int, size: int = 3, **options: Any) -> nn.Sequential:
    conv = nn.Conv1d(given, made, size, padding=size // 2, **options)
    return nn.Sequential(conv, nn.BatchNorm1d(made), nn.ReLU())


class UNet(nn.Module):
    """Ronneberger et al. 2015 over time: two levels, each joined to its own size on the way up."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList(nn.Sequential(_layer(a, b), _layer(b, b)) for a, b in ((2, 16), (16, 32)))
        self.bottom = nn.Sequential(_layer(32, 64), _layer(64, 64))
        self.rise = nn.ModuleList(nn.ConvTranspose1d(2 * width, width, 2, stride=2) for width in (32, 16))
        self.up = nn.ModuleList(nn.Sequential(_layer(2 * w, w), _layer(w, w)) for w in (32, 16))
        self.fc = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of frames."""
        kept = []
        for level in self.down:
            x = level(x)
            kept.append(x)
            x = functional.max_pool1d(x, 2)
        x = self.bottom(x)
        for rise, level in zip(self.rise, self.up, strict=True):
            x = level(torch.cat([kept.pop(), rise(x)], 1))
        logits: Tensor = self.fc(x.mean(-1))
        return logits


class Shrinking(nn.Module):
    """A block of the deep residual shrinkage network (Zhao et al. 2020): soft thresholds of each channel's own."""

    def __init__(self, given: int, made: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm1d(given), nn.ReLU(), nn.Conv1d(given, made, 3, stride, 1),
            nn.BatchNorm1d(made), nn.ReLU(), nn.Conv1d(made, made, 3, padding=1),
        )  # fmt: skip
        self.scale = nn.Sequential(
            nn.Linear(made, made), nn.BatchNorm1d(made), nn.ReLU(), nn.Linear(made, made), nn.Sigmoid()
        )
        self.skip = nn.Conv1d(given, made, 1, stride) if (given, 1) != (made, stride) else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Features of features."""
        body = self.body(x)
        size = body.abs()
        mean = size.mean(-1)
        threshold = (mean * self.scale(mean)).unsqueeze(-1)
        shrunk = torch.sign(body) * torch.clamp(size - threshold, min=0)
        skip: Tensor = self.skip(x)
        return shrunk + skip


def drsn() -> nn.Module:
    """Six blocks of the deep residual shrinkage network."""
    widths = ((16, 16, 1), (16, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1))
    return Around(_layer(2, 16), nn.Sequential(*(Shrinking(*each) for each in widths)), Pooled(64))


class Corrected(nn.Module):
    """The adaptive correction of AMC-Net (Zhang et al. 2023): a spectrum scaled by what layers make of it."""

    def __init__(self) -> None:
        super().__init__()
        self.real, self.imaginary = (self._mixer() for _ in range(2))

    @staticmethod
    def _mixer() -> nn.Sequential:
        return nn.Sequential(nn.Linear(LENGTH, 32), nn.ReLU(), nn.Linear(32, LENGTH), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        """Corrected frames, beside themselves."""
        kept = copy.deepcopy(x)
        length = x.shape[-1]
        assert length == LENGTH
        turns = torch.arange(length, dtype=torch.float32, device=x.device)
        angle = 2 * torch.pi / length * turns.outer(turns)
        cosine, sine = angle.cos(), angle.sin()
        real, imaginary = x @ cosine, -(x @ sine)
        real, imaginary = self.real(real) * real, self.imaginary(imaginary) * imaginary
        return (real @ cosine - imaginary @ sine) / length + kept


class Scales(nn.Module):
    """Convolutions of several sizes side by side, as AMC-Net's multi-scale module."""

    def __init__(self, given: int, made: int) -> None:
        super().__init__()
        self.sizes = nn.ModuleList(_layer(given, made // 4, size) for size in (3, 5, 7, 9))

    def forward(self, x: Tensor) -> Tensor:
        """Features of features."""
        return torch.cat([each(x) for each in self.sizes], 1)


class Attending(nn.Module):
    """The feature fusion of AMC-Net: attention over time that hands its weights on beside its result."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attend, self.norm = nn.MultiheadAttention(width, 4, batch_first=True), nn.LayerNorm(width)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features, and the weights of the attention."""
        attended, weights = self.attend(x, x, x)
        return self.norm(x + attended), weights


class AMCNet(nn.Module):
    """AMC-Net (Zhang et al. 2023), small."""

    def __init__(self) -> None:
        super().__init__()
        self.correct = Corrected()
        self.scales = nn.Sequential(*(Scales(2 if place == 0 else 32, 32) for place in range(4)))
        self.fuse = nn.ModuleList(Attending(32) for _ in range(2))
        self.fc = nn.Linear(32, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of frames."""
        if x.dim() == 4:
            x = x.squeeze(1)
        x = functional.max_pool1d(self.scales(self.correct(x)), 4).transpose(1, 2)
        for fuse in self.fuse:
            x, _ = fuse(x)
        logits: Tensor = self.fc(x.mean(1))
        return logits


class Plain(nn.Module):
    """Two convolutions under a shortcut, as SRResNet's."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(width, width, 3, padding=1), nn.BatchNorm1d(width), nn.PReLU(),
            nn.Conv1d(width, width, 3, padding=1), nn.BatchNorm1d(width),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Features of features."""
        body: Tensor = self.body(x)
        return body + x


class MRResNet(nn.Module):
    """MRResNet, a residual network for modulation recognition: one shortcut over sixteen residual blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Conv1d(2, 24, 9, padding=4), nn.PReLU())
        self.blocks = nn.Sequential(*(Plain(24) for _ in range(16)))
        self.tail, self.fc = nn.Sequential(nn.Conv1d(24, 24, 3, padding=1), nn.BatchNorm1d(24)), nn.Linear(24, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of frames."""
        x = self.head(x)
        x = self.tail(self.blocks(x)) + x
        logits: Tensor = self.fc(x.mean(-1))
        return logits


class ComplexConv(nn.Module):
    """A convolution with complex weights, of two with real ones (Trabelsi et al. 2018)."""

    def __init__(self, given: int, made: int) -> None:
        super().__init__()
        self.real, self.imaginary = (nn.Conv1d(given, made, 5, padding=2) for _ in range(2))

    def forward(self, z: Tensor) -> Tensor:
        """Complex features of complex features, after ReLU of both parts."""
        real, imaginary = z.real, z.imag
        return torch.complex(
            functional.relu(self.real(real) - self.imaginary(imaginary)),
            functional.relu(self.real(imaginary) + self.imaginary(real)),
        )


class ComplexNetwork(nn.Module):
    """Complex convolutions over the frame as one complex channel, and a complex gain of each channel."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(ComplexConv(1 if place == 0 else 12, 12) for place in range(5))
        self.gain, self.fc = nn.Parameter(torch.ones(12, 1, dtype=torch.complex64)), nn.Linear(12, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of frames."""
        z = torch.complex(x[:, :1], x[:, 1:])
        for layer in self.layers:
            z = layer(z)
        logits: Tensor = self.fc((z * self.gain).abs().mean(-1))
        return logits


def ulcnn() -> nn.Module:
    """ULCNN, from edgeprune's own code and a file with its weights alone."""
    from edgeprune.models.ulcnn import family

    network: nn.Module = family.build("ulcnn", channels=2, length=LENGTH, classes=CLASSES)
    return network


unet, amc_net, mrresnet, complex_network = UNet, AMCNet, MRResNet, ComplexNetwork
NETWORKS = (
    "tcn", "conformer", "x_transformers", "efficientnet", "vit", "convnext", "densenet", "unet", "drsn", "amc_net",
    "mrresnet", "complex_network", "ulcnn",
)  # fmt: skip


def whole_job(name: str, folder: Path, frames: Path, options: list[str]) -> dict[str, Any]:
    """Take one network through `prune-and-export`; what its report says, or the error it ended with."""
    torch.manual_seed(0)
    weights = folder / f"{name}.pt"
    torch.save(globals()[name]().state_dict(), weights)
    source = ["--arch", "ulcnn"] if name == "ulcnn" else ["--factory", f"foreign:{name}"]
    command = [
        sys.executable, "-m", "edgeprune", "-q", "prune-and-export", str(weights), *source, "--class-names", NAMES,
        "--input-shape", f"2,{LENGTH}", "--data", str(frames), "--target", str(folder / "few-rounds.toml"),
        "--epochs", "1", "--accept-baseline", "--out", str(folder / name), *options,
    ]  # fmt: skip
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    began = time.perf_counter()
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    )
    found: dict[str, Any] = {"network": name, "exit": done.returncode, "seconds": round(time.perf_counter() - began, 1)}
    if done.returncode:
        found["error"] = next(line for line in done.stderr.splitlines() if line.lower().startswith("error"))
        return found
    report = json.loads((folder / name / "report.json").read_text(encoding="utf-8"))
    plan = report["plan"]
    found.update(
        units=report["baseline"]["units"],
        dropped=len(plan["dropped"]),
        parameters=[report[which]["params"] for which in ("baseline", "pruned")],
        macs=[report[which]["macs"] for which in ("baseline", "pruned")],
        opset=OPSET,
    )
    return found


def main() -> None:
    """Run all, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(NETWORKS))
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as where:
        folder, frames = Path(where), Path(where) / "frames.npz"
        made = ["data", "synth", "--recipe", "2016", "--snr", "10", "--frames-per", "60", "--out", str(frames)]
        subprocess.run([sys.executable, "-m", "edgeprune", "-q", *made], check=True)
        (folder / "few-rounds.toml").write_text(TARGET, encoding="utf-8")
        for name in arguments.names:
            found.append(whole_job(name, folder, frames, ["--frames", "500"]))
            print(json.dumps(found[-1]), flush=True)
            if arguments.out:
                arguments.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
