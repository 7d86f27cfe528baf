"""What the pixels of one series show: digests, signature, blank slices, intensities, a strip of its middle slices."""

import base64
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path

import numpy as np

from mgmt_monai.cohort.examination.signature import make_signature, thumbnail
from mgmt_monai.cohort.files import geometry
from mgmt_monai.cohort.files.background import EDGE_SHARE, Background, background_of, edge, filling, nan_outside
from mgmt_monai.cohort.files.nifti import NiftiHeader, read_nifti
from mgmt_monai.cohort.files.pixels import ContentError, StoredSlice, content_errors, digest, read_slices
from mgmt_monai.cohort.files.tags import FileTags
from mgmt_monai.cohort.findings import counted
from mgmt_monai.cohort.records import CONSTANT_DIGEST
from mgmt_monai.cohort.series import is_nifti, middle_slices

__all__ = ["ContentError", "SeriesContent", "read_content"]

#: Percentiles between which intensities are robust against a few hot or dead pixels.
ROBUST_PERCENTILES = (0.5, 99.5)

#: Background ends at this share of the robust range, beyond the noise of air. In MR images of heads, tissue is further.
BACKGROUND_LEVEL = 0.1

#: A slice is blank when a smaller share of its pixels is above the background: one value, or the noise of air with a
#: few bright specks. The tip of a head shows more. Blank slices at the ends are common and harmless.
BLANK_FOREGROUND = 0.005

#: Values looked at for percentiles, background and histogram, evenly over the whole series; minimum and maximum, and
#: how many pixels sit there, are exact.
SAMPLE_SIZE = 2**20

#: Thumbnails kept for the signature; of a longer series, every second, third... slice is used.
THUMBNAILS_LIMIT = 512

#: Values beyond, or nothing above, are damage (a wrong type), or would leave 32-bit floating point, in which the model
#: computes.
VALUE_LIMIT, LEAST_VALUE = 1e30, 1e-30

#: Air that is no lowest value: at the edge of the slices, the median is so much of the robust range above its lower end
#: at least, half of the values lie within so much of that (the quartiles of noise above 0, Rayleigh's, are 0.77 of its
#: median apart), and the medians of the slices differ by so much less than the values, as those of tissue do not.
EDGE_LEVEL, EDGE_SPREAD, EDGE_DRIFT = 0.15, 0.4, 0.2

#: So many slices, and so much more of them brighter than darker (of every second one), are no chance.
ALTERNATING_SLICES, ALTERNATING_SHARE = 6, 0.8

#: Neighbouring slices whose brightness differs to and fro by more than this share of the robust range are two scans:
#: cross-talk of interleaved slices is a few per cent.
ALTERNATION = 0.1

#: Slices of one scan, next to those of like brightness (`STEADY` times), are not so many times as bright as these;
#: those that hold less than this share of the head's brightness are its tips.
#: So are those with less than `TIP_SIZE` of its usual pixels: there the skull's edge or fluid is most of the slice.
STEP, STEADY, BLANK_MEAN, TIP_SIZE = 1.8, 1.3, 0.1, 0.5

#: Pictures of so many pixels a side whose neighbours are so unlike, 1 being as unlike as distant pixels, are none:
#: 83 real series of heads have at most 0.13; noise 1, rows and columns exchanged 0.7, bytes in the wrong order 0.6.
LEAST_SIDE, ROUGH_SHARE = 32, 0.5

#: Sign, byte order or length of a row are others where the squared steps between neighbours are so many times smaller:
#: 74 real series have at most 1, wrong headers 1.33. Whole numbers, but for 0 beyond those of the mantissa, are floats.
SMOOTHER, MANTISSA_BITS = 1.25, {4: 23, 8: 52}

#: A slice breaks off where a straight line parts one value from tissue of this share of its widest row.
CUT_SHARE = 0.6

#: So few different values are labels.
FEW_VALUES = 8

HISTOGRAM_BINS = 32

MONTAGE_SLICES = 5
MONTAGE_HEIGHT = 96
MONTAGE_QUALITY = 80

_OPPOSITE = dict(zip("LRPASI", "RLAPIS", strict=True))

#: The share of a series around its middle that the model sees.
MIDDLE_SHARE = 0.2


@dataclass(frozen=True)
class SeriesContent:
    """What the pixels of a series show.

    Args:
        digests: Twelve hexadecimal digits a slice in the order read (BLAKE2b over size and stored values, whatever
            their encoding and width); `CONSTANT_DIGEST` for a slice of one value; "" where nobody asked for them.
        signature: What nearly identical series are found by; "" where nothing is to be seen, or nobody asked.
        n_blank: Slices with hardly a pixel beyond the background: less than `BLANK_FOREGROUND` of them.
        n_blank_middle: How many of those lie in the middle 20 %, which the model is shown.
        constant: The whole series has one value.
        low: Lowest value after rescale; as in what follows, without padding and NaN outside the head.
        high: Highest value after rescale.
        robust_low: `ROBUST_PERCENTILES` of the values after rescale, between which the histogram runs.
        robust_high: The same.
        clipped: Share of the pixels beyond the background that sit at the brightest value of the series, 0 to 1.
        histogram: How many values of an even sample lie in each of 32 bins from ``robust_low`` to ``robust_high``.
        montage: Up to five of the middle 20 % of the slices side by side, 96 pixels high, JPEG in base64; as a
            radiologist sees them where the orientation is known, as stored where it is not.
        background: What was taken for the outside of the head, in words; "" where it is the lowest value: 0, noise.
        n_empty: Slices in which no pixel is inside: all padding, or NaN.
        n_cut: Pixels that lost bits above Bits Stored.
        faults: What the pictures show that those of one head do not: kind of finding, text.
        tissue: Share of the pixels beyond the background.
        tissue_at_ends: The same of the first or the last slice, of that which has more, by that of the fullest slice.
    """

    digests: str
    signature: str
    n_blank: int
    n_blank_middle: int
    constant: bool
    low: float
    high: float
    robust_low: float
    robust_high: float
    clipped: float
    histogram: tuple[int, ...]
    montage: str
    background: str = ""
    n_empty: int = 0
    n_cut: int = 0
    faults: tuple[tuple[str, str], ...] = ()
    tissue: float = 0.0
    tissue_at_ends: float = 1.0


def read_content(
    files: Sequence[Path],
    frames: Sequence[int] | None,
    header: Sequence[FileTags] | NiftiHeader | None = None,
    identity: bool = True,
) -> SeriesContent:
    """Read every slice of a series once, one at a time.

    What is kept of a slice is a thumbnail and an even sample of its values; memory does not grow with the size of the
    slices but for the one at hand (and the stored voxels of a compressed NIfTI file).

    Args:
        files: DICOM files in geometric order, one slice each; or one multi-frame file; or one NIfTI file.
        frames: Frames of the multi-frame file in geometric order, else None.
        header: What was read before: the tags of each slice, or the NIfTI file's header.
        identity: Whether digests and signature, by which the same images are found elsewhere, are made too.

    Raises:
        ContentError: A file that cannot be read, is cut short, beyond the limits or undecodable, or values that are
            not finite; its ``finding`` and ``path`` say which kind and where.
    """
    if header is None and is_nifti(files[0].name):
        with content_errors(files[0]):
            header = read_nifti(files[0])
    reading = _Reading(header.n_slices if isinstance(header, NiftiHeader) else len(frames or files), identity)
    for stored in read_slices(files, frames, header):
        reading.add(stored)
    return reading.result()


def as_seen(values: np.ndarray, orientation: np.ndarray | None) -> np.ndarray:
    """The slice turned to the radiological view of its plane: a view of the array, nothing is resampled.

    Args:
        values: ``(rows, columns)`` as stored.
        orientation: ``(6,)`` direction cosines of a row and of a column, LPS; None leaves the slice as it is.
    """
    if orientation is None:
        return values
    is_turned, down, across = _turn(tuple(orientation.tolist()))
    return (values.T if is_turned else values)[::down, ::across]


@lru_cache(maxsize=64)  # the slices of a series have the same
def _turn(orientation: tuple[float, ...]) -> tuple[bool, int, int]:
    """Whether rows and columns change places, then the steps along the rows' and the columns' axis."""
    if not geometry.is_orientation(np.array(orientation)):
        return False, 1, 1
    codes = geometry.direction_codes(np.array(orientation))
    plane = {"S": "axial", "I": "axial", "A": "coronal", "P": "coronal"}.get(codes[2], "sagittal")
    across, down = geometry.RADIOLOGICAL[plane][0], geometry.RADIOLOGICAL[plane][1]
    rows, columns = codes[0], codes[1]
    is_turned = rows not in (across, _OPPOSITE[across])
    if is_turned:
        rows, columns = columns, rows
    return is_turned, 1 if columns == down else -1, 1 if rows == across else -1


@dataclass(frozen=True)
class _Picture:
    """A small picture of a slice, whose outside is made dark when the whole series is known.

    Args:
        image: ``(rows, columns)`` float32, brightness.
        outside: How much of each pixel lies outside, 0 to 1; None where nothing does.
        value: Brightness of the outside here.
        air: It is what fills the edge, and outside only if it is the background of the whole series; else padding, NaN.
    """

    image: np.ndarray
    outside: np.ndarray | None
    value: float
    air: bool

    def filled(self, dark: float, background: Background) -> np.ndarray:
        unmoved = self.air and not (background.tissue_below and self.value == background.value)
        if self.outside is None or unmoved:
            return self.image
        return self.image + self.outside * np.float32(dark - self.value)


class _Reading:
    """What has been gathered of the slices so far. Brightness: the rescaled value, mirrored for MONOCHROME1."""

    def __init__(self, n_slices: int, identity: bool) -> None:
        self.identity = identity
        self.per_slice = max(1, SAMPLE_SIZE // n_slices)
        self.thumbnail_step = math.ceil(n_slices / THUMBNAILS_LIMIT)
        self.middle = middle_slices(n_slices, MIDDLE_SHARE)
        self.shown = {round(i) for i in np.linspace(self.middle.start, self.middle.stop - 1, MONTAGE_SLICES)}
        self.digests: list[str] = []
        self.samples: list[np.ndarray] = []
        self.n_sampled: list[int] = []
        self.edges: list[np.ndarray] = []
        self.thumbnails: list[_Picture] = []
        self.strip: list[_Picture] = []
        self.n_inside: list[int] = []
        self.n_values = self.n_cut = 0
        self.broken: list[bool] = []
        self.outside = ""
        self.roughness: list[np.ndarray] = []
        self.steps: dict[str, list[tuple[float, float]]] = {}  # squared, as the header has it and as another would
        self.dtype, self.least = np.dtype(np.uint8), math.inf
        self.is_picture = False
        self.dark, self.bright = math.inf, -math.inf
        self.n_brightest = 0
        self.inverted = False

    def add(self, stored: StoredSlice) -> None:
        index, outside = len(self.samples), self._outside(stored)
        self.inverted = self.inverted or stored.inverted
        sign = -1.0 if stored.inverted else 1.0
        slope, intercept = sign * stored.slope, sign * stored.intercept

        def brightness(part: np.ndarray) -> np.ndarray:
            return (slope * part.astype(np.float64) + intercept).astype(np.float32)

        values = inside = stored.values
        if outside is not None:
            values, inside = np.where(outside, values.dtype.type(0), values), values[~outside]
        if self.identity:
            self.digests.append(digest(stored.values))
        self.n_values += values.size
        self.n_cut += stored.n_cut
        self.n_inside.append(inside.size)
        self.broken.append(outside is None and _breaks_off(values))
        if values.dtype.kind in "iu" and values.dtype.itemsize in MANTISSA_BITS:
            sizes = np.abs(inside[inside != 0].astype(np.float64))
            self.dtype, self.least = values.dtype, min(self.least, float(sizes.min(initial=math.inf)))
        dark = self._ends(stored.path, inside, slope, intercept)
        step, at_edge = _sample_step(values.shape, self.per_slice), edge(values[None])
        sample = values.ravel()[::step]
        self.n_sampled.append(sample.size)
        if outside is not None:
            sample, at_edge = sample[~outside.ravel()[::step]], at_edge[~edge(outside[None])]
        self.samples.append(brightness(sample))
        self.edges.append(brightness(at_edge[:: max(1, at_edge.size // self.per_slice)]))
        value, air = intercept, outside is None and _fills(self.edges[-1], self.samples[-1], dark)
        if air:
            value = float(np.sort(self.edges[-1])[self.edges[-1].size // 2])
            outside = brightness(values) == np.float32(value)

        def picture(of: Callable[[np.ndarray], np.ndarray]) -> _Picture:
            image = of(values) * np.float32(slope) + np.float32(intercept)
            return _Picture(image, None if outside is None else of(outside), value, air)

        if self.identity and index % self.thumbnail_step == 0:
            self.thumbnails.append(picture(lambda image: thumbnail(as_seen(image, stored.orientation))))
        if index in self.shown:
            self.is_picture = min(values.shape) >= LEAST_SIDE
            if self.is_picture and values.dtype.kind != "f":  # a z-scored head is rougher: its air is as bright as it
                self.roughness.append(_roughness(brightness(values)))
                for what, steps in _as_others(values, not self.steps):
                    self.steps.setdefault(what, []).append(steps)
            self.strip.append(picture(lambda image: _shrunk(image, stored)))

    def result(self) -> SeriesContent:
        sample = np.concatenate(self.samples)
        if not sample.size or not any(self.n_inside[self.middle]):
            raise ContentError(self.path, f"nothing but {self.outside} in the middle 20 % of the slices")
        if 0 < max(abs(self.dark), abs(self.bright)) < LEAST_VALUE:
            found = f"values up to {max(abs(self.dark), abs(self.bright)):g}"
            raise ContentError(
                self.path, f"{found}, expected some above {LEAST_VALUE:g}; the header's type may be wrong"
            )
        at_edge, lowest = np.concatenate(self.edges), float(np.float32(self.dark))
        background = background_of(at_edge, sample, lowest)
        unmasked = sample if background.mask is None else sample[sample > background.mask]
        low, high = (float(value) for value in np.percentile(unmasked, ROBUST_PERCENTILES))
        if high <= low:
            low, high = self.dark, self.bright
        if background.found != "lowest" and not background.tissue_below:
            low = max(low, background.value)

        def tissue(values: np.ndarray) -> np.ndarray:
            if not background.tissue_below:
                return values > low + BACKGROUND_LEVEL * (high - low)
            reach = max(high - background.value, background.value - low)
            return (np.abs(values - background.value) > BACKGROUND_LEVEL * reach) & background.foreground(values)

        tissues = [values[tissue(values)] for values in self.samples]
        n_tissue = [values.size for values in tissues]
        blank = [n < BLANK_FOREGROUND * n_all for n, n_all in zip(n_tissue, self.n_sampled, strict=True)]
        shares = [n / max(n_all, 1) for n, n_all in zip(n_tissue, self.n_sampled, strict=True)]
        n_foreground = sum(self.n_inside) * sum(n_tissue) / sample.size

        def pictures(those: Sequence[_Picture]) -> list[np.ndarray]:
            return [one.filled(low, background) for one in those]

        constant = self.dark == self.bright
        histogram = _histogram(sample, low, high)
        ends, robust = (self.dark, self.bright), (low, high)
        if self.inverted:
            ends, robust, histogram = (-self.bright, -self.dark), (-high, -low), histogram[::-1]
        return SeriesContent(
            digests="".join(self.digests),
            signature="" if constant or not self.identity else make_signature(np.stack(pictures(self.thumbnails))),
            n_blank=int(sum(blank)),
            n_blank_middle=int(sum(blank[self.middle])),
            constant=constant,
            low=ends[0],
            high=ends[1],
            robust_low=robust[0],
            robust_high=robust[1],
            clipped=0.0 if constant or not n_foreground else float(min(1.0, self.n_brightest / n_foreground)),
            histogram=histogram,
            montage=_montage(pictures(self.strip), low, high),
            background=self._told(background, at_edge, low, high),
            n_empty=self.n_inside.count(0),
            n_cut=self.n_cut,
            faults=()
            if constant
            else tuple(self._faults(tissues, blank, sample, histogram, high - low, background.value)),
            tissue=float(np.mean(shares)),
            tissue_at_ends=float(max(shares[0], shares[-1]) / (max(shares) or 1.0)),
        )

    def _faults(
        self,
        tissues: Sequence[np.ndarray],
        blank: Sequence[bool],
        sample: np.ndarray,
        histogram: Sequence[int],
        span: float,
        outside: float,
    ) -> Iterator[tuple[str, str]]:
        alternation, step = _alternation(tissues, blank) / span, _step(self.samples, outside)
        if alternation > ALTERNATION:
            found = f"found every second one brighter by {alternation:.0%} of the range"
            yield "D056", f"expected neighbouring slices of like brightness, {found}"
        elif step is not None:
            yield (
                "D025",
                f"expected neighbouring slices of like brightness, found a step at slice {step} of {len(blank)}",
            )
        if not self.is_picture:
            return
        # Blank slices that share a frame of padding are alike too. Without identity there are no digests.
        pictures = [one for one, out in zip(self.digests, blank, strict=False) if not out and one != CONSTANT_DIGEST]
        if n := len(pictures) - len(set(pictures)):
            yield (
                "D055",
                f"expected another picture in each place, found {counted(n, 'slice')} with the picture of another",
            )
        if n := sum(cut and not out for cut, out in zip(self.broken, blank, strict=True)):
            yield "D055", f"expected whole slices, found {n} that break off in a straight line"
        if np.count_nonzero(histogram) <= FEW_VALUES and (n := len(np.unique(sample))) <= FEW_VALUES:
            yield "D023", f"expected many grey values, found {n}, as of labels or a mask"
        down, across, apart = np.sum(self.roughness or np.zeros((1, 3)), axis=0)
        if (other := self._other_header()) is not None:
            yield "D055", f"expected values as the header has them, found {other}"
        elif max(down, across) > ROUGH_SHARE * apart:
            found = "found them as unlike as distant ones; size, type or byte order in the header may be wrong"
            yield "D055", f"expected neighbouring pixels that are alike, {found}"

    def _other_header(self) -> str | None:
        """As what the values are more alike, where that is not what the header says; None where they fit it."""
        size = self.dtype.itemsize
        if math.inf > self.least >= 2 ** MANTISSA_BITS.get(size, 0):
            return f"them to be float{8 * size}, read as {self.dtype.name}"
        sums = {what: np.sum(steps, axis=0) for what, steps in self.steps.items()}
        what = max(sums, key=lambda what: sums[what][0] / max(sums[what][1], 1e-30), default="")
        is_told = what and sums[what][0] > SMOOTHER * sums[what][1]
        return f"neighbouring pixels more alike as {what}" if is_told else None

    def _outside(self, stored: StoredSlice) -> np.ndarray | None:
        """Where the slice is padding (unless that is 0, the lowest value: air), or is no number as its edge is."""
        self.path = stored.path
        outside, values = stored.padding, stored.values
        if outside is not None:
            if (
                stored.intercept == 0
                and stored.slope > 0
                and not (stored.inverted or values.min() or (outside & (values != 0)).any())
            ):
                return None
            self.outside = "padding (PixelPaddingValue)"
        elif values.dtype.kind == "f" and not (finite := np.isfinite(values)).all():
            outside = nan_outside(values[None])
            outside = None if outside is None else outside[0]
            n_bad = values.size - np.count_nonzero(finite if outside is None else finite | outside)
            if n_bad:
                raise ContentError(stored.path, f"{n_bad} values of {values.size} that are NaN or infinite")
            self.outside = "NaN"
        return outside

    def _ends(self, path: Path, inside: np.ndarray, slope: float, intercept: float) -> float:
        """Take note of the lowest and the highest brightness; the lowest of this slice."""
        if not inside.size:
            return math.inf
        darkest, brightest = (inside.min(), inside.max()) if slope > 0 else (inside.max(), inside.min())
        dark, bright = slope * float(darkest) + intercept, slope * float(brightest) + intercept
        if max(abs(dark), abs(bright)) > VALUE_LIMIT:
            raise ContentError(path, f"values from {dark:g} to {bright:g}, expected at most {VALUE_LIMIT:g}")
        self.dark = min(self.dark, dark)
        if bright >= self.bright:
            count = int(np.count_nonzero(inside == brightest))
            self.n_brightest = count + (self.n_brightest if bright == self.bright else 0)
            self.bright = bright
        return dark

    def _told(self, background: Background, at_edge: np.ndarray, low: float, high: float) -> str:
        """The background in words, unless it is the lowest value: 0, or noise of air above all else."""
        told = [f"{self.outside} in {1 - sum(self.n_inside) / self.n_values:.1%} of the pixels"] if self.outside else []
        value = 0.0 if background.value == 0 else -background.value if self.inverted else background.value
        if background.found != "lowest":
            where = "at the edge of the slices" if background.found == "edge" else "in many voxels"
            below = "tissue lies below it too" if background.tissue_below else "what is below it belongs to it"
            told.append(f"the value {value:g} {where}: {below}")
            if background.mask is not None:
                told.append(f"a mask of {-background.mask if self.inverted else background.mask:g}")
        elif value and at_edge.size and np.mean(at_edge == np.float32(background.value)) >= EDGE_SHARE:
            told.append(f"{value:g}, the lowest value")
        elif at_edge.size:
            q1, middle, q3 = (float(number) for number in np.percentile(at_edge, (25, 50, 75)))
            drift = np.std([np.median(one) for one in self.edges if one.size])
            is_bright = middle - low >= EDGE_LEVEL * (high - low) > 0
            if is_bright and q3 - q1 <= EDGE_SPREAD * (middle - low) and drift <= EDGE_DRIFT * (q3 - q1):
                around = -middle if self.inverted else middle
                told.append(f"values around {around:.2g} at the edge of the slices, which are shown as they are")
        return " and ".join(told)


def _fills(at_edge: np.ndarray, sample: np.ndarray, lowest: float) -> bool:
    """Whether one value fills the edge of a slice and may have tissue below it: here, or if all is so, in others."""
    value = filling(at_edge)
    return value is not None and bool(value > np.float32(lowest) or (sample == value).all())


def _alternation(tissues: Sequence[np.ndarray], blank: Sequence[bool]) -> float:
    """By how much every second slice is brighter than the mean of its neighbours; 0 where not nearly all are."""
    means = np.array([math.nan if out else values.mean() for values, out in zip(tissues, blank, strict=True)])
    steps = means[1:-1] - (means[:-2] + means[2:]) / 2
    steps[1::2] *= -1
    steps = steps[np.isfinite(steps)]
    if len(steps) < ALTERNATING_SLICES or abs(np.sign(steps).mean()) < ALTERNATING_SHARE:
        return 0.0
    return float(np.median(np.abs(steps)))


def _step(samples: Sequence[np.ndarray], outside: float) -> int | None:
    """The slice whose brightness is `STEP` times that of its neighbours, or as little: it alone, or all behind it."""
    heads = [np.abs(values[values != outside] - outside) for values in samples]
    means = np.array([values.mean() if values.size else math.nan for values in heads])
    sizes = np.array([values.size for values in heads])
    with np.errstate(all="ignore"):
        ratio = np.abs(np.log(means[1:] / means[:-1]))
        over = np.abs(np.log(means[2:] / means[:-2]))  # from a slice to the next but one
    big = (means > BLANK_MEAN * np.nanmedian(means)) & (sizes > TIP_SIZE * np.median(sizes))
    for i in range(1, len(means) - 1):
        if not big[i - 1 : i + 2].all() or not ratio[i] > math.log(STEP):
            continue
        alone = ratio[i - 1] > math.log(STEP) and over[i - 1] < math.log(STEADY)
        behind = i + 2 < len(means) and big[i + 2] and max(ratio[i - 1], ratio[i + 1]) < math.log(STEADY)
        if alone or behind:
            return i if alone else i + 1
    return None


def _as_others(values: np.ndarray, whole: bool) -> Iterator[tuple[str, tuple[float, float]]]:
    """What else whole numbers may be, and the squared steps of neighbours, as is and as that; all if ``whole``."""
    native = values.astype(values.dtype.newbyteorder("="), copy=False)
    flat, n_columns = native.ravel().astype(np.float64), native.shape[1]

    def steps(of: np.ndarray, *lags: int) -> float:
        return float(sum(np.square(of[lag:] - of[:-lag]).mean() for lag in lags))

    if flat.min() < 0 or flat.max() >= 2.0 ** (8 * native.itemsize - 1):
        signed = native.ravel().view(f"{'u' if native.dtype.kind == 'i' else 'i'}{native.itemsize}").astype(np.float64)
        yield "numbers of another sign (signed, unsigned)", (steps(flat, 1, n_columns), steps(signed, 1, n_columns))
    if whole and native.itemsize > 1:
        swapped = native.byteswap().ravel().astype(np.float64)
        yield "numbers of the other byte order", (steps(flat, 1, n_columns), steps(swapped, 1, n_columns))
    for size in {native.itemsize // 2, 2 * native.itemsize} & {1, 2, 4} if whole else ():
        if n_columns * native.itemsize % size == 0:
            others = native.ravel().view(f"{native.dtype.kind}{size}").astype(np.float64)
            scale = flat.var() / (others.var() or 1.0)
            n = n_columns * native.itemsize // size
            yield f"numbers of {8 * size} bits", (steps(flat, 1, n_columns), scale * steps(others, 1, n))
    for n in {native.shape[0], 2 * n_columns, n_columns // 2} - {n_columns} if whole else ():
        yield f"rows of {n} pixels", (steps(flat, n_columns), steps(flat, n))


def _breaks_off(values: np.ndarray) -> bool:
    """Whether a slice is of one value beyond a straight line at any side, and full of tissue up to there."""
    for fill in {float(values[0, 0]), float(values[-1, -1])}:
        inside = values != fill
        sides = [np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0)]
        for axis in (0, 1) if sides[0].size else ():
            at, across = sides[axis], sides[1 - axis]
            for is_apart, end in ((at[0] > 1, at[:2]), (at[-1] < values.shape[axis] - 2, at[-2:])):
                width = inside.take(end, axis).sum(axis=1 - axis).max()  # of two lines: the last may be cut itself
                if not is_apart or width <= CUT_SHARE * (across[-1] - across[0]):
                    continue
                apart = np.abs(values.astype(np.float32) - np.float32(fill))
                widths = (apart > BACKGROUND_LEVEL * apart.max()).sum(axis=1 - axis)
                if 3 * widths.max() > values.shape[1 - axis] and widths[end].max() > CUT_SHARE * widths.max():
                    return True  # else the tip of a head
    return False


def _roughness(image: np.ndarray) -> np.ndarray:
    """Mean square difference of neighbours down, of neighbours across, and of pixels anywhere; ``(3,)``."""
    image = image.astype(np.float64)
    return np.array([np.square(np.diff(image, axis=axis)).mean() for axis in (0, 1)] + [2 * image.var()])


def _sample_step(shape: tuple[int, ...], wanted: int) -> int:
    """A step through the flattened slice that does not fall on the same columns in every row."""
    step = max(1, math.prod(shape) // wanted)
    while math.gcd(step, shape[1]) > 1:
        step += 1
    return step


def _histogram(sample: np.ndarray, low: float, high: float) -> tuple[int, ...]:
    """How many values lie in each bin from low to high, both included; all in the first where these are equal."""
    inside = sample[(sample >= np.float32(low)) & (sample <= np.float32(high))].astype(np.float64)
    inside -= low
    inside *= HISTOGRAM_BINS / ((high - low) or 1.0)
    bins = np.clip(inside, 0, HISTOGRAM_BINS - 1).astype(np.intp)  # float32(low) may lie far below a low of 1e30
    return tuple(np.bincount(bins, minlength=HISTOGRAM_BINS).tolist())


def _shrunk(values: np.ndarray, stored: StoredSlice) -> np.ndarray:
    """The slice as seen at the height of the strip, as wide as its spacing has it, at most twice as wide as high."""
    from PIL import Image

    seen, spacing = as_seen(values, stored.orientation), stored.pixel_spacing_mm
    between_rows, between_columns = spacing if spacing is not None and min(spacing) > 0 else (1.0, 1.0)
    if seen.shape != values.shape:
        between_rows, between_columns = between_columns, between_rows
    ratio = seen.shape[1] * between_columns / (seen.shape[0] * between_rows)
    width = round(MONTAGE_HEIGHT * min(2.0, max(0.25, ratio)))
    image = Image.fromarray(np.ascontiguousarray(seen, dtype=np.float32))
    return np.asarray(image.resize((width, MONTAGE_HEIGHT), Image.Resampling.BILINEAR))


def _montage(strip: Sequence[np.ndarray], low: float, high: float) -> str:
    from PIL import Image

    scale = 255 / (high - low) if high > low else 0.0
    pixels = np.clip((np.concatenate(strip, axis=1).astype(np.float64) - low) * scale, 0, 255).astype(np.uint8)
    out = BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=MONTAGE_QUALITY)
    return base64.b64encode(out.getvalue()).decode()
