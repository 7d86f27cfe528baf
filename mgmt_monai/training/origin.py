"""Where a training's patients come from, beside every figure: a made cohort is never taken for one of people."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from mgmt_monai.cohort.modality import ModalityCohort
from mgmt_monai.cohort.records import SPLITS
from mgmt_monai.cohort.tables.review import in_words
from mgmt_monai.evaluation.within_site import site_column

MADE = "A made cohort (mgmt-monai phantom)"
"""Begins what is said of one: a text that begins so is of one."""

HEADS = ("skull_stripped", "prepared")
"""What of it says which studies a model can be asked about."""

MADE_FIGURES = "The figures are of a made cohort: they say nothing about patients."


def sites_of(cohort: ModalityCohort) -> dict[str, str]:
    """Each patient's site, as the manifest's columns tell it; empty where no column does."""
    known = pd.DataFrame.from_dict({p.patient_id: p.columns for p in cohort.manifest.patients}, orient="index")
    site = site_column(known) if len(known.columns) else ""
    return {str(patient): str(of) for patient, of in known[site].fillna("").items()} if site else {}


def origin_of(cohort: ModalityCohort) -> dict[str, Any]:
    """What is known of a cohort, for JSON: no path and nobody's identity.

    Returns:
        ``made``, whether it is a phantom; ``layout``; ``patients`` and ``sites``, how many (None where no column tells
        the site); ``cohort``, the beginning of the manifest's hash; ``skull_stripped``, whether all of at least half
        of the series that can tell are, None else; ``prepared``, how all of them were, None else; ``text``, all of it
        in words.
    """
    sites, heads = sites_of(cohort), cohort.manifest.heads.get(cohort.modality, {})
    bare, told = skull_state(heads)
    known = {
        "made": cohort.manifest.is_made or cohort.reachable_auc() is not None,
        "layout": cohort.manifest.layout,
        "patients": sum(len(cohort.members(split)) for split in SPLITS),
        "sites": len({*sites.values()} - {""}) if sites else None,
        "cohort": cohort.manifest_hash[:12],
        "skull_stripped": bare,
        "prepared": heads["how"] if heads and heads["prepared"] == heads["series"] else None,
    }
    how = f" Prepared by mgmt-monai prepare ({in_words(heads['how'])})." if known["prepared"] else ""
    return {**known, "text": f"{_text(known)} {told}{how}"}


def skull_state(heads: Mapping[str, Any]) -> tuple[bool | None, str]:
    """Whether a modality's series are skull-stripped, and that in words; None where they differ or too few tell.

    Args:
        heads: Of the modality in the manifest; empty in one of an earlier version.

    Example:
        >>> skull_state({"series": 4, "skull_stripped": 3, "with_skull": 0})
        (True, 'Skull-stripped.')
    """
    n, n_bare, n_skull = (heads.get(name, 0) for name in ("series", "skull_stripped", "with_skull"))
    if min(n_bare, n_skull):
        return None, f"{n_bare} of {n} series skull-stripped, {n_skull} not."
    if 2 * max(n_bare, n_skull) < max(n, 1):
        return None, "Whether skull-stripped: not known."
    return bool(n_bare), "Skull-stripped." if n_bare else "Heads with skull."


def _text(known: Mapping[str, Any]) -> str:
    which = f"manifest {known['cohort']}"
    if known["made"]:
        return f"{MADE}, {known['patients']} patients, {which}: no images of patients."
    n = known["sites"]
    sites = "site not known" if n is None else f"{n} site{'' if n == 1 else 's'}"
    return f"Images of {known['patients']} patients, {sites}, layout {known['layout']}, {which}."
