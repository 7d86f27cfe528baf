import pytest

from mgmt_monai.cohort.files.person import contradict, people_of, same_name


def person(name="", number="", born="", sex=""):
    return people_of([{"PatientName": name, "PatientID": number, "PatientBirthDate": born, "PatientSex": sex}])[0]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Müller^Anna", "MUELLER^ANNA"),
        ("Müller^Anna", "Muller^Anna"),
        ("Doe^Jane", "jane doe"),
        ("DOE, JANE", "Doe^Jane^^Dr"),
        ("García-López^José", "GARCIA LOPEZ^JOSE"),
        ("O'Brien^Pat", "OBRIEN^PAT"),
        ("Łukasz^Żółć", "LUKASZ^ZOLC"),
        ("Doe^Jane^Mary", "Doe^Jane"),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "YAMADA^TAROU"),
    ],
)
def test_spellings_of_one_name(one, other):
    assert same_name(person(one), person(other)) is True


@pytest.mark.parametrize(
    ("one", "other"),
    [("Doe^Jane", "Doe^Joan"), ("Doe^Jane", "Roe^Jane"), ("Smith", "Smith^Ann"), ("山田^太郎", "山田^花子")],
)
def test_other_names(one, other):
    assert same_name(person(one), person(other)) is False


@pytest.mark.parametrize(
    "name",
    [
        "",
        "^",
        "ANONYMOUS",
        "Anonymized^Patient",
        "anon 0012",
        "UNKNOWN",
        "no name",
        "N/A",
        "XXXX",
        "DeIdentified",
        "P-17",
    ],
)
def test_name_that_names_nobody(name):
    assert person(name, number="p-17").names == ()
    assert same_name(person(name, number="p-17"), person("Doe^Jane")) is None


def test_other_script_tells_nothing():
    assert same_name(person("Zhang^San"), person("张^三")) is None


@pytest.mark.parametrize("born", ["", "0000", "00010101", "19000101", "18500101", "19701301", "196"])
def test_date_that_is_no_birth_date(born):
    assert person(born=born).birth_date == ""


def test_contradictions():
    assert contradict(person("A^B", born="19500203", sex="F"), person("C^D", born="19500204", sex="M")) == [
        "names", "birth dates", "sexes",
    ]  # fmt: skip
    assert contradict(person("A^B", born="19500203", sex="F"), person("ANON", sex="O")) == []


def test_people_of_a_series_told_once_and_without_their_text():
    headers = [{"PatientID": "4711", "PatientName": "Doe^Jane"}] * 3 + [{"PatientID": "4711"}]
    people = people_of(headers)
    assert len(people) == 2
    assert not any(text in repr(people) for text in ("Doe", "doe", "Jane", "jane", "4711"))
