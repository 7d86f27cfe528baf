"""Make the doctor's page of public DICOM that the documentation shows: python docs/make_doctor_page.py DICOM_DIR."""

from __future__ import annotations

import argparse
import csv
import shutil
import tempfile
from pathlib import Path

from mgmt_monai.cohort.doctor.visit import Visit, visit

OUT = Path(__file__).parent / "how-to/doctor-page"


def main() -> None:
    """List every folder of DICOM files as a patient's T1w in a CSV, and let the doctor look at them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dicom_dir", type=Path, help="GE_T1w, papaya_FSE_PD_axial and dicom2nifti, each as published")
    source = parser.parse_args().dicom_dir
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder) / "public DICOM"
        shutil.copytree(source, data_dir)  # what is read is kept beside the data, and the source stays as it is
        folders = sorted({path.parent.relative_to(data_dir).as_posix() for path in data_dir.rglob("*.dcm")})
        with (data_dir / "cohort.csv").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(["patient_id", "label", "T1w", "T1wCE", "T2w", "FLAIR"])
            # No labels: these are no patients of one cohort.
            names = [name.replace("dicom2nifti/tests/data/", "").replace("/", " ") for name in folders]
            writer.writerows([name, "", path, "", "", ""] for name, path in zip(names, folders, strict=True))
        visit(data_dir, OUT, Visit(layout="csv"))


if __name__ == "__main__":
    main()
