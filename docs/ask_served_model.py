"""Ask the model that MLflow serves about one study: python docs/ask_served_model.py RUN STUDY ADDRESS."""

from __future__ import annotations

import json
import sys
import urllib.request
from pathlib import Path

from monai.bundle import ConfigParser

from mgmt_monai.inference.study import series_items


def main() -> None:
    """Prepare the slices as in training, send them, print each probability and the mean."""
    run, study, address = sys.argv[1:]
    config = ConfigParser()
    config.read_config(Path(run, "config.json"))
    (item,) = series_items(study, config.get("modality"))
    slices = config.get_parsed_content("validate::preprocessing")(item)["image"]
    body = {"inputs": slices.unsqueeze(1).tolist()}  # (K, 1, H, W)
    request = urllib.request.Request(
        f"{address}/invocations", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        probabilities = [probability for (probability,) in json.load(answer)["predictions"]]
    for index, probability in enumerate(probabilities):
        print(f"slice {index}: {probability:.6f}")  # noqa: T201 - the point of it
    print(f"mean: {sum(probabilities) / len(probabilities):.6f}")  # noqa: T201


if __name__ == "__main__":
    main()
