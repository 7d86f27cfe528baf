from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from made_bundles import write_bundle
from sr_content import items

from mgmt_monai.exchange.bundle_folder import open_bundle
from mgmt_monai.inference.model import BundleModel, load_model
from mgmt_monai.inference.predict_study import PredictedStudy, predict_study
from mgmt_monai.pacs.delivery import sources_of, write_results
from mgmt_monai.pacs.errors import PacsError

pytestmark = pytest.mark.xdist_group("training")


@pytest.fixture(scope="module")
def models(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[BundleModel]]:
    """Of T1w as acquired, of T1w shown coronal, and of T2w, which the study does not have."""
    folder = tmp_path_factory.mktemp("bundles")
    native = write_bundle(folder / "native", finished_run, modality="T1w")
    coronal = write_bundle(folder / "coronal", finished_run, modality="T1w", plane="coronal")
    absent = write_bundle(folder / "absent", finished_run, modality="T2w")
    with open_bundle(native) as one, open_bundle(coronal) as two, open_bundle(absent) as three:
        yield [load_model(bundle) for bundle in (one, two, three)]


@pytest.fixture(scope="module")
def predicted(study_dir: Path, models: list[BundleModel]) -> PredictedStudy:
    return predict_study(study_dir, models)


def test_results_of_a_real_prediction_tell_its_numbers(
    predicted: PredictedStudy, models: list[BundleModel], tmp_path: Path
) -> None:
    pages = [np.full((8, 9, 3), value, np.uint8) for value in (1, 2)]

    objects = write_results(predicted, models, tmp_path / "out", pages=pages)

    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["page-1.dcm", "page-2.dcm", "report.dcm"]
    report = pydicom.dcmread(tmp_path / "out" / "report.dcm")
    told = [item.MeasuredValueSequence[0].FloatingPointValue for item in items(report, "MM011")]
    answers = [one.probability for one in predicted.prediction.series]
    assert told == [answer for answer in answers if answer is not None]
    assert answers[2] is None
    assert [pydicom.dcmread(tmp_path / "out" / f"page-{n}.dcm").pixel_array[0, 0, 0] for n in (1, 2)] == [1, 2]
    assert [one.Modality for one in objects] == ["SR", "OT", "OT"]


def test_sources_are_the_series_that_each_model_read(predicted: PredictedStudy, models: list[BundleModel]) -> None:
    native, coronal, absent = sources_of(predicted, models)

    assert (native.plane, coronal.plane, absent) == ("native", "coronal", None)
    assert len(native.used([0, 1])) == 2
    assert len(coronal.used([0, 1])) == native.series.n_slices


def test_results_that_are_there_are_kept(predicted: PredictedStudy, models: list[BundleModel], tmp_path: Path) -> None:
    [first] = write_results(predicted, models, tmp_path)

    with pytest.raises(PacsError, match=r"report\.dcm is there already"):
        write_results(predicted, models, tmp_path)

    assert pydicom.dcmread(tmp_path / "report.dcm").SOPInstanceUID == first.SOPInstanceUID


def test_nothing_is_written_where_nothing_is_wanted(
    predicted: PredictedStudy, models: list[BundleModel], tmp_path: Path
) -> None:
    assert write_results(predicted, models, tmp_path, report=False) == []
    assert list(tmp_path.iterdir()) == []
