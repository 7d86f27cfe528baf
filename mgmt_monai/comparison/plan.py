"""What a comparison trains: the paper's candidates, by fold and seed, and the negative controls of the one chosen."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import chain, product
from pathlib import PurePath
from typing import Any

from mgmt_monai.cohort.patients import FUSION, LATE_FUSION
from mgmt_monai.cohort.series import MODALITIES
from mgmt_monai.comparison.errors import ComparisonError
from mgmt_monai.evaluation.verdict import BOUND
from mgmt_monai.training.config import FREE_ON_RESUME

TRAINED_CONTROLS = ("permuted_labels", "blank", "background")
"""Negative controls that are trainings: values of the config's ``control``."""

NO_CONTROL = "none"

FUSIONS = (LATE_FUSION, FUSION)
"""Stand among a plan's modalities: candidates that see the series of all of the others, whichever a patient has."""

LAST_STAGE = "fine_tune"
"""The stage whose network is the result of a training."""


@dataclass(frozen=True)
class Candidate:
    """One way to do it, of which the comparison chooses one.

    ``modality`` may be one of `FUSIONS`; what such a one sees and is made from, the plan says (`ComparisonPlan.sees`,
    `ComparisonPlan.trainings_of`). ``stage`` is the last one of its trainings, or the plain model on the backbone's
    frozen features.
    """

    network: str
    modality: str
    stage: str = LAST_STAGE


@dataclass(frozen=True)
class Training:
    """One training of a comparison; ``control`` is ``none`` or one of `TRAINED_CONTROLS`.

    ``repeat`` and ``fold`` (that is the test) count from 0; None for the hold-out split.
    """

    network: str
    modality: str
    control: str
    repeat: int | None
    fold: int | None
    seed: int

    @property
    def name(self) -> str:
        """Of its run, the same each time the comparison is started.

        Example:
            >>> Training("resnet-10", "T1w", "none", 0, 2, 1).name
            'resnet-10-t1w-repeat0-fold2-seed1'
        """
        parts = [self.network, self.modality.lower()]
        if self.control != NO_CONTROL:
            parts.append(self.control)
        if self.fold is not None:
            parts += [f"repeat{self.repeat}", f"fold{self.fold}"]
        return "-".join([*parts, f"seed{self.seed}"])


@dataclass(frozen=True)
class ComparisonPlan:
    """What is trained. The same plan is the same comparison: a second start goes on with it.

    Args:
        networks: Compared on the reference modality (Table I).
        modalities: Compared with the reference network (Table II); any of `FUSIONS` among them.
        reference_network: One of ``networks``.
        reference_modality: One of ``modalities``, and no fusion.
        folds: Of the cross-validation; None for the manifest's hold-out split.
        repeats: Of the folds.
        seeds: Trainings of each candidate on each fold.
        weights: File of weights by network; the others start as the config's ``weights`` says.
        settings: Of the config, by key, that every training gets.
        bound: The smallest AUC that would matter, above 0.5 and below 1.
        clinical: Columns that the image model is held against; empty for age and sex, where they are there.
        site: The column that tells the site; "" for one that is called so.

    Raises:
        ComparisonError: A list is empty or names one twice, a reference is not in its list, a modality is unknown, a
            fusion has fewer than two to fuse, a number is too small, weights are of a network that is not in the
            comparison.
    """

    networks: tuple[str, ...]
    modalities: tuple[str, ...]
    reference_network: str
    reference_modality: str
    folds: int | None = None
    repeats: int = 1
    seeds: int = 1
    weights: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    bound: float = BOUND
    clinical: tuple[str, ...] = ()
    site: str = ""

    def __post_init__(self) -> None:
        _check_names("networks", self.networks, self.reference_network)
        _check_names("modalities", self.modalities, self.reference_modality)
        for modality in self.modalities:
            if modality not in (*MODALITIES, *FUSIONS):
                known = ", ".join((*MODALITIES, *FUSIONS))
                raise ComparisonError(f"modalities: expected some of {known}, found {modality!r}.")
        if self.reference_modality in FUSIONS:
            raise ComparisonError(
                f"reference modality: expected one of {', '.join(MODALITIES)}, found {self.reference_modality!r}: "
                "networks are compared on one modality. Name another."
            )
        if len(self.singles) < 2 and len(self.singles) < len(self.modalities):
            raise ComparisonError(
                f"modalities: expected two or more to fuse, found {self.singles[0]} alone. Add another to --modalities."
            )
        if self.folds is None and self.repeats != 1:
            raise ComparisonError(f"repeats: expected folds with {self.repeats} repeats, found none. Set --folds.")
        for name, least in (("folds", 3), ("repeats", 1), ("seeds", 1)):
            number = getattr(self, name)
            if number is not None and number < least:
                raise ComparisonError(f"{name}: expected {least} or more, found {number}.")
        for network in self.weights:
            if network not in self.networks:
                raise ComparisonError(
                    f"weights: {network!r} is not in the comparison. Add it to --networks or leave it out."
                )

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """What is trained: every network on the reference modality, then the reference network on the others."""
        first = [Candidate(network, self.reference_modality) for network in self.networks]
        others = [Candidate(self.reference_network, modality) for modality in self.modalities]
        return tuple(dict.fromkeys(first + others))

    @property
    def singles(self) -> tuple[str, ...]:
        """The modalities without `FUSIONS`, in the plan's order."""
        return tuple(modality for modality in self.modalities if modality not in FUSIONS)

    @property
    def trained(self) -> tuple[str, ...]:
        """The modalities that have trainings of their own: a late fusion has none."""
        return tuple(modality for modality in self.modalities if modality != LATE_FUSION)

    @property
    def n_models(self) -> int:
        """How many models each candidate has: one a fold and seed."""
        return (1 if self.folds is None else self.folds * self.repeats) * self.seeds

    def sees(self, modality: str) -> tuple[str, ...]:
        """The modalities whose series a candidate of ``modality`` looks at."""
        return self.singles if modality in FUSIONS else (modality,)

    def trainings(self) -> tuple[Training, ...]:
        """Every candidate that is trained, on every fold with every seed."""
        return tuple(
            Training(candidate.network, candidate.modality, NO_CONTROL, repeat, fold, seed)
            for candidate in self.candidates
            if candidate.modality in self.trained
            for (repeat, fold), seed in product(self._parts(), range(self.seeds))
        )

    def trainings_of(self, candidate: Candidate) -> tuple[Training, ...]:
        """What a candidate is made from: its own trainings; of a late fusion, those of each modality."""
        made_from = self.sees(candidate.modality) if candidate.modality == LATE_FUSION else (candidate.modality,)
        return tuple(t for t in self.trainings() if t.network == candidate.network and t.modality in made_from)

    def controls(self, chosen: Candidate) -> tuple[Training, ...]:
        """The trained negative controls of the candidate that was chosen: the same folds and seeds."""
        of_chosen = self.trainings_of(chosen)
        return tuple(replace(training, control=control) for control in TRAINED_CONTROLS for training in of_chosen)

    def as_json(self) -> dict[str, Any]:
        """The plan as JSON has it."""
        return json.loads(json.dumps(asdict(self)))

    def command(self, name: str, hidden: Collection[str]) -> str:
        """The command line that starts this comparison; settings in ``hidden``, which are paths, read ``...``."""
        options = {
            "name": name,
            "networks": ",".join(self.networks),
            "modalities": ",".join(self.modalities),
            "reference-network": self.reference_network,
            "reference-modality": self.reference_modality,
            **({} if self.folds is None else {"folds": self.folds, "repeats": self.repeats}),
            "seeds": self.seeds,
            **({} if self.bound == BOUND else {"bound": self.bound}),
            **({"clinical": ",".join(self.clinical)} if self.clinical else {}),
            **({"site": self.site} if self.site else {}),
        }
        words = ["mgmt-monai", "compare", *chain.from_iterable((f"--{k}", str(v)) for k, v in options.items())]
        for network, path in self.weights.items():
            words += ["--weights", f"{network}={PurePath(path).name}"]
        for key, value in self.settings.items():
            words += [f"--{key}", "..." if key in hidden else str(value)]
        return shlex.join(words)

    def identity(self) -> dict[str, Any]:
        """What makes the comparison this one: the plan without settings that do not change its results."""
        settings = {key: value for key, value in self.settings.items() if key not in FREE_ON_RESUME}
        plan = {**self.as_json(), "settings": json.loads(json.dumps(settings))}
        usual = {"bound": BOUND, "clinical": [], "site": ""}  # as in comparisons begun before they were settings
        return {key: value for key, value in plan.items() if key not in usual or value != usual[key]}

    def digest(self, *beside: str) -> str:
        """Eight hexadecimal digits that tell this plan, with what is given beside it, from another."""
        text = json.dumps([self.identity(), *beside], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    def _parts(self) -> Iterator[tuple[int | None, int | None]]:
        if self.folds is None:
            yield None, None
        else:
            yield from product(range(self.repeats), range(self.folds))


def _check_names(what: str, names: tuple[str, ...], reference: str) -> None:
    if not names:
        raise ComparisonError(f"{what}: expected one or more, found none.")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ComparisonError(f"{what}: expected each once, found {', '.join(twice)} more often.")
    if reference not in names:
        raise ComparisonError(f"{what}: expected the reference {reference!r} among them, found {', '.join(names)}.")
