"""Where the time of a prediction goes: its parts one after the other, and what they are in the stock way.

    python benchmarks/profile_predict.py

Prints a table of the seconds that each part takes for a study of four large series, warm, on all cores, and how long
each engine takes to make for one network.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from measurement import Size


@click.command(help=__doc__)
@click.option("--quick", is_flag=True, help="Tiny sizes.")
@click.option("--data", type=click.Path(file_okay=False, path_type=Path), help="Keep the made data here.")
def main(quick: bool, data: Path | None) -> None:
    """Time each part, the second time that it is done."""
    with tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        size = Size.of("quick" if quick else "full", data or Path(temporary))
        stock = _stock(size)  # before ours sets how this process keeps its memory
        rows = [*_ours(size, Path(temporary)), *stock]
    lines = ["| part | seconds |", "|---|---|", *(f"| {part} | {seconds:.2f} |" for part, seconds in rows)]
    click.echo("\n".join(lines))


def _ours(size: Size, folder: Path) -> list[tuple[str, float]]:
    from made_series import made_study
    from predict_study import write_bundle

    from mgmt_monai.inference.engines.engine_choice import ENGINES, make_engine
    from mgmt_monai.inference.model import open_models
    from mgmt_monai.inference.study import read_study

    study = made_study(size.data, size.series_slices, size.series_pixels)
    with open_models([write_bundle(folder, "T1w", size)]) as (model,):
        rows = [("ours: every file read and checked", _second_time(lambda: read_study(study)))]
        series = [one.series for one in read_study(study) if one.series is not None]
        rows.append(("ours: middle slices read, scaled, resized", _second_time(lambda: [*map(model.slices, series)])))
        images = [model.slices(one) for one in series]
        for name, engine in ENGINES.items():
            if engine.is_installed():
                started = time.perf_counter()
                made = make_engine(name, model.network, size.image_size)
                rows.append((f"ours: {name} made and tried", time.perf_counter() - started))
                rows.append((f"ours: network, {name}", _second_time(lambda: [*map(made.features, images)])))  # noqa: B023
    return rows


def _stock(size: Size) -> list[tuple[str, float]]:
    import stock
    import torch
    from made_series import made_study
    from predict_study import stock_chain

    from mgmt_monai.cohort.series import MODALITIES

    study = made_study(size.data, size.series_slices, size.series_pixels)
    chain = stock_chain(size, study)
    network = stock.StockClassifier("transfer").eval()
    stock.load_imagenet(network)
    read = lambda: [chain({"image": str(study / modality)})["image"].permute(3, 0, 2, 1) for modality in MODALITIES]  # noqa: E731
    images = read()
    with torch.no_grad():
        return [
            ("stock: read, scaled, resized", _second_time(read)),
            ("stock: network", _second_time(lambda: [network(one.as_tensor()) for one in images])),
        ]


def _second_time(work: Callable[[], Any]) -> float:
    work()
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
