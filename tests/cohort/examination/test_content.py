import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from io import BytesIO
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from PIL import Image

from mgmt_monai.cohort.duplicates import find_duplicates
from mgmt_monai.cohort.examination.content import ContentError, as_seen, read_content
from mgmt_monai.cohort.examination.examine import examine_series
from mgmt_monai.cohort.files.pixels import digest
from mgmt_monai.cohort.layouts.found import FoundSeries
from mgmt_monai.cohort.manifest import series_reference
from mgmt_monai.cohort.records import PatientRecord
from mgmt_monai.transforms.intensity import ScaleIntensityRobust
from mgmt_monai.transforms.load import LoadSeries

SIDE = 64


def head(n_slices: int = 10, seed: int = 0) -> np.ndarray:
    """A noisy ellipsoid with spots, (slices, rows, columns) uint16; air is 0 to 30, tissue 400 to 1600."""
    random = np.random.default_rng(seed)
    z, y, x = np.meshgrid(*(np.linspace(-1.4, 1.4, n) for n in (n_slices, SIDE, SIDE)), indexing="ij")
    inside = (z / 1.1) ** 2 + y**2 + (x / 0.8) ** 2 < 1
    return np.where(inside, random.uniform(400, 1600, z.shape), random.uniform(0, 30, z.shape)).astype(np.uint16)


@pytest.fixture
def write(tmp_path: Path, make_dicom: Callable[..., Path]) -> Callable[..., list[Path]]:
    def make(volume: np.ndarray, **attributes: object) -> list[Path]:
        tmp_path.joinpath("series").mkdir(exist_ok=True)
        return [
            make_dicom(tmp_path / f"series/{z}.dcm", pixels, position=(0, 0, z), **attributes)
            for z, pixels in enumerate(volume)
        ]

    return make


def strip(montage: str) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(base64.b64decode(montage))))


def split(digests: str) -> list[str]:
    return [digests[i : i + 12] for i in range(0, len(digests), 12)]


def test_digest_is_the_blake2b_of_size_and_values() -> None:
    pixels = np.array([[1, 2, 3], [4, 5, 600]], np.uint16)
    expected = hashlib.blake2b(b"2,3,<u2;" + pixels.astype("<u2").tobytes(), digest_size=6).hexdigest()
    assert digest(pixels) == expected


@pytest.mark.parametrize("dtype", [">u2", "<i2", "<i4", "<u4", "<f4", "<f8"])
def test_digest_does_not_depend_on_the_stored_type(dtype: str) -> None:
    pixels = np.array([[1, 2], [3, 4000]], np.uint16)
    assert digest(pixels.astype(dtype)) == digest(pixels)


@pytest.mark.parametrize(
    "other",
    [
        [[1, 2], [3, 5]],
        [[1, 2, 3, 4]],
        [[1], [2], [3], [4]],
        [[-1, 2], [3, 4]],
        [[1, 2], [3, 4.5]],
        [[1, 2], [3, 1e12]],
    ],
    ids=["value", "wide", "high", "negative", "fraction", "huge"],
)
def test_digest_of_another_image_is_another(other: list) -> None:
    assert digest(np.array(other)) != digest(np.array([[1, 2], [3, 4]]))


@pytest.mark.parametrize("value", [0, 7, -3, 1.5])
def test_digest_of_one_value_is_zeros(value: float) -> None:
    assert digest(np.full((3, 4), value)) == "0" * 12


def test_digests_follow_the_slices_and_no_header(write: Callable[..., list[Path]]) -> None:
    volume = head()
    plain = read_content(write(volume), None)
    assert split(plain.digests) == [digest(pixels) for pixels in volume]
    other = read_content(write(volume, rle=True, PatientID="another", RescaleSlope=3, RescaleIntercept=-7), None)
    assert (other.digests, other.signature) == (plain.digests, plain.signature)
    assert (other.low, other.high) == (3 * plain.low - 7, 3 * plain.high - 7)


def test_content_without_identity_is_the_same_otherwise(write: Callable[..., list[Path]]) -> None:
    files = write(head())
    whole, without = read_content(files, None), read_content(files, None, identity=False)
    assert whole.digests and whole.signature
    assert without == replace(whole, digests="", signature="")


def test_multi_frame_file_has_the_content_of_its_slices(
    tmp_path: Path, write: Callable[..., list[Path]], make_dicom: Callable[..., Path]
) -> None:
    volume = head()
    path = make_dicom(tmp_path / "a.dcm", volume[::-1], NumberOfFrames=10, Rows=SIDE, Columns=SIDE)
    assert read_content([path], range(9, -1, -1)) == read_content(write(volume), None)


def test_nifti_copy_has_the_digests_and_the_signature_of_the_dicom(
    tmp_path: Path, write: Callable[..., list[Path]]
) -> None:
    volume = head()
    files = write(volume)
    # SimpleITK's conversion, for an axial series stored the radiological way, keeps rows and columns.
    image = sitk.ReadImage([str(file) for file in files])
    sitk.WriteImage(sitk.Cast(image, sitk.sitkFloat32), str(tmp_path / "a.nii.gz"))
    copy, own = read_content([tmp_path / "a.nii.gz"], None), read_content(files, None)
    assert (copy.digests, copy.signature, copy.montage) == (own.digests, own.signature, own.montage)


def test_low_and_high_are_rescaled_slice_by_slice(tmp_path: Path, make_dicom: Callable[..., Path]) -> None:
    pixels = np.arange(16, dtype=np.uint16).reshape(4, 4)
    files = [make_dicom(tmp_path / f"{z}.dcm", pixels, RescaleSlope=z + 1, RescaleIntercept=-z) for z in range(3)]
    content = read_content(files, None)
    assert (content.low, content.high) == (-2, 43)


def test_constant_series_is_told(write: Callable[..., list[Path]]) -> None:
    content = read_content(write(np.full((3, 4, 4), 5, np.uint16)), None)
    assert content.constant
    assert (content.digests, content.signature, content.clipped) == ("0" * 36, "", 0)
    assert (content.low, content.high, content.n_blank) == (5, 5, 3)
    assert strip(content.montage).max() == 0


def test_blank_slices_are_counted(write: Callable[..., list[Path]]) -> None:
    volume = head(20)
    volume[[0, 10]] = 0
    volume[1] = np.random.default_rng(1).integers(0, 30, (SIDE, SIDE))
    volume[2, 3, 4:9] = 1000
    expected = [pixels for pixels in volume if np.count_nonzero(pixels > 300) < 0.005 * SIDE**2]
    content = read_content(write(volume), None)
    assert not content.constant
    assert content.n_blank == len(expected)
    assert content.n_blank_middle == 1


@pytest.mark.parametrize("inverted", [False, True], ids=["MONOCHROME2", "MONOCHROME1"])
def test_clipped_share_is_that_of_the_tissue(write: Callable[..., list[Path]], inverted: bool) -> None:
    volume = head()
    tissue = volume > 300
    limit = int(np.quantile(volume[tissue], 0.9))
    clipped = np.minimum(volume, limit)
    expected = np.count_nonzero(clipped == limit) / np.count_nonzero(tissue)
    stored = limit - clipped if inverted else clipped
    content = read_content(write(stored, PhotometricInterpretation=f"MONOCHROME{2 - inverted}"), None)
    assert content.clipped == pytest.approx(expected, rel=0.02)
    whole = read_content(write(volume), None)
    assert whole.clipped < 0.002


def test_inverted_series_has_the_signature_of_the_other_and_its_own_values(write: Callable[..., list[Path]]) -> None:
    volume = head()
    plain = read_content(write(volume), None)
    other = read_content(write(4095 - volume, PhotometricInterpretation="MONOCHROME1"), None)
    assert other.signature == plain.signature
    assert (other.low, other.high) == (4095 - plain.high, 4095 - plain.low)
    assert other.histogram[::-1] == pytest.approx(plain.histogram, abs=20)
    assert np.abs(strip(other.montage).astype(int) - strip(plain.montage)).max() < 8


def test_histogram_runs_between_robust_ends(write: Callable[..., list[Path]]) -> None:
    volume = head()
    volume[5, 32, 32] = 60_000  # one hot pixel
    content = read_content(write(volume), None)
    low, high = np.percentile(volume, (0.5, 99.5))
    assert (content.robust_low, content.robust_high) == pytest.approx((low, high), rel=0.02)
    expected = np.histogram(volume, 32, (content.robust_low, content.robust_high))[0]
    assert content.histogram == pytest.approx(tuple(expected), abs=5)
    assert content.high == 60_000


@pytest.mark.parametrize(
    ("n_slices", "shown"),
    [(1, [0]), (4, [1]), (10, [4, 5]), (25, [10, 11, 12, 13, 14]), (100, [40, 45, 50, 54, 59])],
)
def test_montage_shows_the_middle_slices(write: Callable[..., list[Path]], n_slices: int, shown: list[int]) -> None:
    # Each slice is flat, and half as bright as its number says: what is shown can be read off the strip.
    volume = np.zeros((n_slices, 8, 8), np.uint16)
    volume[:] = 2 * np.arange(1, n_slices + 1)[:, None, None]
    volume[0, 0, 0] = 0
    content = read_content(write(volume, PixelSpacing=[1, 1]), None)
    pixels = strip(content.montage)
    assert pixels.shape == (96, 96 * len(shown))
    if n_slices > 1:
        level = content.robust_low, content.robust_high
        seen = [pixels[48, 96 * i + 48] / 255 * (level[1] - level[0]) + level[0] for i in range(len(shown))]
        assert seen == pytest.approx([2 * (i + 1) for i in shown], abs=0.02 * n_slices + 0.05)


def test_montage_keeps_the_proportions_of_the_head(write: Callable[..., list[Path]]) -> None:
    content = read_content(write(head(3)[:, :, :32], PixelSpacing=[1, 2]), None)
    assert strip(content.montage).shape == (96, 96)


@pytest.mark.parametrize("codes", ["LPS", "RPS", "LAS", "LIA", "RSA", "PIR", "ASR", "PLS", "ARI", "ILA", "SPR"])
def test_as_seen_agrees_with_nibabels_orientation(codes: str) -> None:
    vectors = {"L": (1, 0, 0), "R": (-1, 0, 0), "P": (0, 1, 0), "A": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}
    pixels = np.arange(12).reshape(3, 4)
    wanted = {frozenset("LRAP"): "LP", frozenset("LRSI"): "LI", frozenset("APSI"): "PI"}
    across, down = next(target for plane, target in wanted.items() if {codes[0], codes[1]} <= plane)
    # nibabel turns arrays whose first axis runs along the rows.
    volume = pixels.T[:, :, None]
    third = next(
        c for c in "LPS" if c not in (*codes[:2], *(dict(zip("LRPASI", "RLAPIS", strict=True))[c] for c in codes[:2]))
    )
    turn = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt((codes[0], codes[1], third)),
        nib.orientations.axcodes2ornt((across, down, third)),
    )
    expected = nib.orientations.apply_orientation(volume, turn)[:, :, 0].T
    seen = as_seen(pixels, np.array(vectors[codes[0]] + vectors[codes[1]], float))
    np.testing.assert_array_equal(seen, expected)


def test_as_seen_leaves_a_slice_of_unknown_orientation() -> None:
    pixels = np.arange(12).reshape(3, 4)
    assert as_seen(pixels, None) is pixels
    assert np.array_equal(as_seen(pixels, np.zeros(6)), pixels)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    volume = head().astype(np.float32)
    volume[3, 4, 5] = value
    nib.save(nib.Nifti1Image(volume, np.eye(4)), tmp_path / "a.nii.gz")
    with pytest.raises(ContentError, match=r"1 values of .* NaN or infinite") as caught:
        read_content([tmp_path / "a.nii.gz"], None)
    assert (caught.value.finding, caught.value.path.name) == ("D026", "a.nii.gz")


def stripped() -> np.ndarray:
    """A skull-stripped head: air exactly 0, a tenth of the tissue clipped; of 20 slices one in the middle is blank."""
    volume = np.where(head(20) > 300, head(20), 0).astype(np.float32)
    volume = np.minimum(volume, np.quantile(volume[volume > 0], 0.9).astype(np.float32))
    volume[10] = 0
    return volume


def with_negatives(volume: np.ndarray) -> np.ndarray:
    volume[5, 3, 4:60:7] = -30
    return volume


def z_scored(volume: np.ndarray) -> np.ndarray:
    brain = volume != 0
    volume[brain] = (volume[brain] - volume[brain].mean()) / volume[brain].std()
    return volume


def nan_around(volume: np.ndarray) -> np.ndarray:
    return np.where(volume == 0, np.float32(np.nan), volume)


def z_scored_nan(volume: np.ndarray) -> np.ndarray:
    outside = volume == 0
    return np.where(outside, np.float32(np.nan), z_scored(volume))


def shifted(volume: np.ndarray) -> np.ndarray:
    return volume - 1024


@pytest.mark.parametrize(
    ("form", "told"),
    [
        (with_negatives, "the value 0 at the edge of the slices: what is below it belongs to it"),
        (z_scored, "the value 0 at the edge of the slices: tissue lies below it too"),
        (nan_around, "NaN in {share:.1%} of the pixels"),
        (z_scored_nan, "NaN in {share:.1%} of the pixels"),
        (shifted, "-1024, the lowest value"),
        (32767, "padding (PixelPaddingValue) in {share:.1%} of the pixels"),
        (-2000, "padding (PixelPaddingValue) in {share:.1%} of the pixels"),
        (0, ""),
    ],
    ids=["negatives", "z-scored", "NaN", "z-scored NaN", "shifted", "padding high", "padding low", "padding 0"],
)
def test_same_head_in_another_form_is_the_same_to_doctor_and_training(
    tmp_path: Path, write: Callable[..., list[Path]], form: Callable | int, told: str
) -> None:
    def seen(folder: Path) -> tuple:
        exam = examine_series(FoundSeries("P", "T1w", folder, None, "its folder"), folder, True)
        assert exam.record is not None and exam.content is not None, [finding.line for finding in exam.findings]
        series = series_reference(PatientRecord("P", 0, "test", {"T1w": exam.record}), "T1w", folder)
        return exam, ScaleIntensityRobust(1, 99)(LoadSeries()(series)).numpy()

    def nifti(name: str, volume: np.ndarray) -> Path:
        (tmp_path / name).mkdir()
        # stored (column, row, slice); the affine says: to the left, to the back, upwards
        nib.save(nib.Nifti1Image(volume.T, np.diag([-1, -1, 1, 1])), tmp_path / name / "a.nii.gz")
        return tmp_path / name

    volume = stripped()
    plain, expected = seen(nifti("plain", volume))
    if isinstance(form, int):
        signed = np.where(volume == 0, form, volume).astype(np.int16)
        folder = write(signed.view(np.uint16), PixelRepresentation=1, PixelPaddingValue=form, PixelSpacing=[1, 1])[
            0
        ].parent
    else:
        folder = nifti("other", form(volume.copy()))
    other, scaled = seen(folder)
    assert plain.content.background == ""
    assert other.content.background == told.format(share=np.mean(volume == 0))
    ids = [finding.id for finding in other.findings if finding.id != "D018"]
    assert ids == [finding.id for finding in plain.findings] + ["D052"] * bool(told)
    assert {"D020", "D022"} <= set(ids)
    blank = [(content.n_blank, content.n_blank_middle) for content in (plain.content, other.content)]
    assert blank[0] == blank[1] == (np.sum(~volume.any(axis=(1, 2))), 1)
    assert other.content.clipped == pytest.approx(plain.content.clipped, rel=0.15)
    # z-scoring moves the air up to the darkest tissue in the doctor's strip; in training's picture, nothing
    assert strip(other.content.montage)[strip(plain.content.montage) < 8].mean() < 10
    np.testing.assert_allclose(scaled, expected, atol=0.01)
    same = [(name, "T1w", exam.content.digests, exam.content.signature) for name, exam in (("a", plain), ("b", other))]
    assert len(find_duplicates(same)) == 1


def test_background_of_noisy_air_is_not_told(write: Callable[..., list[Path]]) -> None:
    assert read_content(write(head() + np.uint16(3)), None).background == ""


def rician(volume: np.ndarray, noise: float) -> np.ndarray:
    random = np.random.default_rng(3)
    return np.hypot(volume + random.normal(0, noise, volume.shape), random.normal(0, noise, volume.shape))


def air_left_at(value: float, noise: np.ndarray | float) -> Callable[[np.ndarray], np.ndarray]:
    """A form: the head z-scored, its air another value with noise on it."""
    return lambda volume: np.where(volume == 0, value + noise, z_scored(volume))


@pytest.mark.parametrize(
    ("form", "told"),
    [
        (lambda volume: rician(volume, 15), ""),
        (lambda volume: rician(volume, 100), ""),
        (lambda volume: rician(volume, 100) / 300 - 3, ""),
        (lambda volume: (rician(volume, 100) / 3).round() - 100, ""),
        (air_left_at(0, 0), "the value 0 at the edge"),
        (air_left_at(-0.5, 0), "the value -0.5 at the edge"),
        (air_left_at(0, np.random.default_rng(0).normal(0, 0.2, (20, 64, 64))), "values around "),
        (air_left_at(0.4, np.random.default_rng(0).normal(0, 0.1, (20, 64, 64))), "values around 0.4 at the edge"),
        (air_left_at(0, rician(np.zeros((20, 64, 64)), 0.3)), "values around 0.3"),
        (air_left_at(-0.3, np.random.default_rng(0).integers(0, 3, (20, 64, 64)) / 10), "values around -0.2 at the"),
    ],
    ids=["raw", "noisy", "z-scored whole", "noisy integers below 0", "air 0", "air between", "air noise around 0",
         "air noise between", "Rician air between", "air of three values"],
)  # fmt: skip
def test_air_is_dark_or_told(tmp_path: Path, form: Callable[[np.ndarray], np.ndarray], told: str) -> None:
    volume = form(stripped()).astype(np.float32)
    nib.save(nib.Nifti1Image(volume.T, np.diag([-1, -1, 1, 1])), tmp_path / "a.nii")
    content = read_content([tmp_path / "a.nii"], None)
    assert content.background.startswith(told) and bool(content.background) == bool(told)
    air = ScaleIntensityRobust(1, 99)(volume)[stripped() == 0].mean()
    assert air < 0.1 or told.startswith("values around")


def test_tissue_at_the_edge_is_no_air(tmp_path: Path) -> None:
    """A cube within the head, of less and more bright tissue."""
    random = np.random.default_rng(0)
    z, y, x = np.mgrid[:20, :32, :32]
    volume = 900 + 200 * np.sin(z / 5 + y / 9) + 100 * np.sin(x / 7) + random.normal(0, 20, z.shape)
    nib.save(nib.Nifti1Image(volume.astype(np.float32).T, np.diag([-1, -1, 1, 1])), tmp_path / "a.nii")
    assert read_content([tmp_path / "a.nii"], None).background == ""


@pytest.mark.parametrize("value", [np.nan, 32767], ids=["NaN", "padding"])
def test_middle_without_a_value_is_refused(tmp_path: Path, write: Callable[..., list[Path]], value: float) -> None:
    volume = stripped()
    volume[8:12] = value
    if np.isnan(value):
        files = [tmp_path / "a.nii"]
        nib.save(nib.Nifti1Image(volume.T, np.diag([-1, -1, 1, 1])), files[0])
    else:
        files = write(volume.astype(np.uint16), PixelPaddingValue=32767)
    with pytest.raises(ContentError, match=r"nothing but .* in the middle 20 % of the slices"):
        read_content(files, None)


def test_range_too_small_for_bins_is_no_trouble(tmp_path: Path) -> None:
    volume = np.full((8, 8, 4), 1.0, np.float32)
    volume[::2] = np.nextafter(np.float32(1), np.float32(2))
    nib.save(nib.Nifti1Image(volume, np.diag([-1, -1, 1, 1])), tmp_path / "a.nii")
    content = read_content([tmp_path / "a.nii"], None)
    assert (content.histogram[0], content.histogram[-1], sum(content.histogram)) == (128, 128, 256)


def test_rescale_beyond_floating_point_is_refused(write: Callable[..., list[Path]]) -> None:
    with pytest.raises(ContentError, match="expected at most 1e\\+30"):
        read_content(write(head(2), RescaleSlope="1e300"), None)


def test_content_goes_through_json(write: Callable[..., list[Path]]) -> None:
    content = read_content(write(head()), None)
    again = json.loads(json.dumps(asdict(content)))
    assert type(content)(**{**again, "histogram": tuple(again["histogram"]), "faults": ()}) == content


def test_real_series_are_neither_clipped_nor_blank_in_the_middle(shared_data: Path) -> None:
    folder = shared_data / "dicom/papaya_FSE_PD_axial"
    content = read_content(sorted(folder.glob("*.dcm")), None)
    assert content.clipped < 0.001
    assert (content.n_blank, content.n_blank_middle, content.constant) == (0, 0, False)
    slices = [pydicom.dcmread(file).pixel_array for file in folder.glob("*.dcm")]
    assert (content.low, content.high) == (np.min(slices), np.max(slices))


def test_background_of_a_z_scored_head_that_touches_the_edge_is_told(tmp_path: Path) -> None:
    volume = z_scored(stripped())[:, 20:44, 20:44]  # the air fills less than half of the edge
    nib.save(nib.Nifti1Image(volume.T, np.diag([-1, -1, 1, 1])), tmp_path / "a.nii.gz")
    exam = examine_series(FoundSeries("P", "T1w", tmp_path, None, "its folder"), tmp_path, True)
    (text,) = (finding.text for finding in exam.findings if finding.id == "D052")
    assert "the value 0 in many voxels: tissue lies below it too" in text


def typed(tmp_path: Path, values: np.ndarray, claim: str) -> list[str]:
    """What the doctor tells of a NIfTI file whose header has another type of the same size."""
    image = nib.Nifti1Image(values.transpose(2, 1, 0), np.diag([1.0, 1, 5, 1]), dtype=values.dtype)
    nib.save(image, tmp_path / "a.nii")
    said = nib.Nifti1Header()
    said.set_data_dtype(claim)
    content = bytearray((tmp_path / "a.nii").read_bytes())
    content[70:74] = said["datatype"].tobytes() + said["bitpix"].tobytes()
    (tmp_path / "a.nii").write_bytes(content)
    exam = examine_series(FoundSeries("1", "T1w", tmp_path, ("a.nii",), "named"), tmp_path, True)
    told = [finding.text for finding in exam.findings]
    return [text for text in told if text.startswith("expected values as the header") or "header's type" in text]


def smooth(kind: str) -> np.ndarray:
    """Ten slices of a head of 40 x 40 pixels: 0 to 900; with air below 0; with noise about 0; z-scored."""
    down, across = np.mgrid[-20:20, -20:20]
    volume = np.stack([np.clip(900 - 3.0 * (down**2 + across**2) - 10 * index, 0, None) for index in range(10)])
    if kind == "below 0":
        return volume - 20
    if kind == "noise":
        return volume + np.random.default_rng(0).normal(0, 6, volume.shape)
    if kind == "z-scored":
        inside = volume > 0
        return np.where(inside, 1000 * (volume - volume[inside].mean()) / volume[inside].std(), 0)
    return volume * {"large": 60, "few large": 40}.get(kind, 1)


@pytest.mark.parametrize(
    ("kind", "own", "claim", "told"),
    [
        ("below 0", "int16", "uint16", "neighbouring pixels more alike as numbers of another sign"),
        ("noise", "int16", "uint16", "neighbouring pixels more alike as numbers of another sign"),
        ("z-scored", "int16", "uint16", "neighbouring pixels more alike as numbers of another sign"),
        ("z-scored", "int32", "uint32", "neighbouring pixels more alike as numbers of another sign"),
        ("few large", "uint16", "int16", "neighbouring pixels more alike as numbers of another sign"),
        ("large", "uint16", "int16", "neighbouring pixels more alike as numbers of another sign"),
        ("plain", "float32", "int32", "them to be float32, read as int32"),
        ("z-scored", "float32", "int32", "them to be float32, read as int32"),
        ("plain", "float32", "uint32", "them to be float32, read as uint32"),
        ("plain", "float64", "int64", "them to be float64, read as int64"),
    ],
)
def test_values_of_another_type_of_the_same_size_are_told(
    tmp_path: Path, kind: str, own: str, claim: str, told: str
) -> None:
    (text,) = typed(tmp_path, smooth(kind).round().astype(own), claim)
    assert text.startswith(f"expected values as the header has them, found {told}")


@pytest.mark.parametrize(("own", "claim"), [("int32", "float32"), ("int64", "float64")])
def test_whole_numbers_as_floating_point_are_refused(tmp_path: Path, own: str, claim: str) -> None:
    (text,) = typed(tmp_path, smooth("plain").round().astype(own), claim)
    assert text.endswith("expected some above 1e-30; the header's type may be wrong")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda volume: volume.byteswap(), "numbers of the other byte order"),
        (lambda volume: volume.reshape(10, 32, 160), "rows of 80 pixels"),
        (lambda volume: volume.reshape(10, 128, 40), "rows of 80 pixels"),
        (lambda volume: volume.reshape(10, 80, 64), "rows of 80 pixels"),
    ],
    ids=["byte order", "rows joined", "rows cut", "exchanged"],
)
@pytest.mark.parametrize("dtype", ["int16", "uint16", "int32"])
def test_pixels_of_another_order_are_told(
    tmp_path: Path, change: Callable[[np.ndarray], np.ndarray], told: str, dtype: str
) -> None:
    down, across = np.mgrid[-32:32, -40:40]
    volume = np.stack([np.clip(900 - 0.9 * (down**2 + across**2) - 10 * index, 0, None) for index in range(10)])
    assert typed(tmp_path, volume.astype(dtype), dtype) == []
    (text,) = typed(tmp_path, change(volume.astype(dtype)), dtype)
    assert text == f"expected values as the header has them, found neighbouring pixels more alike as {told}"


@pytest.mark.parametrize("kind", ["plain", "below 0", "noise", "z-scored", "large"])
@pytest.mark.parametrize("own", ["int16", "uint16", "int32", "uint32", "int64", "float32", "float64"])
def test_values_of_their_own_type_are_not_told(tmp_path: Path, kind: str, own: str) -> None:
    values = smooth(kind)
    values = np.clip(values, 0, None) if own.startswith("u") else values / 100 if kind == "large" else values
    assert typed(tmp_path, values.astype(own), own) == []


@pytest.mark.parametrize(("own", "claim"), [("int16", "uint16"), ("uint16", "int16"), ("int32", "uint32")])
def test_values_that_both_types_hold_are_read_as_either(tmp_path: Path, own: str, claim: str) -> None:
    assert typed(tmp_path, smooth("plain").astype(own), claim) == []


@pytest.mark.parametrize(
    ("own", "claim", "told"),
    [
        ("uint16", "uint32", "numbers of 16 bits"),
        ("int16", "int32", "numbers of 16 bits"),
        ("uint8", "uint16", "numbers of 8 bits"),
        ("uint16", "uint8", "numbers of 16 bits"),
        ("int32", "int16", "numbers of 32 bits"),
    ],
)
def test_pixels_packed_in_others_are_told(write: Callable[..., list[Path]], own: str, claim: str, told: str) -> None:
    down, across = np.mgrid[-32:32, -40:40]
    volume = np.stack([np.clip(900 - 0.9 * (down**2 + across**2) - 10 * index, 0, None) for index in range(10)])
    packed = (volume / (4 if own == "uint8" else 1)).astype(own).view(claim)  # half the columns, or twice as many
    ((kind, text),) = read_content(write(packed), None).faults
    expected = f"expected values as the header has them, found neighbouring pixels more alike as {told}"
    assert (kind, text) == ("D055", expected)


def cut(volume: np.ndarray, *where: object, value: float = 0) -> np.ndarray:
    volume = volume.copy()
    volume[where] = value
    return volume


@pytest.mark.parametrize("stripped", [False, True])
@pytest.mark.parametrize(
    ("where", "n"),
    [
        ((slice(None), slice(32, None)), 6),
        ((slice(None), slice(44, None)), 6),
        ((slice(None), slice(None, 24)), 6),
        ((slice(None), slice(None), slice(32, None)), 6),
        ((slice(4, 6), slice(20, None)), 2),
        ((5, slice(32, None)), 1),
    ],
    ids=["half", "a third", "upper part", "right half", "two slices", "one slice"],
)
def test_slices_that_break_off_are_told(
    write: Callable[..., list[Path]], where: tuple[object, ...], n: int, stripped: bool
) -> None:
    whole = head()
    whole[whole < 400] *= not stripped
    assert read_content(write(whole), None).faults == ()
    ((kind, text),) = read_content(write(cut(whole, *where)), None).faults
    assert (kind, text) == ("D055", f"expected whole slices, found {n} that break off in a straight line")


@pytest.mark.parametrize(
    "volume",
    [
        cut(head(), slice(None), slice(60, None)),
        cut(head(), slice(None), slice(None), slice(None, 4)),
        cut(cut(head(), slice(None), slice(None, 8)), slice(None), slice(56, None)),
        cut(head(), slice(None), slice(None), slice(None), value=7),
    ],
    ids=["frame below", "frame at the left", "frames of noise", "constant"],
)
def test_head_in_a_frame_of_one_value_does_not_break_off(write: Callable[..., list[Path]], volume: np.ndarray) -> None:
    assert "break off" not in str(read_content(write(volume), None).faults)
