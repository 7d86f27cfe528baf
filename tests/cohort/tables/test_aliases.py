import csv
from pathlib import Path

import pytest

from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.tables.aliases import (
    NOT_IN_MAPPING,
    Aliases,
    CohortRow,
    cohort_rows,
    in_brats_2021,
    is_public,
    normalised,
    read_aliases,
    untraceable,
    with_own_table,
)

TABLES = Path(__file__).parents[3] / "../shared/data/tables"
MAPPING = TABLES / "BraTS21-17_Mapping.csv"
LABELS = TABLES / "train_labels.csv"
needs_tables = pytest.mark.skipif(not MAPPING.is_file(), reason="the real tables are not beside this checkout")

# As the real file: a no-break space after the last name, N/A for none, years spelled in two ways, cases without 2021.
BRATS = """BraTS2021,BraTS2020,BraTS2018,Cohort Name (if publicly available),Site No (represents the originating institution),Local ID\u00a0
BraTS2021_00001,BraTS20_Training_001,Brats18_TCIA01_1_1,TCGA-GBM,5,TCGA-02-0001
BraTS2021_00002,N/A,N/A,Private Collection,1,N/A
BraTS2021_00003,,N/A,TCGA-GBM ,6,TCGA-02-0003
N/A,BraTS20_Training_354,N/A,IvyGAP,16,W43
BraTS2021_00004,N/A,N/A,priorToBraTS2017,3,brats_2013_pat0001_1_HGG
"""  # noqa: E501

TCIA = """Data Collection (as on TCIA+additional),Site ID,PatientID on TCIA Radiology Portal,BraTS2021 ID,MGMT value
UPENN-GBM,1.0,UPENN-GBM-00011_11,BraTS2021_00002,1
UCSF-PDGM,18,57,BraTS2021_00006,0
UPENN-GBM_Additional,1,new-not-previously-in-TCIA,BraTS2021_00007,
TCGA-GBM,5,TCGA-08-0008,00008,1
"""

UCSF = """ID,Sex,BraTS21 ID
UCSF-PDGM-057,F,BraTS2021_00006
UCSF-PDGM-0429_FU003d,M,BraTS2021_00557
UCSF-PDGM-429,M,BraTS2021_00639
UCSF-PDGM-100,M,
"""


@pytest.fixture
def write(tmp_path):
    def write(text: str, name: str = "table.csv") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("00495", "BraTS2021_00495"),
        ("BRATS2021_00495", " brats2021_00495\u00a0"),
        ("UPENN-GBM-00001", "UPENN-GBM-00001_11"),
        ("UPENN-GBM-00001_11", "UPENN-GBM-00001_21"),
        ("BraTS-GLI-00495-000", "BraTS-GLI-00495-001"),
        ("UCSF-PDGM-004", "UCSF-PDGM-0004_nifti"),
        ("UCSF-PDGM-0429", "UCSF-PDGM-0429_FU003d"),
        ("Brats18_TCIA01_1_1", "BraTS18_TCIA01_1_1"),
    ],
)
def test_two_spellings_of_one_name_meet(one, other):
    assert normalised(one) == normalised(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("00495", "00496"),
        ("495", "00495"),
        ("BraTS-GLI-00495-000", "BraTS2021_00495"),
        ("UPENN-GBM-00001_11", "UPENN-GBM-00011_11"),
        ("UCSF-PDGM-0040", "UCSF-PDGM-0004"),
        ("hospital-00001_11", "hospital-00001_21"),
    ],
)
def test_two_names_stay_apart(one, other):
    assert normalised(one) != normalised(other)


def test_brats_mapping_knows_person_by_every_name(write):
    aliases = read_aliases(write(BRATS))
    for name in ("00001", "BraTS2021_00001", "BraTS20_Training_001", "brats18_tcia01_1_1", "TCGA-02-0001"):
        assert aliases.person(name) == "BraTS2021_00001"
    assert aliases.names("00001") == (
        "BraTS2021_00001",
        "BraTS20_Training_001",
        "Brats18_TCIA01_1_1",
        "TCGA-02-0001",
    )
    assert (aliases.cohort("00001"), aliases.site("TCGA-02-0001")) == ("TCGA-GBM", "5")


def test_brats_mapping_case_of_an_older_year_only(write):
    aliases = read_aliases(write(BRATS))
    assert aliases.names("W43") == ("BraTS20_Training_354", "W43")


@pytest.mark.parametrize("name", ["N/A", "", "00009", "TCGA-02-0009"])
def test_unknown_name_is_nobody(write, name):
    aliases = read_aliases(write(BRATS))
    assert aliases.person(name) is None
    assert aliases.names(name) == ()
    assert aliases.cohort(name) is None and aliases.site(name) is None


def test_mapping_of_2023_makes_gli_names_meet(write):
    text = (
        "BraTS2023,BraTS2021,Cohort Name (if publicly available),Site No (represents the originating institution),"
        "Local ID\nBraTS-GLI-00010-000,BraTS2021_00020,Private Collection,1,\n"
    )
    aliases = read_aliases(write(text))
    assert aliases.person("BraTS-GLI-00010-001") == aliases.person("00020") == "BraTS-GLI-00010-000"


def test_tcia_mapping_names_collection_and_patient(write):
    aliases = read_aliases(write(TCIA))
    assert aliases.names("UPENN-GBM-00011") == ("BraTS2021_00002", "UPENN-GBM-00011_11")
    assert (aliases.cohort("00002"), aliases.site("00002")) == ("UPENN-GBM", "1")
    assert aliases.person("UCSF-PDGM-0057") == "BraTS2021_00006"
    assert aliases.person("TCGA-08-0008") == aliases.person("BraTS2021_00008")
    assert aliases.names("00007") == ("BraTS2021_00007",)


def test_ucsf_table_joins_follow_up_and_baseline(write):
    aliases = read_aliases(write(UCSF))
    assert aliases.person("BraTS2021_00557") == aliases.person("BraTS2021_00639")
    assert aliases.person("UCSF-PDGM-0057") == aliases.person("00006")
    assert aliases.cohort("UCSF-PDGM-0100") == "UCSF-PDGM"


def test_own_table_with_several_rows_a_patient(write):
    aliases = read_aliases(write("alias,note,patient_id\nW43,x,mine 7\nTCGA-02-0001,,mine 7\n"))
    assert aliases.names("W43") == ("mine 7", "W43", "TCGA-02-0001")
    assert aliases.cohort("mine 7") is None


@pytest.mark.parametrize("word", ["unknown", "N/A", "nan", "Not Available", "new-not-previously-in-TCIA"])
def test_two_patients_without_an_alias_are_two_persons(write, word):
    aliases = read_aliases(write(f"patient_id,alias\na,{word}\nb,{word}\n"))
    assert (aliases.person("a"), aliases.person("b"), aliases.person(word)) == ("a", "b", None)


def test_tables_together_say_more_and_public_cohort_comes_first(write):
    aliases = read_aliases(
        write(BRATS, "a.csv"), write(TCIA, "b.csv"), write("patient_id,alias\nBraTS-GLI-00077-000,00002\n", "c.csv")
    )
    assert aliases.person("BraTS-GLI-00077-000") == aliases.person("UPENN-GBM-00011_11") == "BraTS2021_00002"
    assert aliases.cohort("00002") == "UPENN-GBM"
    assert aliases.site("00002") == "1"


def test_row_that_joins_two_persons_known_before():
    rows = [(("a", "b"), "X", "1"), (("c", "d"), "", "2"), (("e", "d", "b"), "", "")]
    aliases = Aliases(rows)
    assert {aliases.person(name) for name in "abcde"} == {aliases.person("a")}
    assert sorted(aliases.names("e")) == ["a", "b", "c", "d", "e"]
    assert aliases.cohort("c") == "X"


@pytest.mark.parametrize(
    "spelling", ["IvyGAP", "ivy gap", "Ivy-GAP", "IVY_GAP (Atlas)"], ids=["same", "spaced", "hyphen", "brackets"]
)
def test_spellings_of_a_cohort_are_one(spelling):
    assert Aliases([(("a",), "IvyGAP", ""), (("b",), spelling, "")]).cohort("b") == "IvyGAP"


def test_name_of_two_cohorts_in_one_table_is_nobodys(write, caplog):
    text = BRATS + "BraTS2021_00010,N/A,N/A,CPTAC-GBM,20,W43\nBraTS2021_00011,N/A,N/A,IvyGAP,16,W44\n"
    aliases = read_aliases(write(text))
    assert aliases.person("W43") is None
    assert aliases.person("00010") == "BraTS2021_00010"
    assert aliases.person("W44") == "BraTS2021_00011"
    assert "several cohorts have them: w43" in caplog.text


def test_local_name_twice_in_one_cohort_is_one_person(write):
    aliases = read_aliases(write(BRATS + "BraTS2021_00010,N/A,N/A,TCGA-GBM,5,TCGA-02-0001\n"))
    assert aliases.person("00010") == aliases.person("00001") != aliases.person("00002")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("a,b\n1,2\n", "expected the columns BraTS2021,.* found a,b", id="no kind"),
        pytest.param("", "expected the columns BraTS2021,.* found an empty file", id="empty"),
        pytest.param("BraTS2021,BraTS2020\nx,y\n", "Local ID, found BraTS2021,BraTS2020", id="half BraTS"),
        pytest.param("Data Collection,x\na,y\n", "expected the columns BraTS2021 ID,Data", id="half TCIA"),
        pytest.param("patient_id,alias\n", "expected at least one name, found none", id="no row"),
        pytest.param("patient_id,alias\na,\n", "one without the other for a", id="no alias"),
    ],
)
def test_table_of_no_known_kind_refused_in_one_line(write, text, message):
    path = write(text)
    with pytest.raises(CohortError, match=message) as caught:
        read_aliases(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_absent_table_refused(tmp_path):
    with pytest.raises(CohortError, match=r"absent\.csv: no such table of names"):
        read_aliases(tmp_path / "absent.csv")


def test_untraceable_are_those_without_a_public_name(write):
    aliases = read_aliases(write(BRATS))
    assert untraceable(["00001", "00002", "00003", "00004", "00009"], aliases) == ["00002", "00004", "00009"]


@pytest.mark.parametrize(
    ("cohort", "expected"),
    [
        ("TCGA-GBM", True),
        ("ACRIN-FMISO-Brain (ACRIN 6684)", True),
        ("Private Collection", False),
        ("priorToBraTS2017", False),
        ("Collection 12", False),
        ("UPENN-GBM_Additional", False),
        (None, False),
    ],
)
def test_public_cohorts(cohort, expected):
    assert is_public(cohort) is expected


def test_cohort_rows_by_hand(write):
    aliases = read_aliases(write(BRATS))
    labels = {"00001": 1, "00002": 1, "00003": 0, "00004": 0, "00009": 1}
    assert cohort_rows(aliases, labels) == [
        CohortRow("TCGA-GBM", True, 2, 1, ("5", "6")),
        CohortRow("Private Collection", False, 1, 1, ("1",)),
        CohortRow(NOT_IN_MAPPING, False, 1, 1, ()),
        CohortRow("priorToBraTS2017", False, 1, 0, ("3",)),
    ]


@needs_tables
def test_cohort_rows_of_rsna_miccai_as_pandas_counts_them():
    pandas = pytest.importorskip("pandas")
    mapping = pandas.read_csv(MAPPING, dtype=str, keep_default_na=False)
    ids = pandas.read_csv(LABELS, dtype=str)["BraTS21ID"]
    merged = pandas.DataFrame({"BraTS2021": "BraTS2021_" + ids}).merge(mapping, how="left")
    counted = merged["Cohort Name (if publicly available)"].fillna(NOT_IN_MAPPING).value_counts().to_dict()
    assert sum(counted.values()) == 585
    rows = cohort_rows(read_aliases(MAPPING), dict.fromkeys(ids, 0))
    assert {row.cohort: row.patients for row in rows} == counted


@needs_tables
def test_real_mapping_gives_every_row_its_own_person():
    with MAPPING.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))[1:]
    aliases = read_aliases(MAPPING)
    people = []
    for row in rows:
        given = [cell for cell in (*row[:5], row[7]) if cell != "N/A"]
        assert aliases.names(given[0]) == tuple(given)
        people.append(aliases.person(given[-1]))
    assert len(set(people)) == len(rows) == 1255


@needs_tables
def test_docs_print_the_table_of_cohorts_as_it_is():
    with LABELS.open(encoding="utf-8", newline="") as stream:
        labels = {row["BraTS21ID"]: int(row["MGMT_value"]) for row in csv.DictReader(stream)}
    page = (Path(__file__).parents[3] / "docs/explanation/public-cohorts.md").read_text(encoding="utf-8")
    lines = page.split("|---|---|---|---|---|\n")[1].splitlines()
    for line, row in zip(lines, cohort_rows(read_aliases(MAPPING), labels), strict=False):
        public = "yes" if row.public else "no"
        cells = [row.cohort, public, str(row.patients), str(row.methylated), ", ".join(row.sites)]
        assert [cell.strip() for cell in line.split("|")[1:-1]] == cells
    assert lines[5] == f"| all | | {len(labels)} | {sum(labels.values())} | |"


def test_own_table_tells_who_is_in_brats_2021(tmp_path):
    table = tmp_path / "UCSF-PDGM-metadata_v5.csv"
    table.write_text(
        "ID,MGMT status,BraTS21 ID\nUCSF-PDGM-004,negative,BraTS2021_00097\nUCSF-PDGM-005,positive,\n"
        "UCSF-PDGM-433_FU007d,positive,BraTS2021_00099\n"
    )
    patients = ["UCSF-PDGM-0004", "UCSF-PDGM-0005", "UCSF-PDGM-0433", "00097"]
    aliases = with_own_table(None, table)
    assert in_brats_2021(patients, aliases) == ["UCSF-PDGM-0004", "UCSF-PDGM-0433"]
    assert in_brats_2021(patients, None) == []
    # with a table that was named
    both = with_own_table(Aliases([(("UCSF-PDGM-0005", "BraTS2021_00001"), "UCSF-PDGM", "")]), table)
    assert in_brats_2021(patients, both) == ["UCSF-PDGM-0004", "UCSF-PDGM-0005", "UCSF-PDGM-0433"]


def test_own_table_without_such_columns_adds_nothing(tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text("patient_id,label\na,1\n")
    assert with_own_table(None, table) is None
    assert with_own_table(None, tmp_path / "absent.csv") is None


def test_names_are_compared_in_one_unicode_form():
    assert normalised("Mu\u0308ller") == normalised("M\u00fcller")
