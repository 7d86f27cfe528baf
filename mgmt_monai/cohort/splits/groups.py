"""Which patients must stay on one side of a split: those that are one person, one image or one site."""

from collections.abc import Iterable, Mapping

from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.tables.table import is_unknown


def groups_of(
    patients: Iterable[str], links: Iterable[tuple[str, str]] = (), column: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Group of every patient: those joined by a link, or by the same value, directly or through others.

    Args:
        patients: Patient identifiers.
        links: Pairs that belong together (duplicate images, two names of one person). A pair that names somebody
            else is passed over: whom the cohort does not hold cannot cross its split.
        column: ``{patient_id: value}``, such as the site; patients with an equal value are one group. A patient
            without one (absent, or `mgmt_monai.cohort.tables.table.is_unknown`) is joined to nobody by it.

    Returns:
        ``{patient_id: group}``, a group being named after its smallest identifier; independent of the order of
        ``patients`` and ``links``.

    Example:
        >>> groups_of(["c", "b", "a", "d"], links=[("b", "c")], column={"c": "site 1", "d": "site 1"})
        {'a': 'a', 'b': 'b', 'c': 'b', 'd': 'b'}
    """
    parents = {patient: patient for patient in sorted(patients)}
    for one, other in links:
        if one in parents and other in parents:
            _join(parents, one, other)
    first_with: dict[str, str] = {}
    for patient in parents:
        value = (column or {}).get(patient, "").strip()
        if not is_unknown(value):
            _join(parents, first_with.setdefault(value, patient), patient)
    return {patient: _root(parents, patient) for patient in parents}


def check_groups(patients: Iterable[str], groups: Mapping[str, str]) -> None:
    """Refuse groups that do not name every patient.

    Args:
        patients: Patient identifiers.
        groups: ``{patient_id: group}``.

    Raises:
        CohortError: Names the first patient without a group.
    """
    lacking = sorted(patient for patient in patients if patient not in groups)
    if lacking:
        raise CohortError(
            f"patient {lacking[0]}: expected a group for every patient, found none for {len(lacking)} of them. "
            "Give each a group; a patient who belongs to nobody is a group of one."
        )


def all_single(patients: Iterable[str], groups: Mapping[str, str]) -> bool:
    """Whether no two of the patients share a group.

    Args:
        patients: Patient identifiers.
        groups: ``{patient_id: group}`` of at least these.

    Returns:
        True also for no patients.
    """
    found = [groups[patient] for patient in patients]
    return len(set(found)) == len(found)


def _root(parents: dict[str, str], patient: str) -> str:
    while parents[patient] != patient:
        parents[patient] = parents[parents[patient]]  # halves the path: long chains stay cheap
        patient = parents[patient]
    return patient


def _join(parents: dict[str, str], one: str, other: str) -> None:
    small, large = sorted((_root(parents, one), _root(parents, other)))
    parents[large] = small
