"""Real SQLite stores of MLflow: made by several processes, killed half way, of an older MLflow, damaged."""

import errno
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from faulty_storage import faulty, needs_compiler
from mlflow.tracking import MlflowClient
from sqlalchemy import make_url

from mgmt_monai.tracking.errors import TrackingError
from mgmt_monai.tracking.mlflow_store import open_store, tracking_uri
from mgmt_monai.tracking.store_file import file_of, make_store, store_uri

NAMES = [
    *("two words", "study#2", "what?", "site@b", "R&D", "a,b", "x+y", "[new]", "Mu\u0308ller", "日本"),
    *("two\nlines", "$HOME", "~tilde", "%percent", "a:b;c", "50% of", "a'b\"c", "back\\slash", "?a=b&c=d"),
]

#: Makes the store and records a run in it.
RECORD = """
import sys
from mgmt_monai.tracking import TrackedRun, tracking_uri
run = TrackedRun(tracking_uri(sys.argv[1]), sys.argv[1], "mgmt", sys.argv[2])
run.start()
run.finish("FINISHED")
sys.exit(bool(run.not_recorded))
"""


def record(folder: Path, name: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", RECORD, str(folder), name]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def recorded(folder: Path) -> list[str]:
    with closing(sqlite3.connect(folder / "mlruns.db")) as store:
        return sorted(name for (name,) in store.execute("SELECT name FROM runs WHERE status = 'FINISHED'"))


@pytest.fixture
def whole(made_store: Path) -> Path:
    return made_store


def copied(whole: Path, folder: Path, *statements: str) -> Path:
    path = Path(shutil.copy(whole, folder / "mlruns.db"))
    with closing(sqlite3.connect(path)) as store:
        for statement in statements:
            store.execute(statement)
        store.commit()
    return path


@pytest.mark.parametrize("name", NAMES)
def test_address_of_any_name_is_that_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    uri = tracking_uri(tmp_path / name)
    assert make_url(uri).database == str(tmp_path / name / "mlruns.db")
    assert file_of(uri) == tmp_path / name / "mlruns.db"


@pytest.mark.parametrize("uri", ["http://a.example/sqlite:///b", "postgresql://u:p@h/d", "sqlite://", "sqlitefolder"])
def test_other_stores_have_no_file(uri: str) -> None:
    assert file_of(uri) is None


@pytest.mark.parametrize("store", ["", "sqlite:////elsewhere/mlruns.db"])
@pytest.mark.parametrize(("name", "read"), [("dose 50%20x", "dose 50 x"), ("100%25", "100%"), ("b%41", "bA")])
def test_name_that_mlflow_reads_as_another_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: str, name: str, read: str
) -> None:
    """The models of a SQLite store are in the folder, wherever the store is; a server has them elsewhere."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    with pytest.raises(TrackingError, match=rf"look for them in {tmp_path / read}\. Take an --output_dir whose name"):
        tracking_uri(str(tmp_path / name))
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://a.example")
    assert tracking_uri(str(tmp_path / name)) == "http://a.example"


@pytest.mark.slow
def test_mlflow_itself_finds_no_model_in_a_folder_of_such_a_name(tmp_path: Path) -> None:
    """The reason for the refusal: once this passes no longer, the refusal may go."""
    import mlflow

    for name, found in (("50%", True), ("b%41", False)):
        model = tmp_path / name / "model"
        mlflow.pyfunc.save_model(model, python_model=lambda model_input: model_input, pip_requirements=[])
        try:
            mlflow.pyfunc.load_model(str(model))
            assert found
        except mlflow.MlflowException as error:
            assert not found, error


def test_store_is_whole_alone_in_its_folder_and_has_the_rights_that_the_umask_gives(whole: Path) -> None:
    assert {path.name for path in whole.parent.iterdir()} - {".mlruns.db.lock"} == {"mlruns.db"}
    assert [path.name for path in whole.parents[1].iterdir()] == ["runs"]
    assert stat.S_IMODE(whole.stat().st_mode) == 0o664
    assert [one.name for one in MlflowClient(store_uri(whole)).search_experiments()] == ["Default"]


def test_whole_store_is_left_as_it_is(whole: Path, tmp_path: Path) -> None:
    path = copied(whole, tmp_path)
    before = path.stat()
    make_store(path)
    assert path.stat() == before and [one.name for one in tmp_path.iterdir()] == ["mlruns.db"]


@pytest.mark.parametrize(
    "statements",
    [
        ("DROP TABLE runs", "DELETE FROM alembic_version"),
        pytest.param(("DROP TABLE alembic_version",), marks=pytest.mark.slow),
        pytest.param(("DELETE FROM experiments", "UPDATE alembic_version SET version_num = '89d4b8295536'"),
                     marks=pytest.mark.slow),
    ],
    ids=["first tables", "before its version", "half way"],
)  # fmt: skip
def test_half_made_store_with_nothing_in_it_is_mended(statements: tuple[str, ...], whole: Path, tmp_path: Path) -> None:
    path = copied(whole, tmp_path, *statements)
    (tmp_path / f".mlruns.db.{'0' * 32}").touch()
    (tmp_path / f".mlruns.db.{'0' * 32}-journal").touch()
    client = open_store(store_uri(path))
    client.create_run(client.create_experiment("mgmt"), run_name="a")
    assert {one.name for one in tmp_path.iterdir()} - {".mlruns.db.lock"} == {"mlruns.db"}


def test_damaged_store_is_told_in_one_line_and_kept(tmp_path: Path) -> None:
    (tmp_path / "mlruns.db").write_bytes(b"not a database" * 100)
    with pytest.raises(TrackingError, match=r"mlruns\.db: expected MLflow's store, found a damaged file .* Move it"):
        make_store(tmp_path / "mlruns.db")
    assert (tmp_path / "mlruns.db").read_bytes() == b"not a database" * 100


@pytest.mark.slow
def test_store_of_a_newer_mlflow_is_told_in_one_line_and_kept(whole: Path, tmp_path: Path) -> None:
    run = "INSERT INTO runs (run_uuid, name, experiment_id) VALUES ('a', 'kept', 0)"
    path = copied(whole, tmp_path, "UPDATE alembic_version SET version_num = 'fedcba987654'", run)
    before = path.read_bytes()
    with pytest.raises(TrackingError, match=r"one of another version .*fedcba987654.* Install the MLflow"):
        make_store(path)
    assert path.read_bytes() == before


@pytest.mark.slow
def test_store_of_an_older_mlflow_is_brought_up_to_date_with_its_runs(tmp_path: Path) -> None:
    import mlflow
    import sqlalchemy
    from alembic import command
    from alembic.config import Config
    from mlflow.store.tracking.dbmodels.initial_models import Base

    path = tmp_path / "mlruns.db"
    engine = sqlalchemy.create_engine(store_uri(path))
    Base.metadata.create_all(engine)
    migrations = Path(mlflow.__file__).parent / "store" / "db_migrations"
    config = Config(migrations / "alembic.ini")
    config.set_main_option("script_location", str(migrations))
    config.set_main_option("sqlalchemy.url", store_uri(path))
    command.upgrade(config, "728d730b5ebd")  # of MLflow 1.0
    with closing(sqlite3.connect(path)) as store:
        store.execute("INSERT INTO experiments (experiment_id, name, lifecycle_stage) VALUES (0, 'Default', 'active')")
        store.execute(
            "INSERT INTO runs (run_uuid, name, experiment_id, lifecycle_stage, status, source_type, user_id, "
            "start_time, artifact_uri) VALUES ('a', 'old', 0, 'active', 'FINISHED', 'LOCAL', 'doe', 0, 'there')"
        )
        store.commit()
    old = path.read_bytes()
    client = open_store(store_uri(path))
    assert client.get_run("a").info.status == "FINISHED"
    assert (tmp_path / "mlruns.db.before-upgrade").read_bytes() == old


@pytest.mark.slow
@pytest.mark.parametrize("n", [2, 6])
def test_runs_that_begin_at_the_same_moment_on_a_new_store_are_all_recorded(n: int, tmp_path: Path) -> None:
    processes = [record(tmp_path / "runs", str(i)) for i in range(n)]
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * n, outputs
    assert recorded(tmp_path / "runs") == [str(i) for i in range(n)]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_store_whose_maker_is_ended_at_any_moment_is_made_by_the_next(number: int, tmp_path: Path) -> None:
    for i in range(4):  # a moment each, spread over the making
        folder = tmp_path / str(i)
        ended = record(folder, "ended")
        while not list(folder.glob(".mlruns.db.*")) and ended.poll() is None:
            time.sleep(0.01)
        time.sleep(0.5 * i)
        ended.send_signal(number)
        ended.communicate()
        after = record(folder, "after")
        output, _ = after.communicate()
        assert after.returncode == 0, output
        assert "after" in recorded(folder)
        assert not [one for one in folder.iterdir() if one.name.endswith("-journal")]


#: Two transactions; SQLite waits for the disk at the end of each.
TRANSACTIONS = """
import sys
from pathlib import Path
from sqlalchemy import create_engine, text
from mgmt_monai.tracking.store_file import check_storage, store_uri
path = Path(sys.argv[1])
check_storage(path)
for step in ("CREATE TABLE a (b)", "INSERT INTO a VALUES (7)"):
    with create_engine(store_uri(path)).begin() as connection:
        connection.execute(text(step))
"""


@needs_compiler
@pytest.mark.parametrize("number", [errno.EINVAL, errno.EOPNOTSUPP])
def test_store_on_storage_without_fsync_is_written(number: int, tmp_path: Path) -> None:
    path = tmp_path / "mlruns.db"
    environment = faulty("fsync", number, str(tmp_path))
    subprocess.run([sys.executable, "-c", TRANSACTIONS, str(path)], check=True, env=environment)
    with closing(sqlite3.connect(path)) as store:
        assert store.execute("SELECT b FROM a").fetchall() == [(7,)]


@needs_compiler
def test_storage_without_locks_is_refused_at_once_with_a_remedy(tmp_path: Path) -> None:
    environment = faulty("lock", errno.ENOLCK, str(tmp_path))
    words = [sys.executable, "-c", TRANSACTIONS, str(tmp_path / "mlruns.db")]
    ran = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    assert "found one without (No locks available). Set MLFLOW_TRACKING_URI to a server" in ran.stderr
    assert list(tmp_path.iterdir()) == []
