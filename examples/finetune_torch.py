"""Fine-tune a pruned network in a training loop of your own, distilling from the unpruned one.

python examples/finetune_torch.py MODEL.pt FRAMES OUT.pt [EPOCHS]
"""

import sys

import torch
from torch.nn import functional

import edgeprune as ep

TEMPERATURE = 2.0
BATCH = 256


def main(model_file: str, frames_file: str, out: str, epochs: int = 20) -> None:
    model, data = ep.load(model_file), ep.read_frames(frames_file)
    small = ep.prune(model, ep.plan(model, data, keep_ratio=0.33), data)
    x, y = small.tensors(data, "train")
    with torch.no_grad():
        taught = torch.cat([model.module(batch) for batch in x.split(BATCH)]) / TEMPERATURE

    network = small.module
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    steps = epochs * -(-len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=0.1, total_steps=steps)
    best, weights = 0.0, network.state_dict()
    for epoch in range(1, epochs + 1):
        network.train()
        for batch in torch.randperm(len(x)).split(BATCH):
            logits = network(x[batch])
            learnt = functional.log_softmax(logits / TEMPERATURE, 1)
            imitation = functional.kl_div(learnt, taught[batch].softmax(1), reduction="batchmean") * TEMPERATURE**2
            loss = 0.9 * imitation + 0.1 * functional.cross_entropy(logits, y[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        found = ep.evaluate(small, data, split="validation")
        print(f"epoch {epoch}: {found.top1:.2%} on validation")
        if found.top1 >= best:
            best, weights = found.top1, {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict(weights)
    print(ep.evaluate(small, data))
    small.save(out)


if __name__ == "__main__":
    main(*sys.argv[1:4], *map(int, sys.argv[4:5]))
