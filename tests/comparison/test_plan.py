"""What a comparison trains."""

import pytest

from mgmt_monai.comparison.errors import ComparisonError
from mgmt_monai.comparison.paper import MODALITIES, NETWORKS
from mgmt_monai.comparison.plan import Candidate, ComparisonPlan


def plan(**changes) -> ComparisonPlan:
    settings = {
        "networks": ("resnet-10", "efficientnet-b0"),
        "modalities": ("FLAIR", "T1w", "T2w"),
        "reference_network": "efficientnet-b0",
        "reference_modality": "T1w",
        **changes,
    }
    return ComparisonPlan(**settings)


def test_candidates_are_table_one_then_table_two_each_once():
    assert plan().candidates == (
        Candidate("resnet-10", "T1w"),
        Candidate("efficientnet-b0", "T1w"),
        Candidate("efficientnet-b0", "FLAIR"),
        Candidate("efficientnet-b0", "T2w"),
    )


def test_the_papers_comparison_has_nine_candidates():
    paper = plan(networks=NETWORKS, modalities=MODALITIES)

    assert len(paper.candidates) == 6 + 4 - 1


def test_trainings_of_a_hold_out_split_have_no_fold():
    trainings = plan(seeds=2).trainings()

    assert [training.name for training in trainings[:3]] == [
        "resnet-10-t1w-seed0",
        "resnet-10-t1w-seed1",
        "efficientnet-b0-t1w-seed0",
    ]
    assert {(training.repeat, training.fold) for training in trainings} == {(None, None)}


def test_trainings_of_folds_are_every_repeat_fold_and_seed_of_every_candidate():
    trainings = plan(folds=3, repeats=2, seeds=2).trainings()

    assert len(trainings) == 4 * 3 * 2 * 2
    assert len({training.name for training in trainings}) == len(trainings)
    assert {(t.repeat, t.fold, t.seed) for t in trainings if t.network == "resnet-10"} == {
        (repeat, fold, seed) for repeat in (0, 1) for fold in (0, 1, 2) for seed in (0, 1)
    }


def test_controls_are_of_the_chosen_candidate_on_the_same_folds_and_seeds():
    controls = plan(folds=3, seeds=2).controls(Candidate("efficientnet-b0", "FLAIR"))

    assert {(t.network, t.modality) for t in controls} == {("efficientnet-b0", "FLAIR")}
    assert sorted({t.control for t in controls}) == ["background", "blank", "permuted_labels"]
    assert len(controls) == 3 * 3 * 2
    assert controls[0].name == "efficientnet-b0-flair-permuted_labels-repeat0-fold0-seed0"


def test_fusions_see_all_other_modalities_and_a_late_one_is_made_from_their_trainings():
    fused = plan(modalities=("fusion", "T1w", "fusion-late", "FLAIR"), folds=3)
    late = Candidate("efficientnet-b0", "fusion-late")

    assert {*fused.candidates[2:]} == {
        Candidate("efficientnet-b0", "fusion"), late, Candidate("efficientnet-b0", "FLAIR")
    }  # fmt: skip
    assert {t.modality for t in fused.trainings()} == {"T1w", "FLAIR", "fusion"}
    assert len(fused.trainings()) == 4 * 3
    assert fused.sees("fusion") == fused.sees("fusion-late") == ("T1w", "FLAIR")
    assert [t.name for t in fused.trainings_of(late) if t.fold == 0] == [
        "efficientnet-b0-t1w-repeat0-fold0-seed0", "efficientnet-b0-flair-repeat0-fold0-seed0"
    ]  # fmt: skip
    assert len(fused.controls(late)) == 3 * 2 * 3
    assert {t.modality for t in fused.controls(Candidate("efficientnet-b0", "fusion"))} == {"fusion"}


def test_digest_tells_another_plan_and_other_data_from_the_same():
    assert plan().digest("data") == plan().digest("data")
    assert len({plan().digest("data"), plan().digest("other"), plan(seeds=2).digest("data")}) == 3


def test_where_the_results_go_does_not_make_another_comparison():
    assert plan(settings={"output_dir": "a"}).digest("data") == plan(settings={"output_dir": "b"}).digest("data")
    assert plan(settings={"image_size": 64}).digest("data") != plan(settings={"image_size": 96}).digest("data")


def test_columns_belong_to_the_plan_and_plans_from_before_they_did_are_the_same():
    named = plan(clinical=("age", "KPS"), site="scanner")

    assert len({named.digest("data"), plan().digest("data"), plan(site="scanner").digest("data")}) == 3
    assert not {"clinical", "bound", "site"} & plan().identity().keys()
    assert "--clinical age,KPS --site scanner" in named.command("mine", ())


def test_command_says_all_but_paths():
    shown = plan(
        folds=3, weights={"resnet-10": "/home/doe/r10.pt"}, settings={"dataset_dir": "/home/doe/x", "image_size": 96}
    )

    assert shown.command("mine", {"dataset_dir"}) == (
        "mgmt-monai compare --name mine --networks resnet-10,efficientnet-b0 --modalities FLAIR,T1w,T2w "
        "--reference-network efficientnet-b0 --reference-modality T1w --folds 3 --repeats 1 --seeds 1 "
        "--weights resnet-10=r10.pt --dataset_dir ... --image_size 96"
    )


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        pytest.param({"networks": ()}, "networks: expected one or more, found none", id="no network"),
        pytest.param({"modalities": ("T1w", "T1w")}, "found T1w more often", id="twice"),
        pytest.param({"reference_network": "alexnet"}, "expected the reference 'alexnet' among them", id="reference"),
        pytest.param({"modalities": ("T1w", "T1")}, "found 'T1'", id="unknown modality"),
        pytest.param({"modalities": ("T1w", "fusion")}, "two or more to fuse, found T1w alone", id="one to fuse"),
        pytest.param(
            {"modalities": ("T1w", "T2w", "fusion"), "reference_modality": "fusion"},
            "networks are compared on one modality",
            id="reference fusion",
        ),
        pytest.param({"folds": 2}, "folds: expected 3 or more, found 2", id="two folds"),
        pytest.param({"repeats": 2}, "expected folds with 2 repeats", id="repeats without folds"),
        pytest.param({"seeds": 0}, "seeds: expected 1 or more, found 0", id="no seed"),
        pytest.param({"weights": {"alexnet": "a.pt"}}, "'alexnet' is not in the comparison", id="weights"),
    ],
)
def test_plan_that_cannot_be_run_is_refused(changes, told):
    with pytest.raises(ComparisonError, match=told):
        plan(**changes)
