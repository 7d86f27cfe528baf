"""How many slices a second does each of predict's engines take on the CPU?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from epoch_turns import speed_turns
from measurement import Measure, Size, Way
from remote import Turn, remote

from mgmt_monai.inference.engines.engine_choice import ENGINES

STOCK = "EfficientNetBN"
FASTEST = next(iter(ENGINES))

MEASURE = Measure(
    name="engines",
    title="The network's engines, CPU",
    unit="slices/s",
    higher_is_better=True,
    ours=FASTEST,
    beside=dict.fromkeys([STOCK, *(name for name in ENGINES if name != FASTEST)], FASTEST),
    note="EfficientNet-B0, 300 x 300, forward alone, engines made before; the stock one in batches, its default layout",
)


@contextmanager
def ways(size: Size) -> Iterator[Sequence[Way]]:
    """Each engine that is installed, and the stock network, in processes of their own."""
    installed = [name for name, engine in ENGINES.items() if engine.is_installed()]
    with ExitStack() as stack:
        yield [
            *(stack.enter_context(remote(name, "engines.ours", size, engine=name)) for name in installed),
            stack.enter_context(remote(STOCK, "engines.stock_way", size)),
        ]


def ours(turn: Turn, size: Size, engine: str) -> None:
    """All slices by an engine, a turn each time; the figures are slices a second."""
    from mgmt_monai.inference.engines.engine_choice import make_engine
    from mgmt_monai.networks import MGMTClassifier, load_backbone_weights

    classifier = MGMTClassifier()
    load_backbone_weights(classifier, "imagenet")
    _turns(turn, size, make_engine(engine, classifier.eval(), size.image_size).features)


def stock_way(turn: Turn, size: Size) -> None:
    """The same by MONAI's network, as it comes."""
    import stock

    network = stock.StockClassifier("transfer").eval()
    stock.load_imagenet(network)
    with torch.no_grad():
        _turns(turn, size, network.backbone, channels=3)


def _turns(turn: Turn, size: Size, features: Callable[[torch.Tensor], torch.Tensor], channels: int = 1) -> None:
    images = torch.rand(size.augmented, 1, size.image_size, size.image_size).expand(-1, channels, -1, -1)
    speed_turns(turn, len(images), lambda: [*map(features, images.split(size.fine_tune_batch))])
