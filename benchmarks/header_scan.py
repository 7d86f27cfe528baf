"""How fast are a cohort's headers read, and in how much memory? Beside the loop with pydicom that people write.

    python benchmarks/header_scan.py --out header_scan.json

Makes a cohort the size of RSNA-MICCAI 2021 in a temporary folder (585 patients x 4 series x 170 files of 16 x 16
pixels, each with the elements of a Kaggle header; about 1.7 GB of disk) and reads it, in turns and each in a process of
its own: (a) one process that calls ``pydicom.dcmread(path, stop_before_pixels=True)`` on the files of some patients and
takes a dozen attributes of each, (b) our scan of all, (c) our scan once more, nothing having changed. Then our scan of
a tenth of the patients, to see whether memory grows with their number. With ``--growth`` it runs the commands that
users run, at a first and a second visit, on an eighth of the patients, a quarter, half and all. With ``--against
CHECKOUT`` (a worktree of another commit) it runs them side by side with that commit's. Files are in the page cache: the
disk is not measured. Memory is the sum over all processes of a run of what each has to itself (PSS), sampled; processor
time is theirs together, and says what the rates do not on a machine that has other work, too. Linux only.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import PYDICOM_IMPLEMENTATION_UID, ExplicitVRLittleEndian, MRImageStorage, generate_uid

MODALITIES = ("FLAIR", "T1w", "T1wCE", "T2w")

KAGGLE = {
    "SpecificCharacterSet": "ISO_IR 100", "ImageType": ["DERIVED", "SECONDARY"], "SOPClassUID": MRImageStorage,
    "StudyDate": "", "ContentDate": "", "StudyTime": "", "AccessionNumber": "00000", "Modality": "MR",
    "Manufacturer": "", "ReferringPhysicianName": "", "ManufacturerModelName": "", "PatientName": "00000",
    "PatientID": "00000", "PatientBirthDate": "", "PatientSex": "", "PatientIdentityRemoved": "YES",
    "DeidentificationMethod": "CTP", "ContrastBolusAgent": "", "ScanningSequence": ["SE", "IR"],
    "SequenceVariant": ["SK", "SP", "OSP"], "ScanOptions": "PFP", "MRAcquisitionType": "2D", "SequenceName": "*tir2d1",
    "AngioFlag": "N", "SliceThickness": "5.0", "RepetitionTime": "9000.0", "EchoTime": "125.0",
    "InversionTime": "2500.0", "NumberOfAverages": "1.0", "ImagingFrequency": "63.676", "ImagedNucleus": "1H",
    "EchoNumbers": "1", "MagneticFieldStrength": "1.5", "SpacingBetweenSlices": "6.0",
    "NumberOfPhaseEncodingSteps": "223", "EchoTrainLength": "21", "PercentSampling": "87.5",
    "PercentPhaseFieldOfView": "87.5", "PixelBandwidth": "150.0", "TriggerTime": "0.0", "NominalInterval": "0",
    "HeartRate": "0", "CardiacNumberOfImages": "0", "TriggerWindow": "0", "ReconstructionDiameter": "230.0",
    "ReceiveCoilName": "HEAD", "TransmitCoilName": "BODY", "AcquisitionMatrix": [0, 256, 196, 0],
    "InPlanePhaseEncodingDirection": "ROW", "FlipAngle": "150.0", "VariableFlipAngleFlag": "N", "SAR": "0.8",
    "dBdt": "0.0", "PatientPosition": "HFS", "SeriesNumber": "3", "AcquisitionNumber": "1",
    "ImageOrientationPatient": ["0.99997", "0.006", "-0.003", "-0.0067", "0.9558", "-0.29403"], "Laterality": "",
    "ImagesInAcquisition": "170", "PositionReferenceIndicator": "", "SamplesPerPixel": 1,
    "PhotometricInterpretation": "MONOCHROME2", "Rows": 16, "Columns": 16, "PixelSpacing": ["0.4492", "0.4492"],
    "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15, "PixelRepresentation": 0, "SmallestImagePixelValue": 0,
    "LargestImagePixelValue": 255, "WindowCenter": "453.0", "WindowWidth": "907.0", "RescaleIntercept": "0.0",
    "RescaleSlope": "1.0", "RescaleType": "US", "LossyImageCompression": "00",
    "PerformedProcedureStepStartDate": "", "PerformedProcedureStepDescription": "", "PresentationLUTShape": "IDENTITY",
}  # fmt: skip
"""The elements of an RSNA-MICCAI file, but for those that a series or a slice has to itself."""

PER_SLICE = {0x00080018: "UI", 0x00200013: "IS", 0x00200032: "DS", 0x00201041: "DS"}
"""SOPInstanceUID, InstanceNumber, ImagePositionPatient, SliceLocation: all else is encoded once a series."""

COMMANDS = {
    "headers": ["doctor", "--headers-only", "--out", "doctor"],
    "pixels": ["manifest", "build", "--external", "--out", "m.json"],
}
"""What users run, behind ``mgmt-monai``; the folder follows."""

SPACING_MM = 1.0
_PIXEL_BYTES = 512
SAMPLE_S = 0.5


def write_series(folder: Path, n_slices: int) -> None:
    """One series, in Kaggle's names: ``<patient>/<modality>/Image-<n>.dcm``."""
    patient_id, modality = folder.parts[-2:]
    header = Dataset()
    for keyword, value in KAGGLE.items():
        setattr(header, keyword, value)
    header.PatientID = header.PatientName = header.AccessionNumber = patient_id
    header.SeriesDescription = modality
    header.StudyInstanceUID = generate_uid(entropy_srcs=[patient_id])
    header.SeriesInstanceUID = generate_uid(entropy_srcs=[patient_id, modality])
    header.FrameOfReferenceUID = generate_uid(entropy_srcs=[patient_id, "frame"])
    runs = [_encoded(header[first + 1 : last]) for first, last in pairwise([0, *PER_SLICE, 0xFFFFFFFF])]
    row, column = np.reshape(np.array(KAGGLE["ImageOrientationPatient"], dtype=float), (2, 3))
    normal = np.cross(row, column)
    pixels = Dataset()
    pixels.add_new("PixelData", "OW", bytes(_PIXEL_BYTES))
    end = _encoded(pixels)[:-_PIXEL_BYTES]
    folder.mkdir(parents=True)
    for index in range(n_slices):
        uid = generate_uid(entropy_srcs=[patient_id, modality, str(index)])
        position = "\\".join(f"{value:.6f}" for value in normal * index * SPACING_MM)
        values = (uid, str(index + 1), position, f"{index * SPACING_MM:.4f}")
        own = [_text(tag, vr, value) for (tag, vr), value in zip(PER_SLICE.items(), values, strict=True)]
        noise = hashlib.shake_128(uid.encode()).digest(_PIXEL_BYTES)  # no two slices alike: the doctor would tell
        body = b"".join(piece for pair in zip(runs, [*own, end + noise], strict=True) for piece in pair)
        (folder / f"Image-{index + 1}.dcm").write_bytes(_meta(uid) + body)


def make_cohort(data_dir: Path, n_patients: int, n_series: int, n_slices: int, workers: int) -> None:
    """A cohort in Kaggle's layout, with its label table."""
    patients = [f"{number:05d}" for number in range(n_patients)]
    folders = [data_dir / "train" / patient / modality for patient in patients for modality in MODALITIES[:n_series]]
    folders = [folder for folder in folders if not folder.exists()]  # of a smaller cohort, which grows
    with ProcessPoolExecutor(workers) as pool:
        list(pool.map(write_series, folders, [n_slices] * len(folders), chunksize=8))
    rows = "".join(f"{patient},{index % 2}\n" for index, patient in enumerate(patients))
    (data_dir / "train_labels.csv").write_text("BraTS21ID,MGMT_value\n" + rows)


def plain_loop(data_dir: Path, n_patients: int) -> int:
    """What people write; returns the number of files read."""
    rows = []
    for patient_dir in sorted((data_dir / "train").iterdir())[:n_patients]:
        for path in sorted(patient_dir.rglob("*.dcm")):
            header = pydicom.dcmread(path, stop_before_pixels=True)
            rows.append(
                {
                    "path": str(path),
                    "patient": header.PatientID,
                    "series": header.SeriesInstanceUID,
                    "description": header.SeriesDescription,
                    "number": header.InstanceNumber,
                    "rows": header.Rows,
                    "columns": header.Columns,
                    "spacing": header.PixelSpacing,
                    "thickness": header.SliceThickness,
                    "position": header.ImagePositionPatient,
                    "orientation": header.ImageOrientationPatient,
                    "echo_time": header.EchoTime,
                    "repetition_time": header.RepetitionTime,
                }
            )
    return len(rows)


def ours(data_dir: Path, n_patients: int, workers: int) -> int:
    """Our scan, from the folder to the last exam, with its cache; returns the number of files read."""
    from mgmt_monai.cohort.examination.scan import scan
    from mgmt_monai.cohort.examination.scan_cache import ScanCache
    from mgmt_monai.cohort.layouts import find_series

    found = find_series(data_dir)
    wanted = set(sorted(found.patients)[:n_patients])
    cache = ScanCache(data_dir)
    n_files = 0
    series = [item for item in found.series if item.patient_id in wanted]
    for exam in scan(series, data_dir, pixels=False, cache=cache, workers=workers):
        if exam.record is None:
            raise click.ClickException(f"{exam.directory}: {[finding.line for finding in exam.findings]}")
        n_files += len(exam.record.files)
    cache.close()
    return n_files


def side_by_side(
    data_dir: Path, checkouts: list[Path], rounds: int, workers: int, commands: dict[str, list[str]] = COMMANDS
) -> dict[str, list[dict[str, float]]]:
    """Seconds, seconds of processor and peak memory of each of `COMMANDS`, by visit and checkout, in turns.

    Args:
        data_dir: The made cohort.
        checkouts: Folders with the package.
        rounds: How often.
        workers: Processes of each command.
        commands: What is run.
    """
    runs: dict[str, list[dict[str, float]]] = {}
    work = data_dir.with_name(data_dir.name + "-work")
    for _ in range(rounds):
        for what, command in commands.items():
            for checkout in checkouts:
                (data_dir / ".mgmt-monai-scan.sqlite").unlink(missing_ok=True)
                for visit in ("first", "second"):
                    work.mkdir()
                    line = [sys.executable, "-m", "mgmt_monai.cli.main", *command, "--workers", str(workers), data_dir]
                    start = time.perf_counter()
                    process = subprocess.Popen(
                        line,
                        cwd=work,
                        env={**os.environ, "PYTHONPATH": str(checkout)},
                        stdout=subprocess.DEVNULL,
                        stderr=subprocess.PIPE,
                        text=True,
                    )
                    watch = _Watch(process)
                    watch.start()
                    error = process.communicate()[1]
                    watch.join()
                    seconds = time.perf_counter() - start
                    shutil.rmtree(work)
                    if process.returncode:
                        raise click.ClickException(f"{checkout}: {command[0]} failed: {error[-500:]}")
                    told = {"seconds": seconds, "cpu_s": watch.cpu_s, "peak_mb": watch.peak_bytes / 1e6}
                    runs.setdefault(f"{what}, {visit} visit, {checkout}", []).append(told)
    return runs


def growth(
    data_dir: Path, n_patients: int, n_series: int, n_slices: int, workers: int, commands: dict[str, list[str]]
) -> dict[int, dict[str, dict[str, float]]]:
    """What `side_by_side` tells, by number of patients, also as a table: seconds, of processor, how many times.

    Args:
        data_dir: Where the cohort is made, and grows.
        n_patients: Of the largest.
        n_series: Modalities a patient.
        n_slices: Files a series.
        workers: Processes of each command.
        commands: What is run.
    """
    found: dict[int, dict[str, dict[str, float]]] = {}
    here = Path(__file__).resolve().parents[1]
    for n in (n_patients // 8, n_patients // 4, n_patients // 2, n_patients):
        make_cohort(data_dir, n, n_series, n_slices, workers)
        runs = side_by_side(data_dir, [here], 1, workers, commands)
        found[n] = {name.rpartition(", ")[0]: told[0] for name, told in runs.items()}
        half = found.get(n // 2)
        if half is None:
            click.echo("| patients | " + " | ".join(found[n]) + " |\n|---" + "|---" * len(found[n]) + "|")
        cells = [
            f"{told['seconds']:.1f} / {told['cpu_s']:.1f}"
            + (f" (x {told['cpu_s'] / half[name]['cpu_s']:.2f})" if half else "")
            for name, told in found[n].items()
        ]
        click.echo(f"| {n:,} | " + " | ".join(cells) + " |")
    return found


def measured(what: str, data_dir: Path, n_patients: int, workers: int) -> dict[str, float]:
    """Files a second and peak memory in MB of one way, run in a process of its own."""
    command = [sys.executable, str(Path(__file__).resolve()), "--measure", what, "--data", str(data_dir)]
    command += ["--patients", str(n_patients), "--workers", str(workers)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    watch = _Watch(process)
    watch.start()
    output = process.communicate()[0]
    watch.join()
    if process.returncode:
        raise click.ClickException(f"{what} failed; run it by hand: {' '.join(command)}")
    told = json.loads(output.splitlines()[-1])
    return {
        "files_per_s": told["files"] / told["seconds"],
        "cpu_us_per_file": watch.cpu_s / told["files"] * 1e6,
        "peak_mb": watch.peak_bytes / 1e6,
        **told,
    }


@click.command(help=__doc__)
@click.option("--patients", default=585, show_default=True)
@click.option("--series", default=4, show_default=True, help="Modalities a patient, at most 4.")
@click.option("--slices", default=170, show_default=True, help="Files a series.")
@click.option("--rounds", default=3, show_default=True, help="How often each way is measured; the median is told.")
@click.option("--loop-patients", default=12, show_default=True, help="Patients that the plain loop reads.")
@click.option("--workers", default=os.cpu_count(), help="Processes of ours; the plain loop is one.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures here, as JSON.")
@click.option(
    "--against",
    type=click.Path(exists=True, file_okay=False, resolve_path=True, path_type=Path),
    help="A checkout of another commit: both are measured by the users' commands, and nothing else.",
)
@click.option(
    "--growth",
    "grows",
    type=click.Choice(["headers", "all"]),
    help="How the time of the users' commands grows with the patients: of the doctor on headers, or of all.",
)
@click.option("--data", type=click.Path(path_type=Path), hidden=True)
@click.option("--measure", type=click.Choice(["loop", "first", "second"]), hidden=True)
def main(
    patients: int,
    series: int,
    slices: int,
    rounds: int,
    loop_patients: int,
    workers: int,
    out: Path | None,
    against: Path | None,
    grows: str | None,
    data: Path | None,
    measure: str | None,
) -> None:
    """Make the cohort, measure, print; as a child (``--measure``), run one way once."""
    if measure is not None and data is not None:
        _run_once(measure, data, patients, workers)
        return
    root = Path(tempfile.mkdtemp(prefix="header-scan-"))
    try:
        if grows:
            commands = {"headers": COMMANDS["headers"]} if grows == "headers" else COMMANDS
            grown = growth(root, patients, series, slices, workers, commands)
            if out is not None:
                out.write_text(json.dumps(grown, indent=4) + "\n", encoding="utf-8")
            return
        start = time.perf_counter()
        make_cohort(root, patients, series, slices, workers)
        n_files = patients * series * slices
        click.echo(f"{n_files} files made in {time.perf_counter() - start:.0f} s")
        if against is not None:
            checkouts = [Path(__file__).resolve().parents[1], against]
            compared = side_by_side(root, checkouts, rounds, workers)
            for name, told in compared.items():
                middle = {key: statistics.median(one[key] for one in told) for key in told[0]}
                seconds = f"{middle['seconds']:.1f} s, {middle['cpu_s']:.1f} of processor"
                click.echo(f"{name}: {seconds}, {middle['peak_mb']:.0f} MB")
            if out is not None:
                out.write_text(json.dumps(compared, indent=4) + "\n", encoding="utf-8")
            return
        runs: dict[str, list[dict[str, float]]] = {"loop": [], "first": [], "second": []}
        for _ in range(rounds):
            runs["loop"].append(measured("loop", root, min(loop_patients, patients), workers))
            runs["first"].append(measured("first", root, patients, workers))
            runs["second"].append(measured("second", root, patients, workers))
        few = measured("first", root, max(1, patients // 10), workers)
    finally:
        shutil.rmtree(root)
    report = _report(runs, few, n_files, workers)
    _print(report)
    if out is not None:
        out.write_text(json.dumps(report, indent=4) + "\n", encoding="utf-8")


def _run_once(measure: str, data_dir: Path, n_patients: int, workers: int) -> None:
    if measure == "first":
        (data_dir / ".mgmt-monai-scan.sqlite").unlink(missing_ok=True)
    start = time.perf_counter()
    n_files = plain_loop(data_dir, n_patients) if measure == "loop" else ours(data_dir, n_patients, workers)
    click.echo(json.dumps({"files": n_files, "seconds": time.perf_counter() - start}))


def _report(
    runs: dict[str, list[dict[str, float]]], few: dict[str, float], n_files: int, workers: int
) -> dict[str, Any]:
    report: dict[str, Any] = {"files": n_files, "workers": workers, "rounds": len(runs["loop"])}
    for name, results in runs.items():
        report[name] = {key: round(statistics.median(run[key] for run in results), 1) for key in results[0]}
    rates = {name: [run["files_per_s"] for run in results] for name, results in runs.items()}
    report["ratio_first"] = round(statistics.median(rates["first"]) / statistics.median(rates["loop"]), 1)
    report["ratio_second"] = round(statistics.median(rates["second"]) / statistics.median(rates["loop"]), 1)
    report["tenth_of_patients"] = {key: round(value, 1) for key, value in few.items()}
    return report


def _print(report: dict[str, Any]) -> None:
    click.echo(
        f"| {report['files']} files | files/s | times the loop | µs of processor a file | peak memory | seconds |"
    )
    click.echo("|---|---|---|---|---|---|")
    names = {
        "loop": "plain pydicom loop, 1 process (some patients)",
        "first": f"ours, first scan, {report['workers']} workers",
        "second": "ours, second scan, unchanged",
        "tenth_of_patients": "ours, first scan, a tenth of the patients",
    }
    for key, name in names.items():
        run = report[key]
        ratio = run["files_per_s"] / report["loop"]["files_per_s"]
        click.echo(
            f"| {name} | {run['files_per_s']:.0f} | {ratio:.1f} | {run['cpu_us_per_file']:.0f} "
            f"| {run['peak_mb']:.0f} MB | {run['seconds']:.1f} |"
        )


def _encoded(elements: Dataset) -> bytes:
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = False, True
    write_dataset(buffer, elements)
    return buffer.getvalue()


def _text(tag: int, vr: str, value: str) -> bytes:
    """An element of text, in explicit VR little endian."""
    fill = b"\0" if vr == "UI" else b" "
    content = value.encode() + fill * (len(value) % 2)
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr.encode(), len(content)) + content


def _meta(uid: str) -> bytes:
    """Preamble and file meta information of one instance."""
    rest = struct.pack("<HH2sHL", 2, 1, b"OB", 0, 2) + b"\0\1"
    rest += _text(0x00020002, "UI", MRImageStorage) + _text(0x00020003, "UI", uid)
    rest += _text(0x00020010, "UI", ExplicitVRLittleEndian) + _text(0x00020012, "UI", PYDICOM_IMPLEMENTATION_UID)
    return bytes(128) + b"DICM" + struct.pack("<HH2sHL", 2, 0, b"UL", 4, len(rest)) + rest


class _Watch(threading.Thread):
    """What a process and those below it take together: memory at most, processor time in all (to a sample)."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        super().__init__(daemon=True)
        self.process = process
        self.peak_bytes = 0
        self.seconds: dict[int, float] = {}

    @property
    def cpu_s(self) -> float:
        return sum(self.seconds.values())

    def run(self) -> None:
        while self.process.poll() is None:
            family = _family(self.process.pid)
            self.peak_bytes = max(self.peak_bytes, sum(map(_own_bytes, family)))
            self.seconds.update((pid, _cpu_s(pid)) for pid in family if _cpu_s(pid))
            time.sleep(SAMPLE_S)


def _family(root: int) -> list[int]:
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # ended meanwhile
    family = [root]
    for pid in family:  # grows while it is walked
        family += [child for child, parent in parents.items() if parent == pid]
    return family


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _own_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


if __name__ == "__main__":
    main()
