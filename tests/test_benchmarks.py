"""The benchmarks measure what they say, and their tables say what they measured; no test here asserts a time."""

import importlib
import json
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
import torch
from ignite.engine import Engine
from packaging.version import Version

from mgmt_monai.networks import MGMTClassifier, load_backbone_weights

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
CONFIG = json.loads((ROOT / "bundles" / "t1w.json").read_text())

ABOUT = {
    "name": "reading",
    "title": "Reading",
    "unit": "s",
    "higher_is_better": False,
    "ours": "new",
    "must": {"old": 20},
    "at_most": {"bare": 1.5},
    "beside": {"older": "new"},
    "note": "of a file",
}
FIGURES = {"new": [2.0, 1.0, 4.0], "old": [40.0, 50.0, 60.0], "bare": [1.0, 1.0, 2.0], "older": [6.0, 8.0, 10.0]}
MACHINE = {
    "cpu": "A processor", "cores": 2, "memory_gib": 8.0, "gpu": "none", "system": "Linux", "python": "3.11.0",
    "packages": {"torch": "2.0"}, "threads": {"torch": 2, "torch_interop": 1}, "environment": {},
}  # fmt: skip


def results(**measures: dict) -> dict:
    return {"made": "2026-01-01", "size": "full", "machine": MACHINE, "measures": list(measures.values())}


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch):
    """Imports a module of the benchmarks; they find each other as they do beside ``run.py``."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "").parent == BENCHMARKS:
            del sys.modules[name]


def rows(markdown: str, header: str) -> list[list[str]]:
    """The cells of the table whose header begins so."""
    found = re.search(rf"^{re.escape(header)}.*\n\|[-|]+\n((?:\|.*\n)+)", markdown, flags=re.MULTILINE)[1]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in found.splitlines()]


def test_ways_take_turns_and_begin_with_another_one_each_round(module) -> None:
    measurement = module("measurement")
    turns: list[str] = []

    def way(name: str, warm: bool = False):
        return measurement.Way(name, lambda: turns.append(name) or float(len(turns)), warm)

    figures = measurement.measure([way("a"), way("b", warm=True), way("c")], rounds=3)

    assert turns == ["a", "c", *"abc", *"bca", *"cab"]
    assert figures == {"a": [3.0, 8.0, 10.0], "b": [4.0, 6.0, 11.0], "c": [5.0, 7.0, 9.0]}


def test_ratios_of_a_measure_in_which_less_is_better(module) -> None:
    old, bare, older = module("measurement").ratios(ABOUT, FIGURES)

    assert (old.other, old.value, old.low, old.high, old.bound, old.upper, old.reached) == (
        "old", 25.0, 15.0, 50.0, 20, False, True,
    )  # fmt: skip
    assert (bare.other, bare.value, bare.low, bare.high, bare.bound, bare.upper, bare.reached) == (
        "bare", 2.0, 1.0, 2.0, 1.5, True, False,
    )  # fmt: skip
    assert (older.other, older.value, older.bound, older.reached) == ("older", 4.0, None, None)


def test_ratios_of_a_measure_in_which_more_is_better_and_ways_have_partners(module) -> None:
    about = {**ABOUT, "higher_is_better": True, "must": {"one": 0.9}, "at_most": {}, "beside": {"one": "two"}}

    (ratio,) = module("measurement").ratios(about, {"new": [1.0], "one": [8.0], "two": [6.0], "alone": [3.0]})

    assert (ratio.ours, ratio.other, ratio.value, ratio.reached) == ("two", "one", 0.75, False)


def test_table_tells_ratios_figures_and_what_is_missing(module) -> None:
    figures = {way: values for way, values in FIGURES.items() if way != "bare"}

    text = module("report").markdown(results(reading={"measure": ABOUT, "figures": figures, "seconds": 1.0}))

    assert rows(text, "| measure | ours |") == [
        ["Reading", "new", "old", "25.0 (15.0-50.0)", "at least 20", "yes"],
        ["Reading", "new", "older", "4.00 (2.50-8.00)", "-", "-"],
        ["Reading", "new", "bare", "not measured: not installed here", "at most 1.5", "-"],
    ]
    assert rows(text, "| measure | way |")[1] == ["Reading", "old", "50.0", "s", "40.0, 50.0, 60.0"]
    assert "A processor, 2 cores, 8 GiB, GPU: none; Linux; Python 3.11.0, torch 2.0; 2 threads." in text
    assert "--quick" not in text


def test_table_of_tiny_sizes_says_so(module) -> None:
    assert module("report").markdown({**results(), "size": "quick"}).startswith("**Made with `--quick`")


@pytest.mark.parametrize(
    ("value", "text"), [(1234.5, "1234"), (99.96, "100.0"), (12.34, "12.3"), (2.345, "2.35"), (0.0123, "0.012")]
)
def test_number_has_three_digits_or_so(module, value: float, text: str) -> None:
    assert module("report").number(value) in (text, text.replace("2.35", "2.34"))


def test_picture_shows_each_ratio_and_each_bound(module) -> None:
    measurement, report = module("measurement"), module("report")

    figure = report.ratio_figure(measurement.ratios(ABOUT, FIGURES), {"reading": "Reading", "idle": "Idle"})

    (axes,) = figure.axes
    drawn = {gid: [line for line in axes.lines if line.get_gid() == gid] for gid in ("ratio", "range", "bound")}
    assert [float(line.get_xdata()[0]) for line in drawn["ratio"]] == [25.0, 2.0, 4.0]
    assert [list(line.get_xdata()) for line in drawn["range"]] == [[15.0, 50.0], [1.0, 2.0], [2.5, 8.0]]
    assert [(float(line.get_xdata()[0]), line.get_marker()) for line in drawn["bound"]] == [(20.0, ">"), (1.5, "<")]
    assert axes.get_xscale() == "log"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["Reading", "old", "bare", "older"]
    assert axes.get_xlim()[0] < 1.0 and axes.get_xlim()[1] > 50.0


def test_way_in_its_own_process_takes_turns(module, tmp_path, monkeypatch) -> None:
    remote, measurement = module("remote"), module("measurement")
    (tmp_path / "counting.py").write_text(
        "import os\n"
        "def work(turn, size, step):\n"
        "    turn(None)\n"
        "    for number in range(2):\n"
        "        turn(float(size.augmented + step * number))\n"
        "    turn(float(os.getpid()))\n"
        "    raise ValueError('no more')\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    size = measurement.Size.of("quick", tmp_path)

    with remote.remote("counting", "counting.work", size, step=10) as way:
        assert [way.run(), way.run()] == [size.augmented, size.augmented + 10]
        process = int(way.run())
        assert process != os.getpid()
        with pytest.raises(remote.RemoteError, match="no more"):
            way.run()
    assert not Path(f"/proc/{process}").exists()


def test_epochs_are_told_one_a_turn_after_the_first(module) -> None:
    told: list[float | None] = []
    engine = Engine(lambda *_: None)
    module("epoch_turns").EpochTurns(told.append, n_slices=12).attach(engine)

    engine.run([0, 1, 2], max_epochs=3)

    assert told[0] is None and len(told) == 3
    assert all(figure > 0 for figure in told[1:])


def test_memory_of_a_process_and_its_children_is_added(module, tmp_path) -> None:
    for process, kilobytes, children in ((1, 2048, "2 3"), (2, 512, ""), (3, 1024, "4"), (4, 256, "")):
        (tmp_path / str(process) / "task" / str(process)).mkdir(parents=True)
        (tmp_path / str(process) / "task" / str(process) / "children").write_text(children)
        (tmp_path / str(process) / "smaps_rollup").write_text(f"Rss:  9999 kB\nPss:  {kilobytes} kB\nPss_Anon: 1 kB\n")

    assert module("memory").tree_mib(1, tmp_path) == 3.75
    assert module("memory").tree_mib(5, tmp_path) == 0.0


def test_stock_chain_has_the_ranges_of_the_bundle(module) -> None:
    stock = module("stock")

    assert (CONFIG["zoom_min"], CONFIG["zoom_max"]) == stock.ZOOM
    assert pytest.approx(CONFIG["rotation_deg"]) == stock.ROTATION_RAD * 180 / torch.pi
    assert (CONFIG["shift_fraction"], CONFIG["flip_prob"]) == (stock.SHIFT, stock.FLIP_PROB)
    assert [CONFIG["brightness_min"], CONFIG["brightness_max"]] == [1 - stock.BRIGHTNESS, 1 + stock.BRIGHTNESS]
    assert {stage: CONFIG[f"{stage}_learning_rate"] for stage in ("transfer", "fine_tune")} == stock.LEARNING_RATES
    sizes = module("measurement").SIZES["full"]
    assert sizes.image_size == CONFIG["image_size"]
    assert [sizes.transfer_batch, sizes.fine_tune_batch] == [
        CONFIG["transfer_batch_size"],
        CONFIG["fine_tune_batch_size"] // 2,  # both ways must fit into memory
    ]


@pytest.mark.parametrize("lazy", [False, True], ids=["eager", "lazy"])
def test_stock_chain_changes_a_slice_and_keeps_its_shape(module, lazy: bool) -> None:
    from monai.data import MetaTensor
    from monai.transforms import Compose

    image = MetaTensor(torch.rand(1, 32, 32, generator=torch.Generator().manual_seed(0)))
    chain = Compose(module("stock").random_chain(32, lazy)).set_random_state(seed=0)

    augmented = chain({"image": image})["image"]

    assert augmented.shape == (1, 32, 32)
    assert (augmented.as_tensor() - image.as_tensor()).abs().mean() > 0.05


@pytest.mark.parametrize("stage", ["transfer", "fine_tune"])
def test_stock_network_is_ours_and_trains_the_same_parameters(module, stage: str) -> None:
    stock = module("stock")
    ours = MGMTClassifier().eval()
    load_backbone_weights(ours, "imagenet")
    theirs = stock.StockClassifier(stage)
    stock.load_imagenet(theirs)
    theirs.eval()
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))

    with torch.no_grad():
        torch.testing.assert_close(theirs.backbone(images), ours.backbone(images), rtol=1e-3, atol=1e-3)
    trained = sum(parameter.numel() for parameter in theirs.parameters() if parameter.requires_grad)
    assert trained == sum(parameter.numel() for parameter in ours.stage_parameters(stage))
    norms = [part for part in theirs.train().modules() if isinstance(part, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d)]
    assert sum(norm.training for norm in norms) == (2 if stage == "transfer" else 0)  # the head's


def test_profile_table_orders_by_own_time(module) -> None:
    operations = [
        SimpleNamespace(key=key, count=count, self_cpu_time_total=time)
        for key, count, time in (("add", 7, 10.0), ("conv", 2, 70.0), ("mul", 1, 20.0))
    ]

    assert module("profile_epoch").table(operations, rows=2).splitlines()[2:] == [
        "| `conv` | 2 | 70.0% |",
        "| `mul` | 1 | 20.0% |",
    ]


def test_every_measure_compares_ways_that_it_names(module) -> None:
    for name in module("run").MEASURES:
        about = module(name).MEASURE
        assert about.name == name
        assert about.title and about.unit and about.note
        assert {*about.must, *about.at_most, *about.beside} - {about.ours}, "nothing is compared"


def test_page_shows_the_table_of_the_committed_figures(module) -> None:
    committed = json.loads((BENCHMARKS / "results.json").read_text())

    assert committed["size"] == "full"
    measures = [json.loads(json.dumps(module(name).MEASURE.as_dict())) for name in module("run").MEASURES]
    assert [one["measure"] for one in committed["measures"]] == measures  # else: make bench once more
    assert not any("error" in one for one in committed["measures"])
    assert (BENCHMARKS / "results.md").read_text() == module("report").markdown(committed)
    page = (ROOT / "docs" / "performance.md").read_text()
    assert "{include} ../benchmarks/results.md" in page
    assert (ROOT / "docs" / re.search(r"\((images/\S+)\)", page)[1]).is_file()


@pytest.mark.slow
def test_ways_of_augmentation_are_measured(module, tmp_path) -> None:
    size = module("measurement").Size.of("quick", tmp_path)

    found = module("run").measured("augmentation", size, rounds=2)

    about = module("augmentation").MEASURE
    assert found["measure"] == about.as_dict()
    assert {about.ours, *about.must, *about.beside} == set(found["figures"])
    assert all(len(each) == 2 and min(each) > 0 for each in found["figures"].values())


def test_figures_of_another_size_are_not_kept(module, tmp_path) -> None:
    run = module("run")
    (tmp_path / "results.json").write_text(json.dumps(results()))

    assert run._kept(tmp_path / "results.json", results()) == []
    with pytest.raises(click.UsageError, match="another size"):
        run._kept(tmp_path / "results.json", {**results(), "size": "quick"})


@pytest.mark.slow
def test_command_writes_figures_table_and_picture(tmp_path) -> None:
    out = tmp_path / "out" / "results.json"
    words = [sys.executable, str(BENCHMARKS / "run.py"), "--quick", "--rounds", "2", "--out", str(out)]
    done = subprocess.run([*words, "--only", "cold_read"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    made = json.loads(out.read_text())

    assert made["size"] == "quick"
    assert made["machine"]["cores"] >= 1
    assert Version(made["machine"]["packages"]["torch"]).public == Version(torch.__version__).public
    assert [one["measure"]["name"] for one in made["measures"]] == ["cold_read"]
    assert all(len(each) == 2 and min(each) > 0 for one in made["measures"] for each in one["figures"].values())
    assert out.with_suffix(".md").read_text() in done.stdout
    found = {(row[1], row[2]): row[3] for row in rows(done.stdout, "| measure | ours |")}
    reading = made["measures"][0]["figures"]
    ours = "CropMiddleSlicesd, LoadSeriesd"
    by_hand = {
        (ours, "PydicomReader, crop"): statistics.median(reading["PydicomReader, crop"])
        / statistics.median(reading[ours]),
        (ours, "SimpleITK, those files alone"): statistics.median(reading[ours])
        / statistics.median(reading["SimpleITK, those files alone"]),
    }
    for pair, ratio in by_hand.items():
        assert float(found[pair].split()[0]) == pytest.approx(ratio, rel=0.06, abs=0.006), pair
    assert all((out.parent / f"performance.{kind}").stat().st_size > 1000 for kind in ("png", "svg"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
