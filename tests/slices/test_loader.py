import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from monai.transforms import Compose, Lambdad, RandScaleIntensityd
from torch.utils.data import DataLoader

from mgmt_monai.slices import EpochBatches, SliceDataset
from mgmt_monai.slices.errors import SlicesError
from mgmt_monai.slices.loader import SHARED_MEMORY, SliceLoader, fitting_workers
from mgmt_monai.slices.shares import ShareLoader

ITEMS = [{"image": i, "label": i % 2, "patient_id": f"p{i}"} for i in range(3)]


@pytest.fixture
def dataset() -> SliceDataset:
    """Three series of four slices; a slice's value tells series and place."""
    load = Lambdad(keys="image", func=lambda i: torch.arange(4.0).view(4, 1, 1).expand(4, 2, 2) + 10 * i)
    return SliceDataset(ITEMS, Compose([load]))


@pytest.mark.parametrize("kind", [SliceLoader, ShareLoader])
@pytest.mark.parametrize("workers", [0, 2])
def test_batches_of_every_epoch_are_those_of_torchs_loader(kind, workers, dataset):
    ours, theirs = (EpochBatches(dataset, 5, seed=1) for _ in range(2))
    loader = kind(dataset, batch_sampler=ours, device="cpu", num_workers=workers)
    assert len(loader) == 3
    for epoch in (1, 2):  # the second time from the same worker processes
        ours.set_epoch(epoch)
        theirs.set_epoch(epoch)
        for found, expected in zip(loader, DataLoader(dataset, batch_sampler=theirs), strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize("random", [[], [RandScaleIntensityd("image", factors=0.5, prob=1.0)]], ids=["plain", "random"])
def test_batch_of_none_has_the_shapes_and_types_of_any(random, dataset):
    dataset = SliceDataset(ITEMS, Compose([*dataset.transform.transforms, *random]))
    none, two = dataset.batch([]), dataset.batch([(1, 3), (1, 9)])
    assert {name: (0, *values.shape[1:]) for name, values in two.items()} == {
        name: tuple(values.shape) for name, values in none.items()
    }
    assert all(none[name].dtype == two[name].dtype for name in two)
    assert two["patient_index"].tolist() == [0, 2] and two["index"].tolist() == [3, 9]


@pytest.mark.parametrize("workers", [0, 1])
def test_loading_takes_none_of_the_global_random_numbers(workers, dataset):
    loader = SliceLoader(dataset, num_workers=workers, batch_size=4)
    for _ in range(2):
        torch.manual_seed(3)
        list(loader)
        assert torch.equal(torch.rand(4), torch.rand(4, generator=torch.Generator().manual_seed(3)))


def test_batches_for_evaluation_come_in_order(dataset):
    drawn = torch.cat([batch["image"][:, 0, 0, 0] for batch in SliceLoader(dataset, batch_size=5, sampler=range(3, 9))])
    assert drawn.tolist() == [3, 10, 11, 12, 13, 20]


@pytest.mark.parametrize(("device", "pinned"), [("cpu", False), ("cuda:0", True), (torch.device("cuda"), True)])
@pytest.mark.parametrize("workers", [0, 2])
def test_loader_is_set_for_its_device(device, pinned, workers, dataset):
    for keeps in (False, True):
        loader = SliceLoader(dataset, device, workers, keeps, batch_size=2)
        assert (loader.pin_memory, loader.persistent_workers) == (pinned, keeps and workers > 0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_batches_for_a_gpu_are_pinned(dataset):
    (batch,) = SliceLoader(dataset, "cuda", 1, batch_size=12)
    assert batch["image"].is_pinned()


def test_loader_processes_are_no_more_than_shared_memory_has_room_for(caplog):
    state = os.statvfs(SHARED_MEMORY)
    free = state.f_bavail * state.f_frsize
    assert fitting_workers(3, free // 100) == 3
    assert caplog.messages == []
    assert fitting_workers(3, free // 7) == 1  # of half the room, three batches: two ready and one in use
    assert "has room for the batches of 1 of 3 loader processes" in caplog.messages[0]
    assert fitting_workers(3, free) == 0
    assert fitting_workers(3, 1, Path("/no/such/shared/memory")) == 0


@pytest.mark.skipif(os.getuid() != 0 or shutil.which("unshare") is None, reason="needs the right to mount")
@pytest.mark.slow
def test_batch_that_shared_memory_does_not_hold_is_an_error_and_no_wait(tmp_path):
    code = (
        "from monai.transforms import Compose, Lambdad\nimport torch\nfrom mgmt_monai.slices import SliceDataset\n"
        "from mgmt_monai.slices import loader\nfrom mgmt_monai.errors import one_line\n"
        "read = Lambdad(keys='image', func=lambda i: torch.zeros(8, 256, 256))\n"
        "slices = SliceDataset([{'image': 0, 'label': 0, 'patient_id': 'p'}], Compose([read]))\n"
        "loader.fitting_workers = lambda n, *_: n\n"  # as where others fill it meanwhile
        "try:\n    list(loader.SliceLoader(slices, batch_size=8, num_workers=1))\n"
        "except RuntimeError as error:\n    print(one_line(error))\n"
    )
    mounted = f'mount -t tmpfs -o size=1m none /dev/shm && exec {sys.executable} -c "$0"'
    ran = subprocess.run(["unshare", "-m", "sh", "-c", mounted, code], capture_output=True, text=True, check=False)
    if "unshare" in ran.stderr or "mount" in ran.stderr:
        pytest.skip("needs the right to mount")
    assert ran.stdout.startswith("a process that hands out slices was lost (/torch_")
    assert "No space left on device" in ran.stdout


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux to see that a process is stopped")
@pytest.mark.parametrize("keeps", [False, True])
def test_loader_processes_that_were_stopped_are_woken(keeps, dataset, caplog, monkeypatch):
    """As when a suspended job is resumed in part, or by kill -STOP; the batches are the same."""
    monkeypatch.setattr("mgmt_monai.slices.loader._WAIT", 1)
    loader = SliceLoader(dataset, num_workers=2, keep_workers=keeps, batch_size=1)
    for _ in range(2):
        values = []
        for batch in loader:
            values.append(batch["image"][0, 0, 0, 0].item())
            if len(values) == 2:
                processes = [child.pid for child in multiprocessing.active_children()]
                for pid in processes:
                    os.kill(pid, signal.SIGSTOP)
        assert values == [0, 1, 2, 3, 10, 11, 12, 13, 20, 21, 22, 23]
        assert len(processes) == 2
    assert [told for told in caplog.messages if "was stopped; it is told to go on" in told]


def test_wait_for_a_slow_disk_is_told_and_has_an_end(dataset, caplog, monkeypatch):
    for name, value in (("_WAIT", 1), ("_WAITS", 3), ("_TOLD", 0.5)):
        monkeypatch.setattr(f"mgmt_monai.slices.loader.{name}", value)
    batch = dataset.batch

    def loader(seconds):
        made = SliceLoader(dataset, num_workers=1, batch_size=4)
        dataset.batch = lambda places: time.sleep(seconds * (4 in places)) or batch(places)
        return made

    assert len(list(loader(2.5))) == 3
    assert caplog.messages[0] == "no slices for 1 seconds: still waiting for them"
    with pytest.raises(SlicesError, match=r"^no slices for 3 seconds: have the storage"):
        list(loader(900))
    assert not multiprocessing.active_children()


@pytest.mark.slow
def test_killed_loader_process_is_an_error_and_no_wait():
    """In a process of its own: torch raises wherever the main thread is when it hears of it, also after the test."""
    code = (
        "import multiprocessing, os, signal, torch\nfrom monai.transforms import Compose, Lambdad\n"
        "from mgmt_monai.slices import SliceDataset\nfrom mgmt_monai.slices.loader import SliceLoader\n"
        "from mgmt_monai.errors import one_line\n"
        "read = Lambdad(keys='image', func=lambda i: torch.zeros(4, 2, 2))\n"
        "items = [{'image': i, 'label': 0, 'patient_id': f'p{i}'} for i in range(3)]\n"
        "try:\n    for _ in SliceLoader(SliceDataset(items, Compose([read])), batch_size=1, num_workers=1):\n"
        "        os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)\n"
        "except Exception as error:\n    print(one_line(error), flush=True)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert ran.stdout.startswith("a process that hands out slices was "), ran.stderr


def test_what_torch_says_late_of_a_killed_process_does_not_strike_elsewhere():
    """The connection breaks first; torch's own error comes with the signal that the process has died."""

    def batches():
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        raise EOFError
        yield

    def told(*_):
        raise RuntimeError("DataLoader worker (pid 1) is killed by signal: Killed. ")

    before = signal.signal(signal.SIGALRM, told)
    try:
        with pytest.raises(SlicesError, match=r"^a process that hands out slices was killed: "):
            list(SliceLoader._held(batches()))
        assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)  # it has been heard
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
