"""Where a training's patients come from, beside every figure: a made cohort is never taken for one of people."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from mgmt_monai.cohort.modality import ModalityCohort
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
    n, n_bare, n_skull = (heads.get(name, 0) for name in ("series", "skull_stripped", "with_skull"))
    known = {
        "made": cohort.reachable_auc() is not None,
        "layout": cohort.manifest.layout,
        "patients": sum(cohort.modality in patient.series for patient in cohort.manifest.patients),
        "sites": len({*sites.values()} - {""}) if sites else None,
        "cohort": cohort.manifest_hash[:12],
        "skull_stripped": None if not n or min(n_bare, n_skull) or 2 * (n_bare + n_skull) < n else bool(n_bare),
        "prepared": heads["how"] if n and heads["prepared"] == n else None,
    }
    mixed = f" {n_bare} of {n} series skull-stripped, {n_skull} not." if min(n_bare, n_skull) else ""
    return {**known, "text": f"{_text(known)}{mixed}{heads_text(known)}"}


def heads_text(known: Mapping[str, Any]) -> str:
    """What ``skull_stripped`` and ``prepared`` say, in words behind others; "" where neither is known."""
    bare, how = known.get("skull_stripped"), known.get("prepared")
    told = "" if bare is None else " Skull-stripped." if bare else " Heads with skull."
    return f"{told} Prepared by mgmt-monai prepare ({in_words(how)})." if how else told


def _text(known: Mapping[str, Any]) -> str:
    which = f"manifest {known['cohort']}"
    if known["made"]:
        return f"{MADE}, {known['patients']} patients, {which}: no images of patients."
    n = known["sites"]
    sites = "site not known" if n is None else f"{n} site{'' if n == 1 else 's'}"
    return f"Images of {known['patients']} patients, {sites}, layout {known['layout']}, {which}."
