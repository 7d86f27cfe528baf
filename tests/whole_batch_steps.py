"""One training step of a batch in double precision, alone or as one of several processes.

``torchrun --nproc_per_node=3 whole_batch_steps.py FOLDER`` writes every process's results to FOLDER/RANK.pt.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from mgmt_monai.networks import MGMTClassifier
from mgmt_monai.networks.whole_batch import WholeBatchLoss, WholeBatchNetwork

#: Backbone, stage and number of slices. Of 2 slices, one of three processes has none. What is random in them: the
#: head's dropouts, and drop connect in EfficientNet.
CASES = [
    ("efficientnet-b0", "transfer", 7),
    ("efficientnet-b0", "fine_tune", 7),
    ("efficientnet-b0", "fine_tune", 2),
    ("resnet-10", "transfer", 2),
    ("resnet-10", "fine_tune", 2),
]


def step(backbone: str, stage: str, n_slices: int, together: bool) -> dict[str, Tensor]:
    """Logits, gradients and the state after the step, of the own rows where processes work together."""
    torch.manual_seed(0)
    network = MGMTClassifier(backbone, hidden_units=8).double()
    nn.init.normal_(network.head.norm2.weight)
    images, labels = torch.rand(n_slices, 1, 64, 64).double(), torch.randint(2, (n_slices, 1)).double()
    network.set_stage(stage)
    weights = torch.rand(n_slices, 1).double() * 2
    trained, loss = network, lambda logits, targets: binary_cross_entropy_with_logits(logits, targets[:, :1], weights)
    targets = torch.cat([labels, weights], dim=1)
    if together:
        rows = np.array_split(np.arange(n_slices), distributed.get_world_size())[distributed.get_rank()]
        images, targets = images[rows], targets[rows]
        trained, loss = WholeBatchNetwork(network), WholeBatchLoss()
    trained.train()
    optimizer = torch.optim.SGD(network.stage_parameters(stage), lr=0.1)
    torch.manual_seed(1)
    logits = trained(images)
    value = loss(logits, targets)
    value.backward()
    gradients = {f"grad {n}": p.grad for n, p in network.named_parameters() if p.grad is not None}
    optimizer.step()
    return {"logits": logits.detach(), "loss": value.detach(), **gradients, **network.state_dict()}


def main() -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    results = [step(*case, together=True) for case in CASES]
    torch.save(results, Path(sys.argv[1]) / f"{distributed.get_rank()}.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
