"""Fine-tune a pruned network with Lightning, distilling from the unpruned one.

pip install lightning
python examples/finetune_lightning.py MODEL.pt FRAMES OUT.pt [EPOCHS]
"""

import sys

import lightning
import torch
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import edgeprune as ep

TEMPERATURE = 2.0


class Distillation(lightning.LightningModule):
    """The pruned network learns what the unpruned one answers."""

    def __init__(self, student: torch.nn.Module, teacher: torch.nn.Module) -> None:
        super().__init__()
        self.student, self.teacher = student, teacher.requires_grad_(False)

    def training_step(self, batch: list[torch.Tensor], _number: int) -> torch.Tensor:
        x, y = batch
        logits, taught = self.student(x), self.teacher.eval()(x)
        learnt = functional.log_softmax(logits / TEMPERATURE, 1)
        wanted = (taught / TEMPERATURE).softmax(1)
        imitation = functional.kl_div(learnt, wanted, reduction="batchmean") * TEMPERATURE**2
        return 0.9 * imitation + 0.1 * functional.cross_entropy(logits, y)

    def validation_step(self, batch: list[torch.Tensor], _number: int) -> None:
        x, y = batch
        self.log("top1", (self.student(x).argmax(1) == y).float().mean(), prog_bar=True)

    def configure_optimizers(self) -> dict[str, object]:
        optimiser = torch.optim.SGD(self.student.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=0.1, total_steps=steps)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def main(model_file: str, frames_file: str, out: str, epochs: int = 20) -> None:
    model, data = ep.load(model_file), ep.read_frames(frames_file)
    small = ep.prune(model, ep.plan(model, data, keep_ratio=0.33), data)
    train, validation = (TensorDataset(*small.tensors(data, split)) for split in ("train", "validation"))
    trainer = lightning.Trainer(max_epochs=epochs, logger=False, enable_checkpointing=False)
    trainer.fit(
        Distillation(small.module, model.module),
        DataLoader(train, batch_size=256, shuffle=True),
        DataLoader(validation, batch_size=1024),
    )
    print(ep.evaluate(small, data))
    small.save(out)


if __name__ == "__main__":
    main(*sys.argv[1:4], *map(int, sys.argv[4:5]))
