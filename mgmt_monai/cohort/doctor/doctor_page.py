"""The doctor's page: one HTML file that needs no network, with every series, its pictures and what was found."""

import itertools
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from mgmt_monai.cohort.doctor.confounders import p_text
from mgmt_monai.cohort.doctor.meanings import MEANINGS
from mgmt_monai.cohort.findings import KINDS, Severity, counted
from mgmt_monai.cohort.layouts.passed_over import IMAGES, in_kinds
from mgmt_monai.cohort.tables.series_table import SeriesRow
from mgmt_monai.html_page import page_pieces

#: Facts shown at once besides those that go with the label; the others are folded away.
SHOWN_TESTS = 12

#: Values of a category shown at once; the others are counted together.
SHOWN_VALUES = 5

_HEADINGS = {Severity.ERROR: "Errors", Severity.WARNING: "Warnings", Severity.NOTE: "Notes"}


def doctor_page(
    head: Mapping[str, Any],
    series: Iterable[str],
    montages: Iterable[str],
    choice: Iterable[tuple[SeriesRow, str]] = (),
) -> Iterator[str]:
    """The page, piece by piece.

    Everything that comes from the cohort (patients' names, paths, tags) is text to this page, never markup: the
    template escapes it, the script sets it as text, and the page's own policy forbids every other script and any
    request.

    Args:
        head: The report without its series, as `report.json` has it.
        series: One line of JSON a series, as `report.json` has them.
        montages: For each series, in the same order, a JPEG in base64, or "".
        choice: Series in dispute with a picture each, as `write_report` takes them.
    """
    cohort, confounders = head["cohort"], head["confounders"]
    findings = [finding for finding in head["findings"] if finding["ignored"] is None]
    tests = confounders["tests"]
    n_suspicious = sum(row["suspicious"] for row in tests)
    n_first = max(SHOWN_TESTS, n_suspicious)
    content = {
        "cohort": cohort,
        "version": head["version"],
        "alpha": confounders["alpha"],
        "files": _account(cohort["files"], cohort["layout"]) if cohort.get("files") else [],
        "verdict": _verdict(cohort["severities"]),
        "groups": _groups(findings),
        "ignored": [finding for finding in head["findings"] if finding["ignored"] is not None],
        "planes": _planes(cohort["planes"]),
        "choice": [
            (patient_id, [(row, _base64(picture)) for row, picture in own])
            for patient_id, own in itertools.groupby(choice, key=lambda item: item[0].patient_id)
        ],
        "tests": [_test(row) for row in tests[:n_first]],
        "more_tests": [_test(row) for row in tests[n_first:]],
        "n_suspicious": n_suspicious,
        "findings_data": _script_json(json.dumps([_short(finding) for finding in head["findings"]])),
        "series": (_script_json(line) for line in series),
        "montages": (_base64(line) for line in montages),
    }
    filters = {"p_value": lambda p: p_text(p).removeprefix("= ")}
    return page_pieces(
        "mgmt_monai.cohort", "doctor.html.j2", "doctor", cohort["name"], content, filters, "doctor.css", "doctor.js"
    )


def _script_json(text: str) -> Markup:
    """JSON that cannot end the ``<script>`` it stands in, and that no browser takes for markup."""
    for character in "<>&'":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _base64(text: str) -> Markup:
    """A picture's base64, or nothing if it is something else."""
    return Markup(text if re.fullmatch(r"[A-Za-z0-9+/]*={0,2}", text) else "")


def _short(finding: Mapping[str, Any]) -> dict[str, Any]:
    """What the script needs of a finding; what all of a kind share stands in the page once."""
    return {key: finding[key] for key in ("id", "patient_id", "modality", "path", "text", "others", "ignored")}


def _verdict(severities: Mapping[str, int]) -> dict[str, str]:
    if severities[Severity.ERROR]:
        text = "Not ready for training: mend the errors, or leave out or accept what they name."
        return {"severity": Severity.ERROR, "text": text}
    if severities[Severity.WARNING]:
        return {"severity": Severity.WARNING, "text": "Usable: read the warnings before you trust a result."}
    return {"severity": "fine", "text": "Nothing was found that would harm a training."}


def _groups(findings: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Severities with their kinds, each with how many findings and patients it has."""
    n_findings = Counter(finding["id"] for finding in findings)
    patients: dict[str, set[str]] = {}
    for finding in findings:
        patients.setdefault(finding["id"], set()).update({finding["patient_id"], *finding["others"]} - {""})
    return [
        {
            "severity": severity,
            "heading": _HEADINGS[severity],
            "n": sum(n for key, n in n_findings.items() if KINDS[key].severity is severity),
            "kinds": [
                {
                    "kind": kind,
                    "meaning": MEANINGS[kind.id],
                    "n": n_findings[kind.id],
                    "n_patients": len(patients[kind.id]),
                }
                for kind in KINDS.values()
                if kind.severity is severity and kind.id in patients
            ],
        }
        for severity in Severity
    ]


def _planes(planes: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    """The table of planes: columns, and a row of counts for each modality."""
    known = ["axial", "coronal", "sagittal", "oblique", "unknown"]
    present = {plane for counts in planes.values() for plane in counts}
    columns = [p for p in known if p in present] + sorted(present - set(known))
    rows = [(modality, [counts.get(plane, 0) for plane in columns]) for modality, counts in planes.items()]
    return {"columns": columns, "rows": rows, "n_mixed": sum(sum(n > 0 for n in counts) > 1 for _, counts in rows)}


def _test(row: Mapping[str, Any]) -> dict[str, Any]:
    """One fact against the label, with the lengths of its bars (0 to 100) worked out."""
    counts = row["counts"]
    n_0, n_1 = (sum(count[key] for count in counts) for key in ("unmethylated", "methylated"))
    shown = list(counts[:SHOWN_VALUES])
    rest = counts[SHOWN_VALUES:]
    if rest:
        shown.append(
            {
                "value": f"{len(rest)} other values",
                "unmethylated": sum(count["unmethylated"] for count in rest),
                "methylated": sum(count["methylated"] for count in rest),
            }
        )
    bars = [
        {
            **count,
            "share_0": 100 * count["unmethylated"] / n_0,
            "share_1": 100 * count["methylated"] / n_1,
        }
        for count in shown
    ]
    return {**row, "bars": bars, "boxes": list(_boxes(row["spreads"]))}


def _boxes(spreads: Mapping[str, Mapping[str, float]] | None) -> Iterator[dict[str, Any]]:
    """Box plots of the two labels on one axis from 0 to 100."""
    if spreads is None:
        return
    low = min(spread["low"] for spread in spreads.values())
    extent = max(spread["high"] for spread in spreads.values()) - low or 1.0
    for label in ("unmethylated", "methylated"):
        spread = spreads[label]
        places = {key: 100 * (spread[key] - low) / extent for key in ("low", "q1", "median", "q3", "high")}
        yield {"label": label, "spread": spread, "at": places}


def _account(files: Mapping[str, Any], layout: str) -> list[tuple[str, str]]:
    """What became of the files, and how many and which, as `FileCount.to_json` has it."""
    images = [item for item in files["passed_over"] if item["kind"] in IMAGES]
    others = [item for item in files["passed_over"] if item["kind"] not in IMAGES]
    told = [("Read", f"{files['read']} of {counted(files['found'], 'file')}")]
    if files["left_out"]:
        told.append(("Left out", f"{files['left_out']} of series that are not taken, or damaged: see the findings"))
    if images:
        why = f"that may be images, but not as the layout {layout} has them"
        told.append(("Passed over", f"{sum(item['n'] for item in images)} {why}: {in_kinds(images)}"))
    if others:
        told.append(("No images", f"{sum(item['n'] for item in others)}: {in_kinds(others)}"))
    return told
