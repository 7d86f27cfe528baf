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
from mgmt_monai.networks.fusion import FusionClassifier
from mgmt_monai.networks.whole_batch import WholeBatchLoss, WholeBatchNetwork

#: Backbone, stage and number of slices. Of 2 slices, one of three processes has none. What is random in them: the
#: head's dropouts, and drop connect in EfficientNet.
CASES = [
    ("efficientnet-b0", "transfer", 7),
    ("efficientnet-b0", "fine_tune", 7),
    ("efficientnet-b0", "fine_tune", 2),
    ("resnet-10", "transfer", 2),
    ("resnet-10", "fine_tune", 2),
    ("fusion", "transfer", 7),
    ("fusion", "fine_tune", 7),
    ("fusion", "fine_tune", 2),
]

#: Of a fusion's case: each patient's slices, by modality. Of 2 patients, one of three processes has none.
SERIES = [{0: 2, 1: 1}, {1: 1}, {0: 1, 1: 3}, {0: 2}, {0: 1, 1: 1}, {1: 2}, {0: 3, 1: 1}]


def step(backbone: str, stage: str, n_slices: int, together: bool) -> dict[str, Tensor]:
    """Logits, gradients and the state after the step, of the own rows where processes work together."""
    torch.manual_seed(0)
    row = modality = None
    if backbone == "fusion":
        network: MGMTClassifier = FusionClassifier("efficientnet-b0", ("T1w", "FLAIR"), 8, slice_pool="attention")
        nn.init.normal_(network.attention.score.weight)
        told = [(n, m) for n, of in enumerate(SERIES[:n_slices]) for m, count in of.items() for _ in range(count)]
        row, modality = torch.tensor(told).T
    else:
        network = MGMTClassifier(backbone, hidden_units=8)
    network.double()
    nn.init.normal_(network.head.norm2.weight)
    images, labels = torch.rand(n_slices, 1, 64, 64).double(), torch.randint(2, (n_slices, 1)).double()
    if row is not None:
        images = torch.rand(len(row), 1, 64, 64).double()
    network.set_stage(stage)
    weights = torch.rand(n_slices, 1).double() * 2
    trained, loss = network, lambda logits, targets: binary_cross_entropy_with_logits(logits, targets[:, :1], weights)
    targets = torch.cat([labels, weights], dim=1)
    if together:
        rows = np.array_split(np.arange(n_slices), distributed.get_world_size())[distributed.get_rank()]
        own = torch.from_numpy(rows) if row is None else torch.isin(row, torch.from_numpy(rows)).nonzero().flatten()
        images, targets = images[own], targets[rows]
        if row is not None:
            row, modality = row[own] - int(rows[0] if len(rows) else 0), modality[own]
        trained, loss = WholeBatchNetwork(network), WholeBatchLoss()
    trained.train()
    optimizer = torch.optim.SGD(network.stage_parameters(stage), lr=0.1)
    torch.manual_seed(1)
    logits = trained(images) if row is None else trained(images, row=row, modality=modality)
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
