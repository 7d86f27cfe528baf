"""What docs/how-to/cluster.md shows runs: `bash` with Slurm's variables for Slurm, namespaces for a container."""

from __future__ import annotations

import csv
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from built_package import ROOT, build_package, outside, required
from isolated_venv import make_venv
from made_cohorts import write_cohort
from phantom_runs import SMALL

FILES = ROOT / "docs/how-to/cluster"
PAGE = (ROOT / "docs/how-to/cluster.md").read_text()
TINY = {**SMALL, "image_size": 32, "transfer_epochs": 1, "fine_tune_epochs": 1}
OPTIONS = [word for key, value in TINY.items() for word in (f"--{key}", str(value))]

#: Queues a script as Slurm does: the options on its command line, then the script; each task of an array in its turn.
SBATCH = """#!/bin/bash
echo "$@" >>"$QUEUE"
id=$(wc -l <"$QUEUE") tasks=()
while [[ $1 == --* ]]; do
    [[ $1 == --array=* ]] && tasks=($(seq ${1#--array=0-} | awk '{print $1 - 1}') ${1#--array=0-})
    shift
done
echo "$id"
if [ ${#tasks[@]} = 0 ]; then exec bash "$@" >&2; fi
for task in "${tasks[@]}"; do SLURM_ARRAY_TASK_ID=$task SLURM_CPUS_PER_TASK=1 bash "$@" >&2 || exit 1; done
"""

#: A root of its own: $BOUND as it is, $VOLUMES elsewhere, an empty /tmp, all else read-only; then a user of no name.
CONTAINER = """
set -e
mount -t tmpfs -o mode=755 none "$ROOT"
for path in /usr /bin /lib /lib64 /etc /dev /proc /sys; do
    if [ -L $path ]; then cp -P $path "$ROOT/"; continue; fi
    [ ! -e $path ] || { mkdir "$ROOT$path"; mount --rbind $path "$ROOT$path"; }
done
mkdir "$ROOT/tmp"; mount -t tmpfs -o mode=1777 none "$ROOT/tmp"
for path in $BOUND; do mkdir -p "$ROOT$path"; mount --bind $path "$ROOT$path"; done
for pair in $VOLUMES; do mkdir -p "$ROOT${pair#*:}"; mount --bind "${pair%%:*}" "$ROOT${pair#*:}"; done
mount -o remount,ro "$ROOT"
exec chroot "$ROOT" setpriv --reuid 12345 --regid 12345 --clear-groups env -i "$@"
"""

needs_namespaces = pytest.mark.skipif(
    os.geteuid() != 0 or subprocess.run(["unshare", "-m", "-n", "true"], capture_output=True).returncode != 0,
    reason="needs root and namespaces, which stand for a container",
)


def test_page_shows_every_file_and_bash_reads_every_script() -> None:
    shown = re.findall(r"\{literalinclude\} cluster/(\S+)", PAGE)
    assert sorted(shown) == sorted(path.name for path in FILES.iterdir())
    for path in (*FILES.glob("*.sh"), *FILES.glob("*.sbatch")):
        subprocess.run(["bash", "-n", str(path)], check=True)


def shown_in(file: str, beginning: str) -> str:
    """The command in a file's comment that begins so."""
    text = (FILES / file).read_text().replace("\\\n#", "")
    (line,) = re.findall(rf"^#     ({beginning}.+)$", text, re.MULTILINE)
    return line


def array_of(tasks: str, tmp_path: Path, **environment: str) -> list[list[str]]:
    """Submit where every command does nothing but say so; the words of each, in the order of the jobs."""
    told, queue = tmp_path / "told", tmp_path / "queue"
    (tmp_path / "bin").mkdir()
    for name, text in (("sbatch", SBATCH), ("say", f'#!/bin/bash\necho "$@" >>{told}\n')):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(stat.S_IRWXU)
    words = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "QUEUE": str(queue), "MGMT": "say", **environment}
    subprocess.run(["bash", str(FILES / "submit.sh"), *tasks.split()], env={**os.environ, **words}, check=True)
    return [line.split() for line in told.read_text().splitlines()]


def test_array_trains_every_modality_on_every_fold_once(tmp_path: Path) -> None:
    out = tmp_path / "runs"
    (out / "t2w/fold1").mkdir(parents=True)
    (out / "t2w/fold2").mkdir()
    (out / "t2w/fold2/run.json").write_text('{\n  "status": "finished"\n}\n')
    build, split, *trained, report = array_of("--seed 3", tmp_path, DATA="my", OUT=str(out), FOLDS="3")
    assert build[:3] == ["manifest", "build", "my"]
    assert split == ["manifest", "split", f"{out}/manifest.json", "--folds", "3"]
    wanted = [(modality, str(fold)) for modality in ("t1w", "t1wce", "t2w", "flair") for fold in range(3)]
    wanted.remove(("t2w", "2"))
    assert [(words[1], words[words.index("--fold") + 1]) for words in trained] == wanted
    resumed = [tuple(words[1:2]) for words in trained if words[words.index("--resume") + 1] == "true"]
    assert resumed == [("t2w",)]
    assert all(words[-2:] == ["--seed", "3"] for words in trained)
    assert report[0] == "evaluate"
    queued = (tmp_path / "queue").read_text().splitlines()
    assert "--array=0-11" in queued[0]
    assert "--dependency=afterok:1" in queued[1]


@pytest.mark.parametrize("left", ["all", "no folds yet", "nothing"])
def test_submitted_again_it_goes_on_with_the_manifest_that_is_there(
    make_dicom: Callable[..., Path], tmp_path: Path, left: str
) -> None:
    data_dir, out = write_cohort(tmp_path / "my data", make_dicom, 12), tmp_path / "my runs"
    manifest = out / "manifest.json"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/sbatch").write_text("#!/bin/bash\necho 7\n")
    (tmp_path / "bin/sbatch").chmod(stat.S_IRWXU)
    told = {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "MGMT": f"{sys.executable} -m mgmt_monai.cli.main",
        "DATA": str(data_dir), "OUT": str(out), "FOLDS": "3",
    }  # fmt: skip
    submit = ["bash", str(FILES / "submit.sh")]
    subprocess.run(submit, env={**os.environ, **told}, check=True)
    first = manifest.read_bytes()
    if left == "no folds yet":
        words = ["manifest", "build", str(data_dir), "--out", str(manifest), "--overwrite"]
        subprocess.run([*told["MGMT"].split(), *words], check=True)
    elif left == "nothing":
        manifest.unlink()
    subprocess.run(submit, env={**os.environ, **told}, check=True)
    assert manifest.read_bytes() == first


@pytest.mark.slow
def test_job_array_ends_in_one_report_of_all_folds_and_modalities(phantom_dir: Path, tmp_path: Path) -> None:
    line = shown_in("submit.sh", "DATA=").replace("/shared/", "").replace("submit.sh", f"{FILES}/submit.sh")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/sbatch").write_text(SBATCH)
    (tmp_path / "bin/sbatch").chmod(stat.S_IRWXU)
    (tmp_path / "my_cohort").symlink_to(phantom_dir)
    split = {"test_fraction", "train_fraction"}  # the manifest's folds are, not these
    options = [word for key, value in TINY.items() if key not in split for word in (f"--{key}", str(value))]
    ran = subprocess.run(
        ["bash", "-c", f"{line} {shlex.join(options)}"],
        cwd=tmp_path,
        env={
            **os.environ,
            "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
            "QUEUE": str(tmp_path / "queue"),
            "MGMT": f"{sys.executable} -m mgmt_monai.cli.main",
            "FOLDS": "3",
            "MODALITIES": "t1w flair",
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    with (tmp_path / "runs/report/figures.csv").open(newline="") as stream:
        models = {row["model"] for row in csv.DictReader(stream)}
    assert {"T1w fine_tune", "FLAIR fine_tune"} <= models


@pytest.mark.slow
def test_wheels_are_gathered(tmp_path: Path) -> None:
    """From an index on the disk that has nothing but a PyTorch of no content; what else is required is left out."""
    source, index = tmp_path / "source", tmp_path / "index"
    build_package(tmp_path / "built")
    shutil.copytree(tmp_path / "built/source", source)
    shutil.copy(ROOT / "constraints.txt", source)
    version = re.search(r"^torch==(\S+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE)[1]
    empty = tmp_path / "torch"
    empty.mkdir()
    (empty / "setup.py").write_text(f"from setuptools import setup\nsetup(name='torch', version='{version}')\n")
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet"]
    subprocess.run([*pip, "--wheel-dir", str(index / "torch"), str(empty)], check=True)
    (wheel,) = (index / "torch").iterdir()
    (index / "torch/index.html").write_text(f'<a href="{wheel.name}">{wheel.name}</a>')
    told = outside(PYTHON=sys.executable, INDEX=index.as_uri(), PIP_NO_DEPS="1", PIP_NO_BUILD_ISOLATION="0")
    subprocess.run(["bash", str(FILES / "wheels.sh")], cwd=source, env=told, check=True)
    assert {path.name.split("-")[0] for path in (source / "wheels").iterdir()} == {"torch", "mgmt_monai"}


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the Dockerfile's RUN leaves: its command, run in an environment that has what the package requires."""
    folder = tmp_path_factory.mktemp("image")
    _, wheel = build_package(folder / "built")
    (install,) = re.findall(r"^RUN --mount\S+ (.+)$", (FILES / "Dockerfile").read_text(), re.MULTILINE)
    assert install in (FILES / "mgmt_monai.def").read_text()
    python = make_venv(folder / "venv", ["pip", *required(wheel)])
    words = [
        str(python) if word == "python" else word.replace("/wheels", str(wheel.parent)) for word in install.split()
    ]
    subprocess.run(words, check=True, env=outside())
    return folder / "venv"


def contained(image: Path, tmp_path: Path, words: list[str], volumes: list[str], environment: list[str]) -> str:
    """What a command prints in a container, as a user of no name, without a network."""
    library = Path(os.__file__).parents[2]
    bound = {
        image,
        library,
        Path(sys.prefix),
        *(path.resolve().parent for path in (image / "lib").rglob("*.dist-info")),
    }
    (tmp_path / "root").mkdir()
    inside = [*environment, f"PATH={image / 'bin'}:/usr/bin:/bin", "sh", "-c", f"cd /out && exec {shlex.join(words)}"]
    ran = subprocess.run(
        ["unshare", "-m", "-n", "bash", "-c", CONTAINER, "bash", *inside],
        env={
            **outside(),
            "ROOT": str(tmp_path / "root"),
            "BOUND": " ".join(sorted(map(str, bound))),
            "VOLUMES": " ".join(volumes),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


@pytest.mark.slow
@needs_namespaces
@pytest.mark.parametrize("program", ["docker", "apptainer"])
def test_container_trains_without_network_as_any_user(
    program: str, image: Path, phantom_dir: Path, tmp_path: Path
) -> None:
    file = "Dockerfile" if program == "docker" else "mgmt_monai.def"
    words = shlex.split(shown_in(file, f"{program} run"))
    runs = tmp_path / "runs"
    runs.mkdir()
    os.chown(runs, 12345, 12345)
    if program == "docker":
        for option in ("--network none", "--read-only", "--tmpfs /tmp", "--user"):
            assert option in " ".join(words)
        (entry,) = re.findall(r'^ENTRYPOINT \["(.+)"\]$', (FILES / "Dockerfile").read_text(), re.MULTILINE)
        (told,) = re.findall(r"^ENV (.+)$", (FILES / "Dockerfile").read_text(), re.MULTILINE)
        targets = [words[k + 1].split(":")[1] for k, word in enumerate(words) if word == "-v"]
        volumes = [f"{phantom_dir}:{targets[0]}", f"{runs}:{targets[1]}"]
        asked = [entry, *words[words.index("mgmt_monai") + 1 :]]
    else:
        definition = (FILES / "mgmt_monai.def").read_text()
        (told,) = re.findall(r"^    export (.+)$", definition, re.MULTILINE)
        (entry,) = re.findall(r'^    exec (\S+) "\$@"$', definition, re.MULTILINE)
        shared = words[words.index("--bind") + 1]
        volumes = [f"{phantom_dir}:{shared}/my_cohort", f"{runs}:{shared}/runs", f"{runs}:/out"]
        asked = [entry, *words[words.index("mgmt_monai.sif") + 1 :]]
    said = contained(image, tmp_path, [*asked, *OPTIONS], volumes, told.split())
    assert "not recorded" not in said
    (table,) = runs.glob("t1w/*/predictions.csv")
    assert table.is_file()
    assert (runs / "mlruns.db").is_file()
