"""How long does a study of four large series take, from files to probabilities, when the models are loaded?"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from made_series import made_study
from measurement import Measure, Size, Way
from monai.transforms import Compose, Resized, ScaleIntensityd
from remote import Turn, remote

from mgmt_monai.cohort.series import MODALITIES

BATCH = 64

STOCK = "LoadImaged, EfficientNetBN"
FASTEST, PYTORCH = "predict_study, fastest engine", "predict_study, PyTorch"

MEASURE = Measure(
    name="predict_study",
    title="predict, a study of four series",
    unit="s",
    higher_is_better=False,
    ours=FASTEST,
    must={STOCK: 5},
    beside={PYTORCH: FASTEST},
    note="190 x 512 x 512 each, models loaded, engines made, files in memory; ours checks every file of the series too",
)


@contextmanager
def ways(size: Size) -> Iterator[Sequence[Way]]:
    """Ours by the fastest engine that is installed and by PyTorch, and the stock way; a process each."""
    made_study(size.data, size.series_slices, size.series_pixels)
    with (
        remote(FASTEST, "predict_study.ours", size, engine="auto") as fastest,
        remote(PYTORCH, "predict_study.ours", size, engine="pytorch") as pytorch,
        remote(STOCK, "predict_study.stock_way", size) as stock,
    ):
        yield [fastest, pytorch, stock]


def ours(turn: Turn, size: Size, engine: str) -> None:
    """Our prediction by four bundles, a turn a study; the figures are seconds."""
    from mgmt_monai.inference.model import open_models
    from mgmt_monai.inference.predict_study import predict_study

    study = made_study(size.data, size.series_slices, size.series_pixels)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        bundles = [write_bundle(folder, name, size) for name in MODALITIES]
        models = stack.enter_context(open_models(bundles, engine=engine))
        seconds = None
        while True:
            turn(seconds)
            started = time.perf_counter()
            answers = predict_study(study, models, progress_bar=False).prediction.series
            seconds = time.perf_counter() - started
            if any(answer.probability is None for answer in answers):
                raise RuntimeError(f"expected four probabilities, found {[one.abstained for one in answers]}")


def stock_way(turn: Turn, size: Size) -> None:
    """MONAI's reader, transforms and network, a turn a study; the figures are seconds."""
    import stock

    study = made_study(size.data, size.series_slices, size.series_pixels)
    networks = {modality: stock.StockClassifier("transfer") for modality in MODALITIES}
    for network in networks.values():
        stock.load_imagenet(network)
        network.to(stock.DEVICE).eval()
    chain = stock_chain(size, study)
    seconds = None
    while True:
        turn(seconds)
        started = time.perf_counter()
        for modality, network in networks.items():
            images = chain({"image": str(study / modality)})["image"].permute(3, 0, 2, 1)
            with torch.no_grad():
                parts = [network(part.to(stock.DEVICE)) for part in images.split(BATCH)]
            torch.cat(parts).sigmoid().mean().item()
        seconds = time.perf_counter() - started


def stock_chain(size: Size, study: Path) -> Compose:
    """From the folder of a series to its slices as the network takes them: (1, columns, rows, slices)."""
    import stock
    from made_series import study_series

    return Compose(
        [
            stock.middle_of_series("PydicomReader", len(study_series(study).files)),
            ScaleIntensityd("image"),
            Resized("image", spatial_size=(size.image_size, size.image_size, -1), mode="trilinear"),
        ]
    )


def write_bundle(folder: Path, modality: str, size: Size) -> Path:
    """A bundle with ImageNet's backbone and a new head: what a training leaves, as far as speed goes."""
    from ours import BUNDLES

    from mgmt_monai.carried_code import SCRIPTS, renamed
    from mgmt_monai.networks import MGMTClassifier, load_backbone_weights

    bundle = folder / f"mgmt_{modality.lower()}"
    for name in ("configs", "models"):
        (bundle / name).mkdir(parents=True)
    config = json.loads((BUNDLES / "inference.json").read_text(encoding="utf-8"))
    config |= {"modality": modality, "image_size": size.image_size}
    (bundle / "configs" / "inference.json").write_text(json.dumps(renamed(config, SCRIPTS)), encoding="utf-8")
    (bundle / "configs" / "metadata.json").write_text(json.dumps({"version": "0.1.0"}), encoding="utf-8")
    torch.manual_seed(0)
    classifier = MGMTClassifier()
    load_backbone_weights(classifier, "imagenet")
    torch.save(classifier.state_dict(), bundle / "models" / "model.pt")
    return bundle
