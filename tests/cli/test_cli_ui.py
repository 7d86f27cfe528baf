"""The MLflow UI on a real store, looked at with a real browser."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from urllib.request import urlopen

import pytest

from mgmt_monai.cli.main import main
from mgmt_monai.tracking import TrackedRun, tracking_uri

pytestmark = pytest.mark.xdist_group("training")


@pytest.fixture
def ui(finished_run, tmp_path):
    """The address of ``mgmt-monai ui`` on the finished run's store."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [sys.executable, "-c", "import sys; from mgmt_monai.cli.main import main; sys.exit(main())",
             "ui", "--output-dir", str(finished_run.parents[1]), "--port", str(port)]  # fmt: skip
    log = (tmp_path / "ui.log").open("w")
    process = subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(120):
            try:
                urlopen(address, timeout=5).close()
                break
            except OSError:
                assert process.poll() is None, (tmp_path / "ui.log").read_text()
                time.sleep(0.5)
        else:
            pytest.fail((tmp_path / "ui.log").read_text())
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)


@pytest.mark.slow
def test_run_its_curves_and_its_pictures_are_in_the_browser(ui, finished_run, browser):
    from playwright.sync_api import expect

    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    page.set_default_timeout(60_000)
    expect.set_options(timeout=60_000)
    page.goto(f"{ui}/#/experiments/1/runs?viewStateShareKey=mgmt-monai")
    run = page.get_by_role("link", name=finished_run.name)
    expect(run).to_be_visible()
    expect(
        page.get_by_role("columnheader", name="test_AUC", exact=True).first
    ).to_be_visible()  # beside the charts' own
    address = f"{ui}/{run.get_attribute('href')}"
    page.goto(f"{address}/model-metrics")
    page.get_by_role("textbox").first.fill("validation/patient_auc")
    expect(page.get_by_text("patient_auc").first).to_be_visible()
    expect(page.locator("svg.main-svg").first).to_be_visible()
    page.goto(f"{address}/artifacts")
    page.get_by_text("figures").first.click()
    for name in ("roc.png", "learning_curves.png", "prediction_distribution.png"):
        page.get_by_text(name).first.click()
        expect(page.get_by_text(f"figures/{name}").first).to_be_visible()
        picture = page.locator("img[src^='blob:']").first
        expect(picture).to_be_visible()
        assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") == 960  # 8 in, 120 dpi


def test_folder_without_runs_is_refused_in_one_line(tmp_path, capsys):
    assert main(["ui", "--output-dir", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("Error: ") and "no recorded runs" in error and error.count("\n") == 1


def test_server_named_in_the_environment_is_pointed_at(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5555")
    assert main(["ui", "--output-dir", str(tmp_path)]) == 0
    assert "http://127.0.0.1:5555" in capsys.readouterr().out


def test_port_that_is_taken_is_told_in_one_line(tmp_path, capsys):
    (tmp_path / "mlruns.db").touch()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["ui", "--output-dir", str(tmp_path), "--port", str(port)]) == 1
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1
    assert f"port {port} cannot be had (Address already in use)" in printed.err


@pytest.mark.slow
def test_sigterm_ends_all_that_it_started(made_store, tmp_path):
    shutil.copy(made_store, tmp_path / "mlruns.db")
    TrackedRun(tracking_uri(tmp_path), tmp_path, "mgmt", "a").start()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [sys.executable, "-m", "mgmt_monai.cli.main", "ui", "--output-dir", str(tmp_path), "--port", str(port)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    while "Open http" not in process.stdout.readline():
        assert process.poll() is None
    link, view = process.stdout.readline(), "workflowType=machine_learning&viewStateShareKey=mgmt-monai"
    assert link == f"  http://127.0.0.1:{port}/#/experiments/1/runs?{view} (mgmt)\n"
    mine = subprocess.run(["ps", "-ewwo", "args"], capture_output=True, text=True, check=True).stdout
    assert f"--port {port}" in mine
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143
    left = subprocess.run(["ps", "-ewwo", "args"], capture_output=True, text=True, check=True).stdout
    assert f"--port {port}" not in left
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
