"""What a series looks like, in 2.5 KB: equal for copies in another encoding, scale or size, different for other heads.

Up to 16 slices are described, each by 162 numbers: the head is laid onto a frame by its own centre and extent, and the
frame's cosine transform is kept up to 14 half waves across, mean and slowest waves left out.
"""

import base64
import binascii

import numpy as np

#: Slices described; of a longer series, those between -1.3 and 1.3 standard deviations of the anatomy along the slices.
N_SLICES = 16
SLICE_SPAN = 1.3

#: Side of the thumbnails that a signature is made from.
THUMBNAIL_SIDE = 64

#: Brightness, within the robust range of the series, that is taken for anatomy.
ANATOMY_LEVEL = 0.15

#: The frame reaches so many standard deviations of the anatomy from its centre. An ellipse ends at 2: within 1.8 the
#: outline, which heads have in common, weighs little.
FRAME_SPAN = 1.8
FRAME_SIDE = 48

#: Half waves across the frame that are kept, from (inclusive) and to (exclusive). The slowest only say "a head".
SLOWEST, FASTEST = 2, 14

#: Stands before the numbers; raised when they change their meaning.
VERSION = "1"

_WAVES = np.hypot(*np.meshgrid(np.arange(FASTEST), np.arange(FASTEST), indexing="ij"))
_KEPT = (_WAVES >= SLOWEST) & (_WAVES < FASTEST)
_LENGTH = int(_KEPT.sum())
_FULL = 127  # the largest number in a signature; int8


def thumbnail(values: np.ndarray) -> np.ndarray:
    """A slice at `THUMBNAIL_SIDE`, each pixel the mean of its area; stretched to a square.

    Args:
        values: ``(rows, columns)``, any number type.

    Returns:
        ``(THUMBNAIL_SIDE, THUMBNAIL_SIDE)`` float32.
    """
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(values, dtype=np.float32))
    return np.asarray(image.resize((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BOX))


def make_signature(thumbnails: np.ndarray) -> str:
    """The signature of a series.

    Args:
        thumbnails: ``(slices, side, side)`` float32, in the order of the slices, bright where the signal is strong.

    Returns:
        Text; "" where nothing is to be seen in any slice.
    """
    from scipy.fft import dctn
    from scipy.ndimage import map_coordinates

    thumbnails = thumbnails.astype(np.float64)
    low, high = np.percentile(thumbnails, (1, 99))
    if high <= low:
        high = thumbnails.max()
    if not high > low:
        return ""
    bright = np.clip((thumbnails - low) / (high - low), 0, 1)
    rows = []
    for position in _positions((bright > ANATOMY_LEVEL).sum(axis=(1, 2))):
        before = int(position)
        after, share = min(before + 1, len(bright) - 1), position - before
        image = (1 - share) * bright[before] + share * bright[after]
        frame = map_coordinates(image, _frame(image > ANATOMY_LEVEL), order=1, mode="nearest")
        waves = (dctn(frame, norm="ortho")[:FASTEST, :FASTEST] * _WAVES)[_KEPT]
        length = np.linalg.norm(waves)
        if length > 1e-3:
            waves /= np.abs(waves).max()
            rows.append(np.round(_FULL * waves).astype(np.int8))
    return f"{VERSION}:{base64.b64encode(np.array(rows).tobytes()).decode()}" if rows else ""


def read_signature(text: str) -> np.ndarray:
    """The numbers of a signature.

    Args:
        text: As `make_signature` returns it.

    Returns:
        ``(slices, 162)`` float32, each row of length 1: the product of two rows is their correlation.

    Raises:
        ValueError: No signature, or of another version of this package.
    """
    if not text:
        return np.empty((0, _LENGTH), np.float32)
    version, _, numbers = text.partition(":")
    try:
        raw = np.frombuffer(base64.b64decode(numbers, validate=True), np.int8)
    except binascii.Error as error:
        raise ValueError("expected the signature of a series, found other text") from error
    if version != VERSION or not 1 <= raw.size // _LENGTH <= N_SLICES or raw.size % _LENGTH:
        raise ValueError(f"expected a signature of version {VERSION}, found another")
    rows = raw.reshape(-1, _LENGTH).astype(np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1)


def _positions(anatomy: np.ndarray) -> np.ndarray:
    """Where along the series the described slices lie, as fractional indices, by how much anatomy each slice shows.

    So they stay where they are in the head when end slices are added or taken away.
    """
    index = np.arange(len(anatomy), dtype=np.float64)
    if len(anatomy) <= N_SLICES:
        return index
    weight = anatomy / anatomy.sum() if anatomy.any() else np.full(len(anatomy), 1 / len(anatomy))
    centre = float(weight @ index)
    deviation = float(np.sqrt(weight @ (index - centre) ** 2))
    return np.clip(centre + deviation * np.linspace(-SLICE_SPAN, SLICE_SPAN, N_SLICES), 0, len(anatomy) - 1)


def _frame(anatomy: np.ndarray) -> np.ndarray:
    """Coordinates ``(2, FRAME_SIDE, FRAME_SIDE)`` of the frame around the anatomy, in pixels."""
    steps = np.linspace(-FRAME_SPAN, FRAME_SPAN, FRAME_SIDE)
    index = np.arange(len(anatomy), dtype=np.float64)
    axes = []
    for weight in (anatomy.sum(axis=1, dtype=np.float64), anatomy.sum(axis=0, dtype=np.float64)):
        share = weight / weight.sum() if weight.any() else np.full(len(index), 1 / len(index))
        centre = float(share @ index)
        deviation = max(2.0, float(np.sqrt(share @ (index - centre) ** 2)))
        axes.append(centre + deviation * steps)
    return np.array(np.meshgrid(*axes, indexing="ij"))
