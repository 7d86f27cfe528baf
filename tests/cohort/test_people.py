import pytest

from mgmt_monai.cohort.files.person import people_of
from mgmt_monai.cohort.layouts.found import Tagged
from mgmt_monai.cohort.people import People


def tagged(patient, number="", name="", born="", sex="", directory=None, others=""):
    values = {"PatientID": number, "PatientName": name, "PatientBirthDate": born, "PatientSex": sex}
    values["OtherPatientIDs"] = others
    return Tagged(patient, directory or f"{patient}/T1w", people_of([values]))


def told(*items, aliases=None):
    return sorted((f.id, f.patient_id, *f.others) for f in People(items, aliases).findings())


def same(*items):
    people = People(items)
    return {item.patient_id: people.others(item.patient_id) for item in items if people.others(item.patient_id)}


def test_swapped_folders():
    items = [tagged("00000", "00001"), tagged("00001", "00000"), tagged("00002", "00002")]
    assert told(*items) == [("D047", "00000", "00001"), ("D047", "00001", "00000")]


@pytest.mark.parametrize(
    ("folders", "is_told"),
    [
        ({"P90": "P91/T1", "P91": "P90/T1"}, True),
        ({"P90": "MR_P91_2020/T1", "P91": "P90 first/T1"}, True),
        ({"12345": "scan-12346", "12346": "scan-12345"}, True),
        ({"P90": "P91/T1", "P91": "other/T1"}, False),
        ({"3": "4/T1", "4": "3/T1"}, False),
    ],
    ids=["exchanged", "in longer names", "numbers", "one way", "series"],
)
def test_swapped_folders_of_a_tree_whose_others_have_other_names(folders, is_told):
    others = [tagged(f"Q{n}", f"Q{n}", directory=f"x{n}/T1") for n in range(6)]
    items = [tagged(patient, patient, directory=folder) for patient, folder in folders.items()]
    (a, b) = folders
    assert told(*items, *others) == ([("D047", a, b), ("D047", b, a)] if is_told else [])
    series = [tagged(patient, patient, directory=f"{patient}/T1") for patient in folders]
    assert told(*items, *series, *others) == []


def test_swapped_by_the_name_that_repeats_the_number():
    assert told(tagged("A1", "", "A2"), tagged("A2", "", "A2")) == [("D047", "A1", "A2")]


@pytest.mark.parametrize("number", ["00000", "BraTS2021_00000", " 00000", "MRN-7", ""])
def test_own_and_unknown_numbers_are_no_fault(number):
    assert told(tagged("00000", number), tagged("00001", "00001")) == []


@pytest.mark.parametrize(
    "tags",
    [
        {"number": "Brats-{}"},
        {"number": "0{}"},
        {"number": "x", "name": "Patient^{}"},
        {"number": "anon", "others": "MRN\\0{}"},
    ],
    ids=["prefix", "zeros", "name", "another number"],
)
def test_swapped_by_the_number_in_another_spelling(tags):
    def items(*said):
        return [
            tagged(f"0000{own}", **{tag: text.format(n) for tag, text in tags.items()}) for own, n in enumerate(said, 1)
        ]

    assert told(*items(2, 1, 3, 4, 5)) == [("D047", "00001", "00002"), ("D047", "00002", "00001")]
    assert told(*items(1, 2, 3, 4, 5)) == []
    assert told(*items(2, 3, 4, 5, 1)) == []  # another numbering


def test_another_number_of_one_person_is_anothers():
    assert same(tagged("M1", "M1", others="X9"), tagged("X9", "X9")) == {"M1": ["X9"], "X9": ["M1"]}
    assert same(*(tagged(name, name, others="removed\\ward") for name in "ABCDE")) == {}


def test_alias_is_an_own_name():
    items = [tagged("A1", "A2"), tagged("A2", "A1")]
    assert told(*items, aliases={"A1": ["A2"], "A2": ["A1"]}) == []


def test_folders_of_a_dicom_tree_swapped():
    items = [tagged(a, a, directory=f"export/{b}/S1") for a, b in (("P1", "P2"), ("P2", "P1"), ("P3", "P3"))]
    assert told(*items) == [("D047", "P1", "P2"), ("D047", "P2", "P1")]


def test_series_numbered_like_patients_are_no_fault():
    items = [tagged(p, p, directory=f"{name}/{n}") for p, name in (("1", "a"), ("2", "b"), ("3", "c")) for n in (1, 2)]
    assert told(*items) == []


@pytest.mark.parametrize(
    "other",
    [
        {"name": "Roe^Ann", "born": "19500203", "sex": "F"},
        {"name": "Doe^Jane", "born": "19600203", "sex": "F"},
        {"name": "Doe^Jane", "born": "19500203", "sex": "M"},
    ],
    ids=["name", "birth date", "sex"],
)
def test_two_people_under_one_patient(other):
    one = tagged("P1", "P1", "Doe^Jane", "19500203", "F")
    assert told(one, tagged("P1", "P1", **other, directory="P1/T2w")) == [("D048", "P1")]


def test_a_value_that_was_removed_contradicts_nothing():
    one = tagged("P1", "P1", "Doe^Jane", "19500203", "F")
    assert told(one, tagged("P1", "P1", "ANONYMOUS", "", "O", directory="P1/T2w")) == []


def test_two_people_of_two_folders_under_one_number():
    items = [tagged("A", "77", "Doe^Jane", "19500203"), tagged("B", "77", "Roe^Ann", "19600203")]
    assert told(*items) == [("D048", "A", "B")]
    assert same(*items) == {"A": ["B"], "B": ["A"]}, "who may be one stays together"


@pytest.mark.parametrize("sex", ["F", "", "O"])
def test_one_person_under_two_numbers(sex):
    items = [
        tagged("MRN1", "MRN1", "Müller^Anna", "19500203", "F"),
        tagged("EXT1", "EXT1", "ANNA MUELLER", "19500203", sex),
        tagged("MRN2", "MRN2", "Roe^Ann", "19500203", "F"),
        tagged("MRN3", "MRN3", "Müller^Anna", "19500204", "F"),
    ]
    near = "perhaps MRN3"  # a day apart
    assert same(*items) == {"MRN1": ["EXT1", near], "EXT1": ["MRN1", near], "MRN3": ["perhaps EXT1", "perhaps MRN1"]}
    assert told(*items) == []


def test_other_sex_is_mistyped_or_another_person():
    kim = tagged("A", "A", "Doe^Kim", "19500203", "F")
    assert same(kim, tagged("B", "B", "Doe^Kim", "19500203", "M")) == {"A": ["perhaps B"], "B": ["perhaps A"]}
    assert same(kim, tagged("B", "B", "Doe^Jim", "19500203", "M")) == {}


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("703-2401", "7032401", "perhaps "),
        ("703.2401", "703/2401", "perhaps "),
        ("0007032401", "7032401", "perhaps "),
        ("7032401^SITE", "7032401", "perhaps "),
        ("TCGA-06-0131", "tcga_06_131", "perhaps "),
        ("7032401", "7032401", ""),
        ("7032401", "7032402", None),
        ("1-11", "11-1", None),
        ("anonymous-00000", "anonymous 0", None),
    ],
)
def test_one_number_of_the_tags_in_two_spellings_may_be_one_person(a, b, expected):
    strangers = [tagged(f"case {n}", f"8{n}1") for n in "xyz"]
    found = same(tagged("case a", a), tagged("case b", b), *strangers)
    assert found == ({} if expected is None else {"case a": [f"{expected}case b"], "case b": [f"{expected}case a"]})


@pytest.mark.parametrize(
    ("a", "b", "may_be"),
    [
        ("12-345", "12345", True),
        ("007", "7", True),
        ("12345^^^HOSP&1.2&ISO", "12345", True),
        ("P-1.02", "P1 2", False),
        ("P-1.02", "p_1_2", True),
        ("P01", "P1", True),
        ("1-11", "11-1", False),
        ("100", "10", False),
        ("P1", "Q1", False),
    ],
)
def test_one_number_in_two_spellings_may_be_one_person(a, b, may_be):
    assert same(tagged(a, a), tagged(b, b), tagged("X", "X")) == (
        {a: [f"perhaps {b}"], b: [f"perhaps {a}"]} if may_be else {}
    )


@pytest.mark.parametrize(
    "values",
    [
        {"name": "ANONYMOUS", "born": "19500203"},
        {"name": "", "born": "19500203"},
        {"name": "Doe", "born": ""},
        {"name": "Doe", "born": "19000101"},
    ],
    ids=["dummy name", "no name", "one word", "one word, dummy date"],
)
def test_what_is_left_of_removed_tags_joins_nobody(values):
    assert same(tagged("A", "A", **values), tagged("B", "B", **values)) == {}


def test_a_value_of_everybody_or_of_many_joins_nobody():
    everybody = [tagged(f"P{n}", "XYZ", "Hospital^Test", "19500203", "F") for n in range(3)]
    assert same(*everybody) == {}
    many = [tagged(f"P{n}", "XYZ", "Kept^Name", "19500203", "F") for n in range(4)]
    assert same(*many, tagged("Q", "Q", "Doe^Jane", "19610203")) == {}


def named(**files):
    return [Tagged(patient, patient, (), name) for patient, names in files.items() for name in names.split()]


def test_files_of_folders_named_after_another_patient():
    items = named(p001="p002_t1 p001_t2", p002="x/t1_P001", p01="p01_1_t1", p01_1="p01_t1", p3="p3_like_p001")
    assert told(*items) == [
        ("D047", "p001", "p002"), ("D047", "p002", "p001"), ("D047", "p01", "p01_1"), ("D047", "p01_1", "p01"),
    ]  # fmt: skip


def test_files_named_after_numbered_patients():
    swapped = [Tagged(folder, folder, (), f"{name}_t1") for folder, name in (("7", "8"), ("8", "7"), ("9", "9"))]
    assert told(*swapped) == [("D047", "7", "8"), ("D047", "8", "7")]
    series = [Tagged(p, p, (), f"{n}_scan") for p in ("1", "2", "3") for n in "123"]
    assert told(*series) == []


JANE = {"name": "Mueller^Jane Ann", "born": "19500203", "sex": "F"}


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({"name": "Müller^Jane"}, "perhaps B"),
        ({"name": "JANE^MULLER", "born": "", "sex": "F"}, "perhaps B"),
        ({**JANE, "born": "19500213"}, "perhaps B"),
        ({**JANE, "born": "19500302"}, "perhaps B"),
        ({**JANE, "born": "19050203", "sex": ""}, "perhaps B"),
        ({**JANE, "name": "Miller^Jane"}, "perhaps B"),
        ({**JANE, "name": "M\ufffdller^Jane"}, "perhaps B"),
        ({**JANE, "name": "Mueller-Schmidt^J."}, "perhaps B"),
        ({**JANE, "name": "Jane^Ann^Müller"}, "B"),
        ({**JANE, "born": "1950-02-03"}, "B"),
        ({**JANE, "born": "19610413"}, None),
        ({**JANE, "born": "19500213", "sex": "M"}, None),
        ({**JANE, "name": "Miller^Jane", "sex": "M"}, None),
        ({**JANE, "name": "Miller^Joan"}, None),
        ({**JANE, "name": "ANONYMOUS"}, None),
        ({**JANE, "name": "^^^"}, None),
        ({"name": "Mueller"}, None),
    ],
    ids=str,
)
def test_people_who_may_be_one(other, expected):
    others = [tagged(f"C{n}", f"C{n}", f"Other{n}^Given{n}", f"194{n}0101") for n in range(9)]
    told = same(tagged("A", "A", **JANE), tagged("B", "B", **other), *others)
    assert told == ({} if expected is None else {"A": [expected], "B": [expected.replace("B", "A")]})


@pytest.mark.parametrize("name", ["ANONYMOUS", "Anon^Patient", "Glioma^Case^{}", "Site^{}", "Doe^Jane", ""])
def test_names_of_a_template_join_nobody(name):
    items = [tagged(f"P{n}", f"P{n}", name.format(n), f"19{50 + n % 3}0101") for n in range(12)]
    assert same(*items) == {}
