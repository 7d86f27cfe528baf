"""Faults planted into a phantom, one kind a function; each says which findings it must lead to."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, generate_uid

Expected = tuple[str, str, str]
"""A finding: identifier, patient, modality ("" for the patient, and both for the cohort)."""


class PlantedPhantom:
    """A copy of a phantom that faults are planted into.

    Args:
        data_dir: The copy, in Kaggle's layout; it is changed.
    """

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.patients = sorted(path.name for path in (data_dir / "train").iterdir())
        with (data_dir / "train_labels.csv").open() as stream:
            self.labels = {row["BraTS21ID"]: int(row["MGMT_value"]) for row in csv.DictReader(stream)}

    def series(self, patient: int, modality: str) -> Path:
        return self.data_dir / "train" / self.patients[patient] / modality

    def slices(self, patient: int, modality: str) -> list[Path]:
        """The files of a series in geometric order, by an independent reading."""
        headers = {path: dcmread(path, stop_before_pixels=True) for path in self.series(patient, modality).iterdir()}
        row, column = np.reshape(next(iter(headers.values())).ImageOrientationPatient, (2, 3)).astype(float)
        normal = np.cross(row, column)
        return sorted(
            headers, key=lambda path: float(np.dot(normal, np.array(headers[path].ImagePositionPatient, float)))
        )

    def edit(self, patient: int, modality: str, change: Callable[[int, Dataset], None]) -> None:
        """Change every slice's data set, given its index in geometric order."""
        for index, path in enumerate(self.slices(patient, modality)):
            edit_file(path, lambda dataset, index=index: change(index, dataset))

    def copy_series(self, source: tuple[int, str], target: tuple[int, str], scale: float = 1.0) -> None:
        """Put one patient's images, multiplied, into another's series, under the other's identifiers."""
        own = dcmread(self.slices(*target)[0], stop_before_pixels=True)
        files = self.slices(*source)
        shutil.rmtree(self.series(*target))
        self.series(*target).mkdir()
        for path in files:
            dataset = dcmread(path)
            for name in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SeriesDescription"):
                setattr(dataset, name, getattr(own, name))
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
            set_pixels(dataset, np.round(dataset.pixel_array * scale).astype(np.uint16))
            dataset.save_as(self.series(*target) / path.name)


def edit_file(path: Path, change: Callable[[Dataset], None]) -> None:
    dataset = dcmread(path)
    change(dataset)
    dataset.save_as(path)


def set_pixels(dataset: Dataset, pixels: np.ndarray) -> None:
    dataset.PixelData = pixels.tobytes()
    dataset.Rows, dataset.Columns = pixels.shape


def unreadable(phantom: PlantedPhantom) -> Iterator[Expected]:
    (phantom.series(0, "FLAIR") / "broken.dcm").write_bytes(b"no image")
    yield "D001", phantom.patients[0], "FLAIR"


def truncated(phantom: PlantedPhantom) -> Iterator[Expected]:
    path = phantom.slices(0, "T1w")[3]
    path.write_bytes(path.read_bytes()[:-1000])
    yield "D002", phantom.patients[0], "T1w"


def empty(phantom: PlantedPhantom) -> Iterator[Expected]:
    for path in phantom.series(0, "T1wCE").iterdir():
        path.unlink()
    yield "D003", phantom.patients[0], "T1wCE"


def colour(phantom: PlantedPhantom) -> Iterator[Expected]:
    def change(dataset: Dataset) -> None:
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0
        dataset.BitsAllocated = dataset.BitsStored = 8
        dataset.HighBit = 7
        dataset.PixelData = bytes(dataset.Rows * dataset.Columns * 3)

    edit_file(phantom.slices(0, "T2w")[0], change)
    yield "D004", phantom.patients[0], "T2w"


def mixed_sizes(phantom: PlantedPhantom) -> Iterator[Expected]:
    edit_file(phantom.slices(1, "FLAIR")[5], lambda d: set_pixels(d, d.pixel_array[:-2]))
    yield "D005", phantom.patients[1], "FLAIR"


def two_series(phantom: PlantedPhantom) -> Iterator[Expected]:
    uid = generate_uid()
    for path in phantom.slices(1, "T1w")[::2]:
        edit_file(path, lambda d: setattr(d, "SeriesInstanceUID", uid))
    yield "D006", phantom.patients[1], "T1w"


def two_echoes(phantom: PlantedPhantom) -> Iterator[Expected]:
    phantom.edit(1, "T1wCE", lambda i, d: setattr(d, "EchoTime", 11 if i % 2 else 22))
    yield "D007", phantom.patients[1], "T1wCE"


def mixed_orientations(phantom: PlantedPhantom) -> Iterator[Expected]:
    def turn(dataset: Dataset) -> None:
        row, column = np.reshape(dataset.ImageOrientationPatient, (2, 3)).astype(float)
        dataset.ImageOrientationPatient = [*column, *row]

    edit_file(phantom.slices(1, "T2w")[4], turn)
    yield "D008", phantom.patients[1], "T2w"


def duplicate_position(phantom: PlantedPhantom) -> Iterator[Expected]:
    files = phantom.slices(2, "FLAIR")
    position = dcmread(files[2], stop_before_pixels=True).ImagePositionPatient
    edit_file(files[3], lambda d: setattr(d, "ImagePositionPatient", position))
    yield "D009", phantom.patients[2], "FLAIR"


def no_position(phantom: PlantedPhantom) -> Iterator[Expected]:
    edit_file(phantom.slices(2, "T1w")[7], lambda d: delattr(d, "ImagePositionPatient"))
    yield "D010", phantom.patients[2], "T1w"


def gap(phantom: PlantedPhantom) -> Iterator[Expected]:
    for path in phantom.slices(2, "T1wCE")[8:10]:
        path.unlink()
    yield "D011", phantom.patients[2], "T1wCE"


def uneven(phantom: PlantedPhantom) -> Iterator[Expected]:
    files = phantom.slices(2, "T2w")
    before, moved = (dcmread(path, stop_before_pixels=True).ImagePositionPatient for path in files[6:8])
    position = [round(a + 0.7 * (b - a), 4) for a, b in zip(before, moved, strict=True)]
    edit_file(files[7], lambda d: setattr(d, "ImagePositionPatient", position))
    yield "D012", phantom.patients[2], "T2w"


def oblique(phantom: PlantedPhantom) -> Iterator[Expected]:
    turn = np.deg2rad(43)

    def change(index: int, dataset: Dataset) -> None:
        row = np.array([1.0, 0, 0])
        column = np.array([0, np.cos(turn), np.sin(turn)])
        dataset.ImageOrientationPatient = [round(float(v), 6) for v in (*row, *column)]
        dataset.ImagePositionPatient = [round(float(v), 4) for v in 4.0 * index * np.cross(row, column)]

    phantom.edit(3, "FLAIR", change)
    yield "D013", phantom.patients[3], "FLAIR"


def flipped(phantom: PlantedPhantom) -> Iterator[Expected]:
    def change(index: int, dataset: Dataset) -> None:
        row, column = np.reshape(dataset.ImageOrientationPatient, (2, 3)).astype(float)
        dataset.ImageOrientationPatient = [*(-row), *column]

    phantom.edit(3, "T1w", change)
    yield "D014", phantom.patients[3], "T1w"


def few(phantom: PlantedPhantom) -> Iterator[Expected]:
    files = phantom.slices(3, "T1wCE")
    for path in files[:10] + files[15:]:
        path.unlink()
    yield "D015", phantom.patients[3], "T1wCE"


def phase(phantom: PlantedPhantom) -> Iterator[Expected]:
    for path in phantom.slices(3, "T2w"):
        copy = path.with_name(f"phase-{path.name}")
        shutil.copy(path, copy)
        edit_file(copy, lambda d: setattr(d, "ImageType", ["ORIGINAL", "PRIMARY", "P", "ND"]))
    yield "D016", phantom.patients[3], "T2w"


def modality_tag(phantom: PlantedPhantom) -> Iterator[Expected]:
    phantom.edit(4, "FLAIR", lambda i, d: setattr(d, "Modality", "OT"))
    yield "D017", phantom.patients[4], "FLAIR"


def other_sequence(phantom: PlantedPhantom) -> Iterator[Expected]:
    phantom.edit(4, "T1w", lambda i, d: setattr(d, "SeriesDescription", "AX T2 TSE"))
    yield "D018", phantom.patients[4], "T1w"


def folder_inside(phantom: PlantedPhantom) -> Iterator[Expected]:
    (phantom.series(4, "T1wCE") / "more").mkdir()
    yield "D019", phantom.patients[4], "T1wCE"


def blank(phantom: PlantedPhantom) -> Iterator[Expected]:
    def change(index: int, dataset: Dataset) -> None:
        if index % 2:
            dataset.PixelData = bytes(len(dataset.PixelData))

    phantom.edit(4, "T2w", change)
    yield "D020", phantom.patients[4], "T2w"


def constant(phantom: PlantedPhantom) -> Iterator[Expected]:
    phantom.edit(5, "FLAIR", lambda i, d: setattr(d, "PixelData", bytes(len(d.PixelData))))
    yield "D021", phantom.patients[5], "FLAIR"


def clipped(phantom: PlantedPhantom) -> Iterator[Expected]:
    pixels = np.stack([dcmread(path).pixel_array for path in phantom.slices(5, "T1w")])
    limit = int(np.percentile(pixels[pixels > pixels.max() / 10], 80))

    def change(index: int, dataset: Dataset) -> None:
        set_pixels(dataset, np.minimum(dataset.pixel_array, limit).astype(np.uint16))

    phantom.edit(5, "T1w", change)
    yield "D022", phantom.patients[5], "T1w"


def eight_bit(phantom: PlantedPhantom) -> Iterator[Expected]:
    def change(index: int, dataset: Dataset) -> None:
        set_pixels(dataset, (dataset.pixel_array / dataset.pixel_array.max(initial=1) * 255).astype(np.uint8))
        dataset.BitsAllocated = dataset.BitsStored = 8
        dataset.HighBit = 7

    phantom.edit(5, "T1wCE", change)
    yield "D023", phantom.patients[5], "T1wCE"


def lossy(phantom: PlantedPhantom) -> Iterator[Expected]:
    phantom.edit(5, "T2w", lambda i, d: setattr(d, "LossyImageCompression", "01"))
    yield "D024", phantom.patients[5], "T2w"


def rescale(phantom: PlantedPhantom) -> Iterator[Expected]:
    def change(index: int, dataset: Dataset) -> None:
        if index % 3:
            dataset.RescaleIntercept, dataset.RescaleSlope = 0, 1 + index / 10

    phantom.edit(6, "FLAIR", change)
    yield "D025", phantom.patients[6], "FLAIR"


def undecodable(phantom: PlantedPhantom) -> Iterator[Expected]:
    def change(dataset: Dataset) -> None:
        dataset.PixelData = encapsulate([b"this is no JPEG 2000 stream"])
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
        dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless

    edit_file(phantom.slices(6, "T1w")[9], change)
    yield "D026", phantom.patients[6], "T1w"


def missing_modality(phantom: PlantedPhantom) -> Iterator[Expected]:
    shutil.rmtree(phantom.series(6, "T1wCE"))
    yield "D030", phantom.patients[6], "T1wCE"


def no_label(phantom: PlantedPhantom) -> Iterator[Expected]:
    labels = phantom.data_dir / "train_labels.csv"
    patient = phantom.patients[7]
    labels.write_text("".join(line for line in labels.open() if not line.startswith(patient)))
    yield "D031", patient, ""


def no_images(phantom: PlantedPhantom) -> Iterator[Expected]:
    with (phantom.data_dir / "train_labels.csv").open("a") as stream:
        stream.write("91234,1\n")
    yield "D032", "91234", ""


def other_patient(phantom: PlantedPhantom) -> Iterator[Expected]:
    phantom.edit(8, "T2w", lambda i, d: setattr(d, "PatientID", "somebody else"))
    yield "D033", phantom.patients[8], ""


def no_known_series(phantom: PlantedPhantom) -> Iterator[Expected]:
    (phantom.data_dir / "train/91235/DWI").mkdir(parents=True)
    with (phantom.data_dir / "train_labels.csv").open("a") as stream:
        stream.write("91235,0\n")
    yield "D035", "91235", ""


def copied_series(phantom: PlantedPhantom) -> Iterator[Expected]:
    phantom.copy_series((8, "T1w"), (8, "T1wCE"))
    yield "D036", phantom.patients[8], "T1wCE"


def same_images(phantom: PlantedPhantom) -> Iterator[Expected]:
    phantom.copy_series((9, "T2w"), (10, "T2w"))
    yield "D040", phantom.patients[9], ""


def nearly_same_images(phantom: PlantedPhantom) -> Iterator[Expected]:
    phantom.copy_series((11, "FLAIR"), (12, "FLAIR"), scale=0.6)
    yield "D041", phantom.patients[11], ""


def same_study(phantom: PlantedPhantom) -> Iterator[Expected]:
    uid = dcmread(phantom.slices(13, "T1w")[0], stop_before_pixels=True).StudyInstanceUID
    phantom.edit(14, "T1w", lambda i, d: setattr(d, "StudyInstanceUID", uid))
    yield "D042", phantom.patients[13], ""


def confounded(phantom: PlantedPhantom) -> Iterator[Expected]:
    for index, patient in enumerate(phantom.patients):
        if phantom.series(index, "T2w").is_dir() and index not in (0, 1):  # these are broken already
            version = f"scanner {phantom.labels[patient]}"
            phantom.edit(index, "T2w", lambda i, d, version=version: setattr(d, "ManufacturerModelName", version))
    yield "D043", "", "T2w"


def identifying(phantom: PlantedPhantom) -> Iterator[Expected]:
    phantom.edit(15, "FLAIR", lambda i, d: setattr(d, "PatientName", "Doe^Jane"))
    yield "D044", phantom.patients[15], ""


def swapped_patients(phantom: PlantedPhantom) -> Iterator[Expected]:
    for index, other in ((7, 12), (12, 7)):
        for modality in ("FLAIR", "T1w", "T1wCE", "T2w"):
            phantom.edit(index, modality, lambda i, d, to=phantom.patients[other]: setattr(d, "PatientID", to))
        yield "D047", phantom.patients[index], ""


def split_person(phantom: PlantedPhantom) -> Iterator[Expected]:
    for index, name in ((13, "Müller^Anna Maria"), (14, "MUELLER^ANNA")):
        phantom.edit(index, "T2w", lambda i, d, name=name: named(d, name, "19611224", "F"))
        yield "D044", phantom.patients[index], ""
    yield "D045", phantom.patients[13], ""


def almost_one_person(phantom: PlantedPhantom) -> Iterator[Expected]:
    for index, birth_date in ((9, "19580307"), (12, "19580703")):
        phantom.edit(index, "T2w", lambda i, d, born=birth_date: named(d, "Loe^Lucy", born, "F"))
        yield "D044", phantom.patients[index], ""
    yield "D061", phantom.patients[9], ""


def merged_people(phantom: PlantedPhantom) -> Iterator[Expected]:
    phantom.edit(10, "T1w", lambda i, d: named(d, "Roe^Richard", "19500308", "M"))
    phantom.edit(10, "FLAIR", lambda i, d: named(d, "Poe^Paula", "19481130", "F"))
    yield "D044", phantom.patients[10], ""
    yield "D048", phantom.patients[10], ""


def named(dataset: Dataset, name: str, birth_date: str, sex: str) -> None:
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientName, dataset.PatientBirthDate, dataset.PatientSex = name, birth_date, sex


def not_fetched(phantom: PlantedPhantom) -> Iterator[Expected]:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    (phantom.series(0, "FLAIR") / "pointer.dcm").write_text(pointer)
    yield "D049", phantom.patients[0], "FLAIR"


def unread_images(phantom: PlantedPhantom) -> Iterator[Expected]:
    (phantom.data_dir / "more/sub-01").mkdir(parents=True)
    (phantom.data_dir / "more/sub-01/t1.nii.gz").write_bytes(b"")
    yield "D051", "more", ""


def high_padding(phantom: PlantedPhantom) -> Iterator[Expected]:
    def change(index: int, dataset: Dataset) -> None:
        pixels = dataset.pixel_array.copy()
        pixels[:2] = pixels[-2:] = 32767
        set_pixels(dataset, pixels)
        dataset.add_new("PixelPaddingValue", "US", 32767)

    phantom.edit(6, "FLAIR", change)
    yield "D052", phantom.patients[6], "FLAIR"


def uid_per_slice(phantom: PlantedPhantom) -> Iterator[Expected]:
    phantom.edit(15, "FLAIR", lambda i, d: setattr(d, "SeriesInstanceUID", generate_uid()))
    yield "D053", phantom.patients[15], "FLAIR"


def spare_bits(phantom: PlantedPhantom) -> Iterator[Expected]:
    def change(index: int, dataset: Dataset) -> None:
        pixels = dataset.pixel_array.copy()
        pixels[:3, :3] |= 0x8000
        set_pixels(dataset, pixels)
        dataset.BitsStored, dataset.HighBit = 15, 14

    phantom.edit(13, "FLAIR", change)
    yield "D027", phantom.patients[13], "FLAIR"


def mixed_thickness(phantom: PlantedPhantom) -> Iterator[Expected]:
    phantom.edit(14, "FLAIR", lambda i, d: setattr(d, "SliceThickness", 1 + i % 2))
    yield "D055", phantom.patients[14], "FLAIR"


def alternating(phantom: PlantedPhantom) -> Iterator[Expected]:
    phantom.edit(14, "T1wCE", lambda i, d: setattr(d, "AcquisitionNumber", 1 + i % 2))
    yield "D056", phantom.patients[14], "T1wCE"


def mixed(phantom: PlantedPhantom) -> Iterator[Expected]:
    for modality in ("FLAIR", "T1w", "T1wCE", "T2w"):  # a phantom's scanners differ
        yield "D060", "", modality


FAULTS = (
    unreadable, truncated, empty, colour, mixed_sizes, two_series, two_echoes, mixed_orientations, duplicate_position,
    no_position, gap, uneven, oblique, flipped, few, phase, modality_tag, other_sequence, folder_inside, blank,
    constant, clipped, eight_bit, lossy, rescale, undecodable, missing_modality, no_label, no_images, other_patient,
    no_known_series, copied_series, same_images, nearly_same_images, same_study, confounded, identifying,
    swapped_patients, split_person, almost_one_person, merged_people, not_fetched, unread_images,
    high_padding, uid_per_slice, spare_bits, mixed_thickness, alternating, mixed,
)  # fmt: skip
