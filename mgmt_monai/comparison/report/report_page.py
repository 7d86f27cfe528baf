"""The comparison's pages: the report with the paper's figures beside its own, and the reporting checklists.

Each is one HTML file that needs no network and runs no script.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mgmt_monai.comparison.errors import ComparisonError
from mgmt_monai.comparison.report import wording
from mgmt_monai.comparison.report.checklist import STATUSES, answer_checklists
from mgmt_monai.comparison.report.facts import SCHEMA
from mgmt_monai.comparison.report.flow import cohort_flow
from mgmt_monai.comparison.report.published import (
    N_PATIENTS,
    ModalityRow,
    NetworkRow,
    Printed,
    Published,
    best_of_guessers,
    is_of_whole_patients,
    read_published,
    spelling,
)
from mgmt_monai.evaluation.verdict import REASONS
from mgmt_monai.html_page import data_uri, page_pieces
from mgmt_monai.training.learnt import NOT_LEARNT
from mgmt_monai.training.origin import MADE_FIGURES

REPORT_NAME, CHECKLIST_NAME = "report.html", "checklist.html"
"""What the two pages, which lie in one folder, call each other."""

PICTURES = {
    "candidates": ("Candidates", "only one candidate was trained"),
    "accuracy_transfer": ("Accuracy before fine-tuning", "no training left its learning curves"),
    "accuracy_fine_tune": ("Accuracy during fine-tuning", "no training left its learning curves"),
    "distributions": ("Predictions before and after fine-tuning", "no training left predictions of both stages"),
    "roc": ("ROC curve", "the test patients are all of one label"),
    "calibration": ("Calibration", "the test patients are all of one label"),
    "decision_curve": ("Decision curve", "the test patients are all of one label"),
    "forest": ("Subgroups", "no clinical columns were given, or no subgroup has patients of both labels"),
    "sites": ("Sites", "no column tells the site"),
    "controls": ("Controls", "no negative control was trained or scored"),
    "spread": ("Spread", "there is one model of each kind"),
}
"""The pictures of the report by name: what each is called, and why a run may have none."""

SECTIONS = {
    "verdict": "verdict",
    "compared": "what was compared",
    "table-1": "Table I",
    "table-2": "Table II",
    "discrimination": "discrimination",
    "calibration": "calibration",
    "subgroups": "subgroups",
    "controls": "controls",
    "noise": "noise floor",
    "spread": "spread",
    "cohort": "patients",
    "reproduce": "what reproduces it",
}
"""The sections of the report that the checklists point to: id, and what the checklists call it."""

_STAGES = {"transfer": "transfer", "fine_tune": "fine-tuned", "plain": "plain model"}
_VERDICTS = {
    "supported": "Supported",
    "too_small_to_matter": "Too small to matter",
    "cannot_tell": "Cannot tell",
    "below_chance": "Below chance",
    "contaminated": "Contaminated",
}
_PLANES = ("axial", "coronal", "sagittal", "oblique", "unknown")
_PIXELS = {"": 1.0, "px": 1.0, "pt": 4 / 3, "in": 96.0, "mm": 96 / 25.4, "cm": 96 / 2.54}


def report_page(report: Mapping[str, Any], pictures: Mapping[str, str]) -> Iterator[str]:
    """The report, piece by piece. Pictures are images, in which nothing can run.

    Args:
        report: As ``data/report.schema.json`` says.
        pictures: SVG text by name, any of `PICTURES`; in the place of one that is missing stands why.

    Raises:
        ComparisonError: The report has another schema, or a picture an unknown name.
    """
    _check(report)
    unknown = sorted(set(pictures) - set(PICTURES))
    if unknown:
        raise ComparisonError(f"pictures: expected names among {', '.join(PICTURES)}, found {', '.join(unknown)}.")
    published = read_published(report["figures"]["level"])
    accuracies = published.accuracies()
    networks = {row.network: row for row in published.table_1}
    titles = {name: row.network for row in published.table_1 for name in row.names}

    def network_title(row: Mapping[str, Any]) -> str:
        return titles.get(spelling(row["network"]), row["network"])

    modalities = {row.modality: row for row in published.table_2}
    trainings = [row for row in report["comparison"]["trainings"] if row.get("learnt") is False]
    not_learnt = {row["name"]: row.get("not_learnt") or NOT_LEARNT for row in trainings}
    state, sentence = report["verdict"]["state"], report["verdict"]["sentence"]
    why = sentence.partition(": ")[2] or sentence  # its first words are the state's, which stands before it
    return _pieces(
        "report.html.j2",
        "comparison report",
        report,
        {
            **report,
            "verdict_word": _VERDICTS.get(state, state),
            "why": why[:1].upper() + why[1:],
            "reasons": [REASONS.get(reason, reason) for reason in report["verdict"]["reasons"]],
            "level": f"{100 * report['figures']['level']:g} %",
            "pictures": {name: _picture(name, pictures.get(name), report) for name in PICTURES},
            "published": published,
            "n_printed": N_PATIENTS,
            "networks": list(_beside(report["table_1"], networks, network_title)),
            "modalities": list(_beside(report["table_2"], modalities, lambda row: row["modality"])),
            "marks": dict(zip(_notes(published), "abcdefgh", strict=False)),
            "n_accuracies": len(accuracies),
            "n_whole": sum(is_of_whole_patients(printed.text) for printed in accuracies),
            "guessers": best_of_guessers(published.n_candidates),
            "flow": cohort_flow(report["cohort"]),
            "planes": _planes(report["cohort"]["modalities"]),
            "not_learnt": not_learnt,
            "n_not_learnt": Counter(sentence.partition(" (")[0] for sentence in not_learnt.values()),
            "checklist": CHECKLIST_NAME,
            "made_figures": MADE_FIGURES,
        },
    )


def checklist_page(report: Mapping[str, Any]) -> Iterator[str]:
    """What the comparison answers of CLAIM 2024 and TRIPOD+AI, and what its authors have to write.

    Raises:
        ComparisonError: The report has another schema.
    """
    _check(report)
    content = {
        "comparison": report["comparison"],
        "checklists": answer_checklists(report),
        "statuses": STATUSES,
        "sections": SECTIONS,
        "report_page": REPORT_NAME,
    }
    return _pieces("checklist.html.j2", "reporting checklists", report, content)


def _check(report: Mapping[str, Any]) -> None:
    if report.get("schema") != SCHEMA:
        raise ComparisonError(
            f"report: expected schema {SCHEMA!r}, found {report.get('schema')!r}. "
            "Make the report again with this version of mgmt_monai."
        )


def _pieces(template: str, kind: str, report: Mapping[str, Any], content: Mapping[str, Any]) -> Iterator[str]:
    filters = {
        "figure": wording.figure,
        "number": wording.number,
        "difference": wording.difference,
        "p": wording.p_value,
        "setting": _setting,
        "stage": _STAGES.__getitem__,
    }
    name = report["comparison"]["name"]
    return page_pieces("mgmt_monai.comparison.report", template, kind, name, content, filters, "report.css")


def _beside(
    ours: list[dict[str, Any]], papers: Mapping[str, NetworkRow | ModalityRow], title_of: Callable[[Any], str]
) -> Iterator[dict[str, Any]]:
    """A table: the paper's rows in its order, each with this comparison's; then those that the paper has not."""
    for title, paper in papers.items():
        yield {"title": title, "paper": _as_shown(paper), "ours": [row for row in ours if title_of(row) == title]}
    for row in ours:
        if title_of(row) not in papers:
            yield {"title": title_of(row), "paper": None, "ours": [row]}


def _as_shown(row: NetworkRow | ModalityRow) -> dict[str, dict[str, Any]]:
    """A row of the paper's figures by column, ``nan`` turned into None as in a report."""
    return {
        name: {
            "text": printed.text,
            "of": printed.of,
            "note": printed.note,
            "estimate": {key: None if value != value else value for key, value in printed.estimate._asdict().items()},
        }
        for name, printed in vars(row).items()
        if isinstance(printed, Printed)
    }


def _notes(published: Published) -> Iterator[str]:
    """What is odd about the paper's figures, in the order of its tables."""
    for row in published.table_2:
        yield from (shown["note"] for shown in _as_shown(row).values() if shown["note"])


def _planes(modalities: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The columns of the table of planes."""
    present = {plane for row in modalities.values() for plane in row["planes"]}
    return [plane for plane in _PLANES if plane in present] + sorted(present - set(_PLANES))


def _picture(name: str, svg: str | None, report: Mapping[str, Any]) -> dict[str, Any]:
    """A picture as the page has it: its title, and the SVG, or why there is none."""
    title, why = PICTURES[name]
    if svg is None:
        return {"title": title, "uri": "", "why": why, "width": None}
    width, height = _size(svg)
    uri = data_uri(svg.encode(), "image/svg+xml")
    return {"title": title, "uri": uri, "alt": _alt(name, report), "width": width, "height": height}


def _alt(name: str, report: Mapping[str, Any]) -> str:
    """What the picture shows, with the figures that matter; the tables beside it have the rest."""
    figures, chosen = report["figures"], report["chosen"]
    model = f"{chosen['network']} on {chosen['modality']}"
    return {
        "candidates": f"Test AUC of each of {report['noise']['n_candidates']} candidates with its interval, one chosen",
        "accuracy_transfer": "Training and validation accuracy of each modality over the epochs before fine-tuning.",
        "accuracy_fine_tune": "Training and validation accuracy of each modality over the epochs of fine-tuning.",
        "distributions": "Distribution of the predicted probability by label, before and after fine-tuning.",
        "roc": f"ROC curve of {model} with its band; AUC {wording.figure(figures['auc'])}.",
        "calibration": "Observed share of methylated patients against the predicted probability; "
        f"slope {wording.figure(figures['calibration_slope'])}.",
        "decision_curve": "Net benefit of the model, of treating all and of treating none over the threshold.",
        "forest": f"AUC with its interval in each of {len(report['subgroups'])} subgroups and in all patients.",
        "sites": "AUC with its interval at each site, within sites, and where another site's is expected.",
        "controls": f"AUC of the model and of {len(report['controls'])} controls without the tumour, with intervals.",
        "spread": f"Test AUC of every model of {len(report['spread'])} kinds, over folds, seeds and repeats.",
    }[name]


def _size(svg: str) -> tuple[int | None, int | None]:
    """Width and height in CSS pixels, so that the page does not jump while it loads."""
    opening = re.search(r"<svg\b[^>]*>", svg)
    found = [
        re.search(rf'\s{side}="([0-9.]+)(px|pt|in|mm|cm)?"', opening[0]) if opening else None
        for side in ("width", "height")
    ]
    if None in found:
        return None, None
    width, height = (round(float(match[1]) * _PIXELS[match[2] or ""]) for match in found if match)
    return width, height


def _setting(value: Any) -> str:
    """A setting in full: a text as it is, anything else as JSON has it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
