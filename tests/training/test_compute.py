"""Steps in mixed precision, and of a compiled network, by MONAI's own engine."""

from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from ignite.engine import Events
from monai.engines import SupervisedTrainer
from monai.inferers import SimpleInferer
from phantom_runs import train
from torch import Tensor, nn

from mgmt_monai.networks import MGMTClassifier, load_backbone_weights
from mgmt_monai.training import PrecisionInferer, ResumePoint, Stage, StageProgress
from mgmt_monai.training.errors import TrainingError
from mgmt_monai.training.settings import check_settings
from mgmt_monai.training.stage import save_state

N_SLICES = 6


@pytest.fixture(scope="module")
def slices() -> Tensor:
    """Smooth random pictures, (6, 1, 96, 96), in [0, 1]."""
    coarse = torch.rand(N_SLICES, 1, 9, 9, generator=torch.Generator().manual_seed(7))
    return nn.functional.interpolate(coarse, size=(96, 96), mode="bicubic").clamp(0, 1)


def trained(stage: str, slices: Tensor, inferer: SimpleInferer, steps: int = 3) -> tuple[MGMTClassifier, dict, list]:
    """The pretrained network after some steps without anything random, what the last gave, and how it convolved."""
    torch.manual_seed(0)
    network = MGMTClassifier(dropout=0.0)
    load_backbone_weights(network, "imagenet")
    for block in network.backbone.modules():
        if hasattr(block, "drop_connect_rate"):
            block.drop_connect_rate = 0.0
    network.set_stage(stage)
    dtypes = []
    network.backbone._conv_head.register_forward_hook(lambda layer, given, maps: dtypes.append(maps.dtype))
    labels = (torch.arange(N_SLICES) % 2).float().unsqueeze(1)
    trainer = SupervisedTrainer(
        device="cpu",
        max_epochs=1,
        train_data_loader=[{"image": slices, "label": labels}] * steps,
        network=network,
        optimizer=torch.optim.Adam(network.stage_parameters(stage), lr=1e-4),
        loss_function=nn.BCEWithLogitsLoss(),
        inferer=inferer,
        decollate=False,
    )
    trainer.run()
    return network, trainer.state.output, dtypes


@pytest.mark.parametrize("stage", ["transfer", "fine_tune"])
def test_float32_is_monais_own_step(stage, slices):
    ours, found, _ = trained(stage, slices, PrecisionInferer("auto", "cpu"))
    theirs, expected, _ = trained(stage, slices, SimpleInferer())
    assert torch.equal(found["pred"], expected["pred"])
    assert all(torch.equal(tensor, theirs.state_dict()[name]) for name, tensor in ours.state_dict().items())


class RoundedInferer(SimpleInferer):
    """float32 throughout, of pictures and weights that were rounded to bfloat16: a yardstick for what bfloat16 does.

    How far a network's logits and gradients move by rounding is the network's affair, and hardly the processor's.
    """

    def __call__(self, inputs: Tensor, network: nn.Module, *args: object, **kwargs: object) -> Tensor:
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.copy_(parameter.bfloat16().float())
        return super().__call__(inputs.bfloat16().float(), network, *args, **kwargs)


# Computed in bfloat16, every layer's result is rounded, not pictures and weights alone. With AVX-512 the gradients turn
# by a quarter of the yardstick (cosines 0.993 and 0.972), with AMX by about as much as it (0.974).
MOST_OF_YARDSTICK = 4


def off(found: Tensor, expected: Tensor) -> float:
    """The length of the difference, as a share of the expected spread."""
    return float((found - expected).norm() / (expected - expected.mean()).norm())


@pytest.mark.parametrize("stage", ["transfer", "fine_tune"])
def test_bfloat16_is_near_float32_in_logits_loss_and_weights(stage, slices):
    network, found, dtypes = trained(stage, slices, PrecisionInferer("bfloat16", "cpu"), steps=1)
    reference, expected, _ = trained(stage, slices, SimpleInferer(), steps=1)
    _, rounded, _ = trained(stage, slices, RoundedInferer(), steps=1)
    assert set(dtypes) == {torch.bfloat16}
    assert found["pred"].dtype == found["loss"].dtype == torch.float32
    assert off(rounded["pred"], expected["pred"]) < 0.25
    assert 0 < off(found["pred"], expected["pred"]) < MOST_OF_YARDSTICK * off(rounded["pred"], expected["pred"])
    # The loss changes by a logit's change at most: its slope is below 1.
    assert (found["loss"] - expected["loss"]).abs() <= (found["pred"] - expected["pred"]).abs().max() * 1.001
    assert {n: t.dtype for n, t in network.state_dict().items()} == {
        n: t.dtype for n, t in reference.state_dict().items()
    }
    # One step of Adam is of the learning rate's size whatever the gradient's: 1e-4, each way at most.
    for ours, theirs in zip(network.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=2.1e-4)


def test_bfloat16_gradients_are_float32_finite_and_point_the_same_way(slices):
    inferers = (PrecisionInferer("bfloat16", "cpu"), SimpleInferer(), RoundedInferer())
    ours, theirs, rounded = (gradient(trained("fine_tune", slices, inferer, steps=1)[0]) for inferer in inferers)
    assert ours.dtype == torch.float32
    assert ours.isfinite().all()
    yardstick = 1 - nn.functional.cosine_similarity(rounded, theirs, dim=0)
    assert yardstick < 0.1
    assert 1 - nn.functional.cosine_similarity(ours, theirs, dim=0) < MOST_OF_YARDSTICK * yardstick


def gradient(network: nn.Module) -> Tensor:
    """Of all parameters that have one, in one row."""
    return torch.cat([parameter.grad.flatten() for parameter in network.parameters() if parameter.grad is not None])


@pytest.fixture
def stage_of(tmp_path, slices):
    """Makes a stage of two steps on a small network, and notes what its engine trained."""

    def make(**arguments) -> tuple[Stage, list[nn.Module]]:
        torch.manual_seed(0)
        network = MGMTClassifier("resnet-10", hidden_units=4)
        labels = (torch.arange(N_SLICES) % 2).float().unsqueeze(1)
        trainer = SupervisedTrainer(
            device="cpu",
            max_epochs=1,
            train_data_loader=[{"image": slices[:n], "label": labels[:n]} for n in (6, 4)],
            network=network,
            optimizer=torch.optim.SGD(network.stage_parameters("fine_tune"), lr=0.01),
            loss_function=nn.BCEWithLogitsLoss(),
            decollate=False,
        )
        seen: list[nn.Module] = []
        trainer.add_event_handler(Events.ITERATION_STARTED, lambda engine: seen.append(engine.network))
        progress = StageProgress("fine_tune", run_directory=Folder(tmp_path))
        return Stage(progress, network, trainer, **arguments), seen

    return make


class Folder:
    """Of a run directory, what a stage asks for."""

    def __init__(self, path: Path) -> None:
        self.path = path


class Wrapped(nn.Module):
    """Stands around a network as data parallel does."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: Tensor) -> Tensor:
        return self.module(images)


@pytest.mark.parametrize("parallel", [None, Wrapped], ids=["alone", "parallel"])
def test_compiled_network_is_trained_and_the_network_itself_is_kept(parallel, stage_of):
    stage, seen = stage_of(data_parallel=parallel, compile=True)
    plain, _ = stage_of()
    with torch.compiler.set_stance("force_eager"):  # all but the compiling itself
        torch.manual_seed(1)
        stage.run()
    torch.manual_seed(1)
    plain.run()
    assert len(seen) == 2
    compiled = seen[0] if parallel is None else seen[0].module
    assert isinstance(compiled, torch._dynamo.OptimizedModule)
    assert compiled._orig_mod is stage.network
    assert stage.trainer.network is stage.network
    expected = plain.network.state_dict()
    assert list(stage.network.state_dict()) == list(expected)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in stage.network.state_dict().items())


def test_network_that_cannot_be_compiled_is_told_in_one_line(stage_of, monkeypatch):
    monkeypatch.setattr(torch._inductor.config.cpp, "cxx", (None, "no-such-compiler"))
    monkeypatch.setattr(torch._inductor.config, "force_disable_caches", True)
    torch._dynamo.reset()
    stage, _ = stage_of(compile=True)
    with pytest.raises(TrainingError, match=r"^compile: .* C\+\+ compiler .*no-such-compiler.* Set --compile false\.$"):
        stage.run()


@pytest.mark.parametrize(
    ("said", "compiles"), [("false", False), (False, False), ("true", True), (True, True)], ids=repr
)
def test_compile_is_what_was_said_also_as_a_word_of_a_command_line(said, compiles, stage_of):
    assert stage_of(compile=said)[0].compile is compiles
    check_settings({"compile": said})


@pytest.mark.parametrize("name", ["compile", "resume"])
def test_setting_that_is_neither_true_nor_false_is_refused(name):
    with pytest.raises(TrainingError, match=f"^{name}: expected true or false, found 'no'"):
        check_settings({name: "no"})


def test_scaler_of_float16_goes_on_from_the_checkpoint(tmp_path):
    def point(scale: float) -> tuple[ResumePoint, SimpleNamespace]:
        progress = StageProgress("transfer", SimpleNamespace(path=tmp_path), epochs=1, best_epoch=1)
        network = nn.Linear(1, 1)
        optimizer = torch.optim.SGD(network.parameters(), 0.1)
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
        engine = SimpleNamespace(
            scaler=torch.amp.GradScaler("cpu", init_scale=scale), state=SimpleNamespace(epoch=0, epoch_length=1)
        )
        engine.scaler.scale(torch.ones(1))  # it has its tensor from the first use on
        return ResumePoint(progress, network, optimizer, schedule), engine

    (tmp_path / "transfer").mkdir()
    before, engine = point(128.0)
    before.save(engine)
    after, other = point(65536.0)
    after.load(other)
    assert other.scaler.get_scale() == 128.0
    before.progress.epochs = 2
    before.save(engine)
    point(1.0)[0].load(point(1.0)[1])
    save_state(nn.Linear(1, 1).state_dict(), tmp_path / "transfer/best.pt")
    resumed, engine = point(1.0)
    with pytest.raises(TrainingError, match=r"transfer/best\.pt: expected this training's network of epoch 1, f"):
        resumed.load(engine)
    (tmp_path / "transfer/best.pt").unlink()
    resumed, engine = point(1.0)
    with pytest.raises(
        TrainingError, match=r"transfer/best\.pt: expected a checkpoint, found none\. Delete .*/transfer: "
    ):
        resumed.load(engine)


def test_checkpoint_of_another_stage_is_refused(tmp_path):
    row = {"stage": "transfer", "epoch": 1, "split": "train", "metric": "loss", "value": 1.0}
    folder = SimpleNamespace(path=tmp_path)
    kept = StageProgress("transfer", folder, epochs=1, rows=[row]).state_dict()
    with pytest.raises(TrainingError, match=r"fine_tune/last\.pt: expected a checkpoint of the stage fine_tune, found"):
        StageProgress("fine_tune", folder).load_state_dict(kept)
    again = StageProgress("transfer", folder)
    again.load_state_dict(kept)
    assert again.epochs == 1


@pytest.mark.slow
@pytest.mark.xdist_group("training")
def test_compiled_training_is_that_of_the_network_as_it_is_within_rounding(finished_run, phantom_dir, tmp_path):
    run = train(phantom_dir, tmp_path / "runs", seed=3, compile="true")
    for name, value in (("epochs.csv", "value"), ("slice_predictions.csv", "probability")):
        ours, theirs = pd.read_csv(run / name), pd.read_csv(finished_run / name)
        pd.testing.assert_series_equal(ours[value], theirs[value], rtol=0, atol=1e-4)
    for stage in ("transfer", "fine_tune"):
        states = [torch.load(each / stage / "best.pt", weights_only=True) for each in (run, finished_run)]
        assert list(states[0]) == list(states[1])
        assert not any("_orig_mod" in name for name in states[0])
