"""What predictions are worth, by a written rule: ``docs/explanation/verdict.md``.

A model is held against chance, within hospitals where these are known, and against its negative controls: predictions
for the same patients made without the tumour (from header tags, from the geometry, from the background).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mgmt_monai.evaluation.controls import (
    ALPHA_CONTROLS,
    ALPHA_MODEL,
    LEAST_TOLD_APART,
    NO_SHORTCUT_CONTROLS,
    Control,
    held_against,
    told_apart,
)
from mgmt_monai.evaluation.delong import auc_estimate
from mgmt_monai.evaluation.discrimination import checked_arrays
from mgmt_monai.evaluation.folds import across_folds, widened, within_folds_p
from mgmt_monai.evaluation.intervals import Estimate, as_json, wider_level, with_interval
from mgmt_monai.evaluation.permutation import permutation_test
from mgmt_monai.evaluation.predictions import EvaluationError
from mgmt_monai.evaluation.sample_size import power
from mgmt_monai.evaluation.within_site import WithinSite, equal_classes, site_codes, stratified_auc, within_site

RULE_LEVEL = 0.95
"""Of the interval that the state rests on, whatever level is shown."""

ALPHA_BELOW = 0.01
"""One-sided level at which it is below chance. It is strict, for it says that somebody made a mistake."""

BOUND = 0.6
"""The smallest AUC that would matter, unless another is set before the evaluation."""

LEAST_SPREAD = 1e-5
"""Of probabilities: smaller differences are those of rounding errors."""

LEVEL_STEPS = 2
"""Times one patient's share of a fold's training labels, by which the level of its model may tell the label left out.
"""

POWER_AUCS = (0.6, 0.65, 0.7)
"""For which the power of a test is told."""

SUPPORTED, TOO_SMALL, CANNOT_TELL = "supported", "too_small_to_matter", "cannot_tell"
BELOW_CHANCE, CONTAMINATED = "below_chance", "contaminated"

REASONS = {
    "not_above_chance": "The AUC is not shown to be above 0.5.",
    "one_class": "The patients are all of one label.",
    "no_pairs_within_site": "No site has patients of both labels, so that label and site cannot be told apart.",
    "no_informative_control": "No control could have seen a shortcut: none was given, or all are (nearly) constant.",
    "copied_control": "A control has the model's own predictions (rounded, rescaled, turned, dealt anew): it is none.",
    "rounding_errors": "The probabilities differ as rounding errors do: their order is no prediction.",
    "one_answer": "All patients have one probability: the model tells nobody from another.",
    "not_beyond_control": "The model is not shown to tell more than a control without the tumour.",
    "control_above_chance": "A control without the tumour is above chance: the labels can be told without the tumour.",
    "explained_by_control": "A control without the tumour explains the model's predictions.",
    "upper_end_below_bound": "The upper end of the interval lies below the smallest AUC that would matter.",
    "labels_reversed": "The AUC is below 0.5 by more than chance: labels or probabilities are probably reversed.",
    "no_site_column": "No site is known: a hospital that shows inside the head cannot be seen by any control.",
    "one_site": "The site's column has one value: what other hospitals would show is not known.",
    "other_site_column": "Several columns are called a site and differ; one of them is taken.",
    "best_of_several": "One of several models: its p-value is that of the best of all.",
    "primary": "Named as primary: judged without the others, which holds if it was named before any figure was seen.",
    "folds": "Folds are not independent: the standard error is taken 1.3 times as large.",
    "seeds_as_folds": "The seeds test different patients: each is taken as a fold (folds belong in the column fold).",
    "small_folds": "A fold has under 10 test patients or one label: probabilities of different models are compared.",
    "too_few_for_an_interval": "Fewer than 5 patients have one of the labels: no interval would keep its word.",
    "labels_by_fold": "Within the small folds no signal is shown: the level of a fold's model may tell the labels.",
    "folds_alone": "Folds agree with the labels, all pairs do not: were they dealt afterwards? Give the manifest.",
    "numbers_tell": "The number of slices, or what patients' names say, goes with the label and the predictions.",
    "column_tells": "A column goes with the label, and within its values the model tells nothing: a site? Or clinical?",
    "seen_by_stage": "Another stage of this model has learnt from test patients.",
    "chosen_patients": "Models, folds or seeds do not test all patients alike: who is missing may have been chosen.",
    "other_patients": "Other models test patients whom this one does not; a fold's models belong in one (column fold).",
    "clones": "Patients with the very predictions of another were left out.",
    "examinations": "Patients' names tell that persons are there several times: they are not independent.",
    "left_out": "Patients without a probability or without a label are not judged.",
    "test_patients_missing": "Test patients of the manifest are missing from the table.",
}
"""What each reason of a verdict means."""

WITHHOLD = {
    "chosen_patients": "who is tested by which model may have been chosen by the result",
    "examinations": "persons are there several times",
    "copied_control": "a control has the model's own predictions, and is none",
    "rounding_errors": "the probabilities differ as rounding errors do",
    "folds_alone": "the folds agree with the labels and all pairs do not",
    "numbers_tell": "the number of slices or patients' names tell the labels as well",
    "column_tells": "a column of the table tells the labels as well",
    "seen_by_stage": "another stage of this model has learnt from test patients",
}
"""Reasons with which nothing is supported, as the sentence has them."""

WHY = {
    "one_class": "all patients have one label",
    "no_pairs_within_site": "no site has patients of both labels",
    "not_above_chance": "the model is not shown to be above chance",
    **WITHHOLD,
    "not_beyond_control": "the model is not shown to tell more than a control without the tumour",
    "no_informative_control": "no control could have seen a shortcut, so that a signal is not told from one",
}
"""Why it cannot be told, as the sentence has it: the first of these reasons."""


@dataclass(frozen=True)
class Check:
    """One step of the rule, as it came out."""

    name: str
    passed: bool
    text: str


@dataclass(frozen=True)
class Verdict:
    """What the predictions are worth.

    Args:
        state: ``supported``, ``too_small_to_matter``, ``cannot_tell``, ``below_chance`` or ``contaminated``.
        reasons: Keys of `REASONS`: what led there, and what stays open.
        auc: That counts: within sites where these are known.
        p_value: One-sided, of it against chance.
        controls: In the order given.
        checks: The steps that led there.
        site: The figures within sites, where these are known.
        power: Of a test of this size, by true AUC: the share of such tests that reach a p-value of `ALPHA_MODEL`.
        bound: The smallest AUC that would matter.
        seeds: The AUCs of the seeds in words, where their average is judged.
    """

    state: str
    reasons: tuple[str, ...]
    auc: Estimate
    p_value: float
    controls: tuple[Control, ...]
    checks: tuple[Check, ...]
    site: WithinSite | None
    power: Mapping[float, float]
    bound: float
    seeds: str = ""

    @property
    def sentence(self) -> str:
        """The verdict in one sentence."""
        figure = ("AUC " if self.site is None else "within sites the AUC is ") + with_interval(
            *self.auc[:3], "undefined"
        )
        if self.seeds:
            figure = f"{self.seeds}; their average, an ensemble, is judged: {figure}"
        if self.state == SUPPORTED:
            if any(control.informative for control in self.controls):
                return f"Signal supported: {figure}, and the model tells more than any control without the tumour."
            return (
                f"Signal supported: {figure}, by pairs of one site; no control without the tumour was given or varies."
            )
        if self.state == CONTAMINATED:
            names = ", ".join(control.name for control in self.controls if control.explains)
            return f"Contaminated: {names}, made without the tumour, explains the predictions; {figure}."
        if self.state == TOO_SMALL:
            return (
                f"Too small to matter: {figure}, which ends below {self.bound:g}, the smallest AUC that would matter."
            )
        if self.state == BELOW_CHANCE:
            return f"Below chance: check the labels; {figure}."
        why = next(why for reason, why in WHY.items() if reason in self.reasons)
        return f"Cannot tell: {why}; {figure}. {power_text(self.power)}"

    def as_json(self) -> dict[str, Any]:
        """As ``verdict`` in ``evaluation.json`` and ``report.json``."""
        return {
            "state": self.state,
            "sentence": self.sentence,
            "reasons": list(self.reasons),
            "auc": as_json(self.auc),
            "checks": [asdict(check) for check in self.checks],
        }


def power_text(found: Mapping[float, float]) -> str:
    """The power of a test of this size in words.

    Example:
        >>> power_text({0.6: 0.254, 0.65: 0.5})
        'Of 100 tests of this size at most 25 would show an AUC of 0.60, 50 one of 0.65.'
        >>> power_text({})
        'A study of this size can show nothing.'
    """
    if not found:
        return "A study of this size can show nothing."
    parts = [f"{100 * share:.0f} {'one' if n else 'would show an AUC'} of {auc:.2f}"
             for n, (auc, share) in enumerate(found.items())]  # fmt: skip
    return f"Of 100 tests of this size at most {', '.join(parts)}."


def power_by_auc(n_methylated: int, n_unmethylated: int, bound: float = BOUND) -> dict[float, float]:
    """The power of a test of this size by true AUC: for the smallest that would matter and for `POWER_AUCS`.

    Args:
        n_methylated: Test patients.
        n_unmethylated: Test patients.
        bound: The smallest AUC that would matter.

    Returns:
        Empty with a class absent.
    """
    if not n_methylated or not n_unmethylated:
        return {}
    return {auc: power(auc, n_methylated, n_unmethylated, ALPHA_MODEL) for auc in sorted({bound, *POWER_AUCS})}


def power_of_test(
    label: np.ndarray, code: np.ndarray | None = None, widen: float = 1.0, bound: float = BOUND
) -> dict[float, float]:
    """`power_by_auc` of these patients, whom their sites or folds make worth fewer.

    Args:
        label: Shape ``(n,)``, 0 or 1.
        code: Shape ``(n,)``, their site, from 0: only pairs of one count. None where none is known.
        widen: How many times as large the standard error is taken.
        bound: The smallest AUC that would matter.
    """
    m = int(label.sum())
    each = (m, len(label) - m) if code is None else (equal_classes(label, code),) * 2
    return power_by_auc(math.ceil(each[0] / widen**2), math.ceil(each[1] / widen**2), bound)


def judge(
    label: ArrayLike,
    probability: ArrayLike,
    controls: Mapping[str, ArrayLike],
    level: float = 0.95,
    n_permutations: int = 10_000,
    seed: int = 0,
    p_value: float | None = None,
    site: ArrayLike | None = None,
    fold: ArrayLike | None = None,
    bound: float = BOUND,
    notes: Sequence[str] = (),
    seeds: str = "",
) -> Verdict:
    """Hold a model's predictions against chance, within sites, and against its negative controls.

    The rule, step by step: ``docs/explanation/verdict.md``. The first state that holds is given.

    Args:
        label: Shape ``(n,)``, 0 or 1, of patients that neither the model nor a control has seen.
        probability: Shape ``(n,)``, the model's.
        controls: By name, each of shape ``(n,)``, for the same patients in the same order.
        level: Of the intervals that are shown.
        n_permutations: Of the labels, for each p-value.
        seed: Of the permutations.
        p_value: Of the model, where it was chosen with some regard to these patients: that of
            :func:`mgmt_monai.evaluation.best_of.best_of_p_values`, of `across_folds` and widened where there are
            folds. None: it was not, and its own is worked out.
        site: Shape ``(n,)``, the hospital or any other group that may be seen in a picture.
        fold: Shape ``(n,)``, of a cross-validation.
        bound: The smallest AUC that would matter, set before the evaluation.
        notes: Keys of `REASONS` that stand beside the verdict's own.
        seeds: What the seeds reach, each apart, where their average is judged: stands before it.

    Returns:
        The verdict with the figures it rests on.

    Raises:
        EvaluationError: Shapes differ, a label is not 0 or 1, a probability is not finite, or ``bound`` is not above
            0.5 and below 1.

    Example:
        >>> label, model = [0, 1] * 20, [0.2, 0.8] * 20
        >>> judge(label, model, {"header_tags": [0.1, 0.2, 0.2, 0.1] * 10}).state
        'supported'
        >>> judge(label, model, {"header_tags": [0.3, 0.7] * 20}).state
        'contaminated'
        >>> judge(label, model, {}).reasons
        ('no_informative_control', 'no_site_column')
    """
    if not 0.5 < bound < 1:
        raise EvaluationError(f"bound: expected the smallest AUC that would matter, above 0.5, below 1, found {bound}")
    checked, scores = checked_arrays(label, probability)
    m, k = int(checked.sum()), int(len(checked) - checked.sum())
    own = scores
    scores, widen = (own, 1.0) if fold is None else across_folds(own, fold, checked)
    # Scores of different models are compared; each model's level goes against the labels that it did not learn from.
    too_few_a_fold = widen > 1 and scores is own
    code = found_site = None
    if site is not None:
        code = site_codes(site, len(checked))
        found_site = within_site(checked, scores, site, level, n_permutations, seed, fold, widen)
    tested = permutation_test(checked, scores, n_permutations, seed) if found_site is None else found_site

    def estimate(shown: float) -> Estimate:
        wide = wider_level(shown, widen)
        return auc_estimate(checked, scores, wide) if code is None else stratified_auc(checked, scores, code, wide)

    model = estimate(level) if found_site is None else found_site.auc
    ruled = model if level == RULE_LEVEL else estimate(RULE_LEVEL)
    p_model = widened(tested.p_value, widen) if p_value is None else p_value
    above = bool(p_model <= ALPHA_MODEL and ruled.low > 0.5)
    parted = False
    if above and fold is not None and too_few_a_fold:
        parted = within_folds_p(checked, scores, fold, n_permutations, seed) > ALPHA_MODEL
        left = len(checked) - int(np.unique(fold, return_counts=True)[1].max())
        level_told = wider_level(RULE_LEVEL, widen)
        parted |= not auc_estimate(checked, own - LEVEL_STEPS / max(1, left) * checked, level_told).low > 0.5
        above = not parted
    below = bool(widened(tested.p_low, widen) <= ALPHA_BELOW and ruled.high < 0.5) and not too_few_a_fold
    found = held_against(controls, checked, probability, scores, level, n_permutations, seed, code, widen, above)
    seen = any(c.informative and not NO_SHORTCUT_CONTROLS.search(c.name) for c in found)
    if code is not None and found_site is not None and found_site.n_mixed > 1:
        among = code[np.bincount(code)[code] > 1]  # of a site known for a few, most pairs are not told apart
        seen = seen or told_apart(among) * (len(among) / len(code)) ** 2 >= LEAST_TOLD_APART
    beyond = all(control.beyond for control in found if control.informative)
    notes = [*notes, *(["copied_control"] if any(control.copied for control in found) else []),
             *(["rounding_errors"] if 0 < np.ptp(own) < LEAST_SPREAD else []),
             *(["one_answer"] if len(own) > 1 and not np.ptp(own) else []),
             *(["one_site"] if found_site is not None and found_site.n_sites == 1 else [])]  # fmt: skip

    reasons = []
    if not m or not k:
        state, reasons = CANNOT_TELL, ["one_class"]
    elif math.isnan(model.value):
        state, reasons = CANNOT_TELL, ["no_pairs_within_site"]
    elif below:
        state, reasons = BELOW_CHANCE, ["labels_reversed"]
    elif any(control.explains for control in found):
        state, reasons = CONTAMINATED, ["explained_by_control"]
    elif ruled.high < bound and not too_few_a_fold:
        state, reasons = TOO_SMALL, ["upper_end_below_bound"]
    elif above and beyond and seen and not {*notes} & {*WITHHOLD}:
        state = SUPPORTED
    else:
        state = CANNOT_TELL
        reasons += ["not_above_chance"] if not above else []
        reasons += ["not_beyond_control"] if above and not beyond else []
        reasons += ["no_informative_control"] if not seen else []
    if not above and any(c.informative and c.p_holm <= ALPHA_CONTROLS for c in found):
        reasons.append("control_above_chance")
    reasons += ["too_few_for_an_interval"] if math.isnan(model.low) and not math.isnan(model.value) else []
    reasons += ["folds"] if widen > 1 else []
    reasons += ["small_folds"] if too_few_a_fold else []
    reasons += ["labels_by_fold"] if parted else []
    reasons += ["no_site_column"] if site is None else []
    return Verdict(
        state=state,
        reasons=(*reasons, *notes),
        auc=model,
        p_value=p_model,
        controls=tuple(found),
        checks=tuple(_checks(model, p_model, above, found, found_site)),
        site=found_site,
        power=power_of_test(checked, code, widen, bound),
        bound=bound,
        seeds=seeds,
    )


def _checks(
    model: Estimate, p_model: float, above: bool, controls: Sequence[Control], site: WithinSite | None
) -> list[Check]:
    where = "" if site is None else " within sites"
    asked = f"(at most {ALPHA_MODEL}, one-sided, and an interval above 0.5 are asked for)"
    text = f"AUC {with_interval(*model[:3])}, {_p(p_model)} of permuted labels {asked}"
    checks = [Check(f"The model is above chance{where}", above, text)]
    for control in controls:
        figures = f"AUC {with_interval(*control.auc[:3])}, {_p(control.p_value)}, {_p(control.p_holm)} after Holm"
        if not control.informative:
            why = "the model's own predictions" if control.copied else "constant on these patients, or nearly so"
            text = f"{figures}: {why}: it says nothing"
            checks.append(Check(f"The control '{control.name}' is informative", False, text))
            continue
        text = f"{figures}; {_p(control.p_added)} of what the model adds to it (at most {ALPHA_MODEL} is asked for)"
        text += "; it goes with the model as a shaken copy would" if control.alike else ""
        checks.append(Check(f"The model tells more than the control '{control.name}'", control.beyond, text))
    return checks


def _p(value: float) -> str:
    if math.isnan(value):
        return "p undefined"
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"
