"""A study's result as a page: one HTML file that needs no network and runs no script."""

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np
from torch import Tensor

from mgmt_monai.comparison.report import wording
from mgmt_monai.exchange.known_figures import worth
from mgmt_monai.html_page import data_uri, page_pieces
from mgmt_monai.inference import NOTICE
from mgmt_monai.inference.predict_study import Answer, PredictedStudy
from mgmt_monai.inference.prediction import SCHEMA, SeriesPrediction

SHOWN_SLICES = 48
"""Pictures of a series at most; of more slices, every second, third... is shown."""

PICTURE_SIDE = 160
"""Of a slice, in pixels; shown at half of it, for fine screens."""

PICTURE_QUALITY = 80

#: A scale of distances ends at this many times the limit; what is farther is drawn at its end.
_DISTANCE_END = 2.0


def prediction_page(predicted: PredictedStudy) -> Iterator[str]:
    """The page, piece by piece, with the slices that the networks were shown. No script runs in it."""
    prediction = predicted.prediction
    given = [one for one in prediction.series if one.probability is not None]
    told = prediction.fusion.get("evaluation")
    known = [one.evaluation for one in given] if told is None else [told]
    content = {
        "study": prediction,
        "n_given": len(given),
        "supported": any(worth(one)[0] == "some" for one in known),
        "answers": [_shown(answer) for answer in predicted.answers],
        "notice": NOTICE,
        "schema": SCHEMA,
    }
    filters = {"figure": wording.figure, "number": wording.number}
    return page_pieces(
        "mgmt_monai.inference", "prediction.html.j2", "prediction", prediction.study, content, filters, "prediction.css"
    )


def _shown(answer: Answer) -> dict[str, Any]:
    """What the template shows of one model's answer."""
    one = answer.prediction
    code, sentence = worth(one.evaluation)
    slices = list(_slices(one, answer.images))
    return {
        "one": one,
        "worth": code,
        "worth_sentence": sentence,
        "methylated": one.probability is not None and one.probability >= one.threshold,
        "slices": slices,
        "n_slices_used": len(one.slice_indices),
        "distance": _distance(one),
        "first": one.slice_indices[0] if one.slice_indices else None,
        "last": one.slice_indices[-1] if one.slice_indices else None,
    }


def _distance(one: SeriesPrediction) -> dict[str, Any] | None:
    """Where distance and limit lie on their scale, 0 to 1; None without both."""
    if one.distance is None or one.distance_limit is None:
        return None
    end = _DISTANCE_END * one.distance_limit or 1.0
    return {
        "at": min(1.0, one.distance / end),
        "limit_at": one.distance_limit / end,
        "beyond": one.distance > end,
        "far": bool(one.abstained) and one.distance > one.distance_limit,
    }


def _slices(one: SeriesPrediction, images: Tensor | None) -> Iterator[dict[str, Any]]:
    """The slice's index, its picture as JPEG in a ``data:``, and its own probability; None where the model abstains."""
    if images is None or not len(images):
        return
    step = -(-len(images) // SHOWN_SLICES)
    for k in range(0, len(images), step):
        probability = one.slice_probabilities[k] if one.slice_probabilities else None
        yield {"index": one.slice_indices[k], "uri": _picture(images[k, 0].numpy()), "probability": probability}


def _picture(image: np.ndarray) -> str:
    from PIL import Image

    pixels = np.round(np.clip(np.nan_to_num(image), 0, 1) * 255).astype(np.uint8)
    scaled = Image.fromarray(pixels).resize((PICTURE_SIDE, PICTURE_SIDE), Image.Resampling.BICUBIC)
    out = BytesIO()
    scaled.save(out, "JPEG", quality=PICTURE_QUALITY)
    return data_uri(out.getvalue(), "image/jpeg")
