"""The doctor on a phantom with one fault of every kind, and on a clean one."""

import shutil
from pathlib import Path

import pytest
from planted_faults import FAULTS, PlantedPhantom

from mgmt_monai.cohort.doctor.doctor_report import Diagnosis
from mgmt_monai.cohort.doctor.visit import Visit, visit
from mgmt_monai.cohort.findings import KINDS


@pytest.fixture(scope="module")
def diagnosed(phantom_dir: Path, tmp_path_factory) -> tuple[set[tuple[str, str, str]], Diagnosis]:
    """What was planted, and what the doctor found."""
    data_dir = tmp_path_factory.mktemp("planted") / "phantom"
    shutil.copytree(phantom_dir, data_dir)
    phantom = PlantedPhantom(data_dir)
    planted = {expected for fault in FAULTS for expected in fault(phantom)}
    return planted, visit(data_dir, data_dir.parent / "report", Visit())


def test_every_planted_fault_is_found_and_nothing_else(diagnosed):
    planted, diagnosis = diagnosed
    found = {(finding.id, finding.patient_id, finding.modality) for finding in diagnosis.findings}
    assert found == planted


def test_faults_are_of_more_than_twenty_kinds(diagnosed):
    planted, _ = diagnosed
    kinds = {finding_id for finding_id, _, _ in planted}
    # D034, D037 and D038 come from the DICOM tree alone; D046 needs a manifest, D050 and D054 NIfTI, D062 a model.
    assert kinds == set(KINDS) - {"D034", "D037", "D038", "D046", "D050", "D054", "D062"}
    assert len(kinds) >= 20


def test_clean_phantom_has_no_finding_but_that_scanners_differ(phantom_dir: Path, tmp_path: Path):
    data_dir = tmp_path / "clean"
    shutil.copytree(phantom_dir, data_dir)
    diagnosis = visit(data_dir, tmp_path / "report", Visit())
    found = [(finding.id, finding.modality) for finding in diagnosis.findings]
    assert found == [("D060", modality) for modality in ("FLAIR", "T1w", "T1wCE", "T2w")]
    assert diagnosis.page_path.is_file()
