import hashlib
import json
import multiprocessing
import os
import re
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.transforms import CastToTyped, Compose, Lambdad, ScaleIntensityd

import mgmt_monai
from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.series import Series
from mgmt_monai.slices import SliceDataset, SliceStore, stored_series
from mgmt_monai.slices.errors import SlicesError
from mgmt_monai.slices.slice_store import CODE

#: Series of 3, 1 and 2 slices of 4 x 5.
VOLUMES = [np.arange(n)[:, None, None] + 10.0 * (i + 1) + np.zeros((n, 4, 5)) for i, n in enumerate((3, 1, 2))]
ITEMS = [{"image": i, "label": i % 2, "patient_id": f"p{i}"} for i in range(3)]


def read(index: int) -> torch.Tensor:
    return torch.as_tensor(VOLUMES[index])


def read_but_second(index: int) -> torch.Tensor:
    if index == 1:
        raise CohortError("patient p1: broken")
    return read(index)


def first_volume(series: Series) -> torch.Tensor:
    return torch.as_tensor(VOLUMES[0])


def broken_then_smaller(index: int) -> torch.Tensor:
    if index == 0:
        raise CohortError("patient p0: broken")
    return read(index)[:, : 5 - index]


def read_of_other_size(index: int) -> torch.Tensor:
    return read(index)[:, : 4 - index]


def chain(function=read, dtype=torch.float16) -> Compose:
    return Compose([Lambdad(keys="image", func=function), CastToTyped(keys="image", dtype=dtype)])


def store(folder: Path, **settings) -> SliceStore:
    return SliceStore(folder, **{"modality": "T1w", "manifest_hash": "a", "data": ITEMS, **settings})


def stores(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


def test_data_set_of_a_store_is_that_of_memory(tmp_path):
    own = ITEMS[1:]  # a split: not all of the store, and not from its beginning
    from_store = SliceDataset(own, chain(), store=store(tmp_path))
    in_memory = SliceDataset(own, chain())
    assert len(from_store) == len(in_memory) == 3
    assert from_store.slice_counts == in_memory.slice_counts == [1, 2]
    for index in range(3):
        torch.testing.assert_close(from_store[index], in_memory[index], rtol=0, atol=0)
    for index in range(2):
        assert torch.equal(from_store.series_slices(index), in_memory.series_slices(index))


def test_file_holds_the_slices_one_after_the_other_and_the_index_says_whose(tmp_path):
    store(tmp_path).series(chain(dtype=torch.float32))
    (folder,) = tmp_path.glob("T1w-*")
    stored = np.fromfile(folder / "slices.bin", np.float32).reshape(6, 4, 5)
    np.testing.assert_array_equal(stored, np.concatenate(VOLUMES))
    index = json.loads((folder / "index.json").read_text())
    assert (index["shape"], index["dtype"]) == ([4, 5], "float32")
    digests = [hashlib.sha256(f"{index['manifest_hash']}\0p{i}".encode()).hexdigest()[:16] for i in range(3)]
    assert [(one["patient"], one["n_slices"]) for one in index["series"]] == list(zip(digests, (3, 1, 2), strict=True))
    assert not re.search('"p[012]"', (folder / "index.json").read_text()), "nobody is named"


def test_store_is_built_once_and_found_by_the_next(tmp_path, caplog):
    caplog.set_level("INFO")
    store(tmp_path).series(chain())
    (folder,) = tmp_path.glob("T1w-*")
    written = (folder / "slices.bin").stat().st_mtime_ns
    again = store(tmp_path).series(chain(function=read))
    assert torch.equal(again["p2"][:], read(2).half())
    assert (folder / "slices.bin").stat().st_mtime_ns == written
    messages = [record.getMessage() for record in caplog.records]
    assert sum("built" in message and "MiB of memory" in message for message in messages) == 1
    assert sum("3 series, 6 slices" in message for message in messages) == 2


@pytest.mark.parametrize(
    ("settings", "other"),
    [
        pytest.param({"manifest_hash": "b"}, chain(), id="another-manifest"),
        pytest.param({"modality": "T2w"}, chain(), id="another-modality"),
        pytest.param({}, chain(dtype=torch.float32), id="a-changed-setting"),
        pytest.param({}, Compose([*chain().transforms, ScaleIntensityd("image")]), id="one-more-transform"),
    ],
)
def test_what_the_slices_depend_on_asks_for_another_store(tmp_path, settings, other):
    store(tmp_path).series(chain())
    store(tmp_path, **settings).series(other)
    assert len(stores(tmp_path)) == 2


def test_another_version_of_a_library_or_of_the_code_asks_for_another_store(tmp_path, monkeypatch):
    store(tmp_path).series(chain())
    monkeypatch.setattr("mgmt_monai.slices.slice_store.version", lambda package: f"{package} of tomorrow")
    store(tmp_path).series(chain())
    monkeypatch.setattr("mgmt_monai.slices.slice_store.CODE", ("transforms/crop.py",))  # as if the rest were another
    store(tmp_path).series(chain())
    assert len(stores(tmp_path)) == 3


def test_code_that_decides_about_slices_is_in_the_key():
    package = Path(mgmt_monai.__file__).parent
    files = {str(file.relative_to(package)) for pattern in CODE for file in package.glob(pattern)}
    steps = ("load", "crop", "reformat", "conceal", "intensity")
    assert {f"transforms/{step}.py" for step in steps} < files
    assert {"cohort/series.py", "cohort/files/headers.py", "cohort/files/pixels.py"} < files


def test_file_overwritten_in_place_asks_for_another_store(tmp_path):
    file = tmp_path / "p0.nii"
    file.write_bytes(b"before")
    series = Series("p0", "T1w", (file,), range(3))
    folder = tmp_path / "stores"
    for text in (b"before", b"beside"):
        file.write_bytes(text)
        os.utime(file, ns=(0, 1 if text == b"before" else 2))
        for _ in range(2):
            one = {"image": series, "label": 0, "patient_id": "p0"}
            store(folder, data=[one]).series(chain(function=first_volume))
    assert len(stores(folder)) == 2


def test_unequal_slices_behind_an_unreadable_series_name_their_own_patient(tmp_path):
    with pytest.raises(SlicesError, match=r"patient p2.*\(4, 5\)"):
        store(tmp_path).series(chain(function=broken_then_smaller))


def test_whole_store_is_used_where_nothing_can_be_written(tmp_path, monkeypatch):
    store(tmp_path).series(chain())
    monkeypatch.setattr("mgmt_monai.slices.stored_series.Lock", lambda *_: pytest.fail("it was locked"))
    assert torch.equal(store(tmp_path).series(chain())["p1"][:], read(1).half())


def test_store_deleted_meanwhile_is_told(tmp_path):
    series = store(tmp_path).series(chain())
    shutil.rmtree(next(tmp_path.glob("T1w-*")))
    with pytest.raises(SlicesError, match=r"slices\.bin: expected the slices .* gone"):
        series["p0"][0:1]


def test_patient_who_is_not_in_the_store_is_named(tmp_path):
    other = [{"image": 0, "label": 0, "patient_id": "p9"}]
    with pytest.raises(SlicesError, match="patient p9: expected a series in the slice store"):
        SliceDataset(other, chain(), store=store(tmp_path))


def test_transform_without_a_name_is_refused(tmp_path):
    with pytest.raises(SlicesError, match="--slice_store ''"):
        store(tmp_path).series(chain(function=lambda index: read(index)))
    assert not tmp_path.exists() or not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("function", "words"), [(read_but_second, "patient p1: broken"), (read_of_other_size, "patient p1.*\\(4, 5\\)")]
)
def test_failed_build_leaves_nothing(tmp_path, function, words):
    with pytest.raises(SlicesError, match=words):
        store(tmp_path).series(chain(function=function))
    assert stores(tmp_path) == []


@pytest.mark.parametrize(
    "damage", ["shortened", "overwritten", "no index", "torn index", "deep index", "another's index", "swapped"]
)
def test_damaged_store_is_built_again(tmp_path, damage, caplog):
    store(tmp_path).series(chain())
    (folder,) = tmp_path.glob("T1w-*")
    index = folder / "index.json"
    if damage == "shortened":
        os.truncate(folder / "slices.bin", 10)
    elif damage == "overwritten":
        data = bytearray((folder / "slices.bin").read_bytes())
        data[7] ^= 1
        (folder / "slices.bin").write_bytes(data)
    elif damage == "no index":
        index.unlink()
    elif damage == "torn index":
        index.write_text(index.read_text()[:50])
    elif damage == "deep index":
        index.write_text("[" * 100_000)
    elif damage == "swapped":  # two patients, whose slices then are each other's
        told = json.loads(index.read_text())
        first, _, last = told["series"]
        first["patient"], last["patient"] = last["patient"], first["patient"]
        index.write_text(json.dumps(told))
    else:
        index.write_text(index.read_text().replace('"key": "', '"key": "0'))
    series = store(tmp_path).series(chain())
    assert all(torch.equal(series[f"p{i}"][:], read(i).half()) for i in range(3))
    assert ("built again" in caplog.text) == (damage != "no index")


def test_what_a_killed_build_left_is_removed(tmp_path):
    store(tmp_path).series(chain())
    (folder,) = tmp_path.glob("T1w-*")
    left = tmp_path / f".{folder.name}.{'0' * 32}.building"
    folder.rename(left)
    store(tmp_path).series(chain())
    assert stores(tmp_path) == [folder.name]


def ask(folder: Path, ready, answers) -> None:
    ready.wait()
    answers.put(float(store(folder).series(chain())["p2"][:].sum()))


@pytest.mark.slow
def test_processes_that_ask_at_once_get_the_same_store(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready, answers = context.Barrier(2), context.Queue()
    processes = [context.Process(target=ask, args=(tmp_path, ready, answers)) for _ in range(2)]
    for process in processes:
        process.start()
    assert [answers.get(timeout=60) for _ in processes] == [float(read(2).half().sum())] * 2
    for process in processes:
        process.join()
    assert len(stores(tmp_path)) == 1


def test_no_process_holds_on_to_what_it_read(tmp_path):
    dataset = SliceDataset(ITEMS, chain(), store=store(tmp_path))
    kept = [dataset[index]["image"] for index in range(len(dataset))]
    assert "slices.bin" not in Path("/proc/self/maps").read_text()
    shutil.rmtree(tmp_path)
    assert float(kept[4][0, 0, 0]) == 30


def test_folder_that_takes_no_store_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SlicesError, match=r"file.*--slice_store DIR"):
        store(tmp_path / "file").series(chain())


def moments(images: torch.Tensor) -> torch.Tensor:
    """Three features of a slice."""
    return torch.stack([images.mean(dim=(1, 2, 3)), images.amax(dim=(1, 2, 3)), images[:, 0, 0, 0] ** 2], dim=1)


def never(images: torch.Tensor) -> torch.Tensor:
    pytest.fail("it was computed again")


def killed_at_the_second(images: torch.Tensor) -> torch.Tensor:
    if float(images[0, 0, 0, 0]) == 20:
        os.kill(os.getpid(), signal.SIGKILL)
    return moments(images)


def compute(folder: Path) -> None:
    store(folder).features(chain(), "a", killed_at_the_second)


@pytest.mark.parametrize("kept", ["stored", "in memory", "not to be kept"])
def test_features_of_a_data_set_are_those_of_its_slices(kept, tmp_path):
    own = ITEMS[1:]
    dataset = SliceDataset(own, chain(), store=None if kept == "in memory" else store(tmp_path))
    found = list(dataset.features("" if kept == "not to be kept" else "a", moments))
    assert len(list(tmp_path.glob("features-*"))) == (kept == "stored")
    assert [len(each) for each in found] == [1, 2]
    for item, each in zip(own, found, strict=True):
        for features, pixels in zip(each, VOLUMES[item["image"]], strict=True):
            assert features.tolist() == [pixels.mean(), pixels.max(), pixels[0, 0] ** 2]


def test_next_one_finds_them_and_another_network_does_not(tmp_path):
    store(tmp_path).features(chain(), "a", moments)
    again = store(tmp_path).features(chain(), "a", never)
    assert again["p1"][:].tolist() == [[[20, 20, 400]]]
    other = store(tmp_path).features(chain(), "other weights", lambda images: moments(images) + 1)
    assert other["p1"][:].tolist() == [[[21, 21, 401]]]
    store(tmp_path).features(chain(dtype=torch.float32), "a", moments)  # other slices
    assert len([name for name in stores(tmp_path) if "features" in name]) == 3


def test_process_killed_half_way_leaves_nothing_that_is_taken_for_them(tmp_path):
    process = multiprocessing.get_context("spawn").Process(target=compute, args=(tmp_path,))
    process.start()
    process.join(300)
    assert process.exitcode == -signal.SIGKILL
    assert not list(tmp_path.glob("features-T1w-*")) and list(tmp_path.glob(".features-T1w-*.building"))
    found = store(tmp_path).features(chain(), "a", moments)
    assert torch.equal(found["p2"][:].squeeze(1), moments(read(2).float().unsqueeze(1)))
    assert not list(tmp_path.glob(".*.building"))


def test_damaged_features_are_computed_again(tmp_path, caplog):
    store(tmp_path).features(chain(), "a", moments)
    (folder,) = tmp_path.glob("features-T1w-*")
    data = bytearray((folder / "features.bin").read_bytes())
    data[3] ^= 1
    (folder / "features.bin").write_bytes(data)
    found = store(tmp_path).features(chain(), "a", moments)
    assert found["p0"][:1].tolist() == [[[10, 10, 100]]]
    assert "not a whole feature store" in caplog.text
    assert json.loads((folder / "index.json").read_text())["shape"] == [1, 3]


def test_failed_computation_leaves_nothing(tmp_path):
    def broken(images: torch.Tensor) -> torch.Tensor:
        raise SlicesError("broken")

    with pytest.raises(SlicesError, match="broken"):
        store(tmp_path).features(chain(), "a", broken)
    assert not [name for name in stores(tmp_path) if "features" in name]


def test_wait_for_a_store_that_does_not_grow_has_an_end(tmp_path, monkeypatch):
    """As that of a job that was killed on another machine whose file system has no locks."""
    (tmp_path / ".T1w-key.owner").write_text(
        '{"host": "node2", "process": 7, "since": "2026-01-01T00:00:00Z", "begun": "1 1", "lock": "file"}'
    )
    monkeypatch.setattr(stored_series, "PATIENCE_S", 0.6)
    stored = stored_series.StoredFolder(
        tmp_path / "T1w-key", "slices", "key", {"modality": "T1w", "manifest_hash": ""}, list
    )
    with pytest.raises(
        SlicesError, match=r"7 on node2.* builds it, and nothing has come .* mgmt-monai unlock .*T1w-key\.owner"
    ):
        stored.series([])
