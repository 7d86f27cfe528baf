"""Where a training's patients come from, beside every figure: a made cohort is never taken for one of people."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from mgmt_monai.cohort.modality import ModalityCohort
from mgmt_monai.evaluation.within_site import site_column

MADE = "A made cohort (mgmt-monai phantom)"
"""Begins what is said of one: a text that begins so is of one."""

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
        the site); ``cohort``, the beginning of the manifest's hash; ``text``, all of it in a sentence.
    """
    sites = sites_of(cohort)
    known = {
        "made": cohort.reachable_auc() is not None,
        "layout": cohort.manifest.layout,
        "patients": sum(cohort.modality in patient.series for patient in cohort.manifest.patients),
        "sites": len({*sites.values()} - {""}) if sites else None,
        "cohort": cohort.manifest_hash[:12],
    }
    return {**known, "text": _text(known)}


def _text(known: Mapping[str, Any]) -> str:
    which = f"manifest {known['cohort']}"
    if known["made"]:
        return f"{MADE}, {known['patients']} patients, {which}: no images of patients."
    n = known["sites"]
    sites = "site not known" if n is None else f"{n} site{'' if n == 1 else 's'}"
    return f"Images of {known['patients']} patients, {sites}, layout {known['layout']}, {which}."
