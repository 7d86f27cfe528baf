"""A finished run as a bundle: the whole folder appears at once or not at all."""

import filecmp
import hashlib
import io
import logging
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any
from uuid import uuid4
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import torch
from monai.bundle import ConfigParser
from torch import Tensor

from mgmt_monai.atomic import atomic_file
from mgmt_monai.carried_code import SCRIPTS, renamed, write_code
from mgmt_monai.cohort.patients import FUSION
from mgmt_monai.exchange.bundle_code import distributions, needed_code
from mgmt_monai.exchange.configs import evaluate_config, inference_config, multi_gpu_config, train_config, write_config
from mgmt_monai.exchange.errors import ExchangeError
from mgmt_monai.exchange.formats import write_onnx, write_torchscript
from mgmt_monai.exchange.metadata import make_metadata
from mgmt_monai.exchange.model_card import model_card
from mgmt_monai.exchange.run_source import Source, open_source
from mgmt_monai.locked_folder import HeldError, Lock
from mgmt_monai.machine import check_readable
from mgmt_monai.networks import MGMTClassifier
from mgmt_monai.packaged_configs import FOLDER

logger = logging.getLogger(__name__)


def export_bundle(
    source: Source,
    out: Path,
    name: str = "",
    torchscript: bool = False,
    onnx: bool = False,
    overwrite: bool = False,
    data_source: str = "",
) -> Path:
    """Write a bundle.

    Args:
        source: The run.
        out: Folder that the bundle's own goes into; made if absent.
        name: Of the bundle's folder; empty for ``mgmt_<modality>``.
        torchscript: Also as ``models/model.ts``.
        onnx: Also as ``models/model.onnx``.
        overwrite: Take the place of another bundle of this name.
        data_source: What the model was trained on, in words; for a phantom it is known.

    Returns:
        The bundle's folder.

    Raises:
        ExchangeError: A name that is none or that another bundle has, a checkpoint of another network, a library that
            is missing, or something of the run's machine that would have got into the bundle.
    """
    name = name or f"mgmt_{source.modality.lower()}"
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,99}", name, flags=re.ASCII):
        raise ExchangeError(f"name: expected letters, digits, '_', '-' and '.', found {name!r}. Choose another --name.")
    if source.modality == FUSION and (torchscript or onnx):
        raise ExchangeError("--torchscript, --onnx: expected a model of one modality, found a fusion. Leave them out.")
    out = Path(out)
    with _folder(out / name, overwrite) as bundle:
        _write(bundle, source, name, torchscript, onnx, data_source)
        _check_secrets(bundle, source)
    return out / name


def export_run(run: str | Path, out: str | Path, **options: Any) -> Path:
    """Write the bundle of a training: a folder that predicts, with MONAI alone too.

    Args:
        run: The run's folder, or a ``best.pt`` in one.
        out: Folder that the bundle's own goes into; made if absent.
        options: As `export_bundle` takes them, ``name``, ``torchscript``, ``onnx``, ``overwrite``, ``data_source``.

    Returns:
        The bundle's folder.

    Raises:
        ExchangeError: As `open_source` and `export_bundle`.

    Example:
        >>> import mgmt_monai as mgmt
        >>> bundle = mgmt.export_run(run, "models")  # doctest: +SKIP
    """
    with open_source(Path(run), "", Path(run).parent) as source:
        return export_bundle(source, Path(out), **options)


def zip_bundle(bundle: Path, overwrite: bool = False) -> Path:
    """Pack a bundle into ``NAME.zip`` beside it; the same bundle always gives the same file.

    Returns:
        The zip file; one that is the same already is left as it is.

    Raises:
        ExchangeError: There is another one, and no ``overwrite``.
    """
    target = bundle.with_name(f"{bundle.name}.zip")
    with _held(bundle), atomic_file(target) as temporary:
        _pack(bundle, temporary)
        if target.is_file() and filecmp.cmp(temporary, target, shallow=False):
            return target
        check_free(target, overwrite)
    return target


def _pack(bundle: Path, file: Path) -> None:
    with ZipFile(file, "w", ZIP_DEFLATED) as archive:
        for path in sorted(path for path in bundle.rglob("*") if path.is_file()):
            member = ZipInfo(f"{bundle.name}/{path.relative_to(bundle).as_posix()}")  # dated 1980, as zip's years begin
            member.compress_type = ZIP_DEFLATED
            member.external_attr = 0o100644 << 16
            archive.writestr(member, path.read_bytes())


def check_free(path: Path, overwrite: bool) -> None:
    """Refuse a place that is taken.

    Raises:
        ExchangeError: It is there, and may not be.
    """
    if path.exists() and not overwrite:
        raise ExchangeError(f"{path}: expected a free place, found something. Take another --name, or say --overwrite.")


def _write(bundle: Path, source: Source, name: str, torchscript: bool, onnx: bool, data_source: str) -> None:
    ours = {
        "train": train_config(source.config),
        "inference": inference_config(source.config),
        "evaluate": evaluate_config(source.stage),
        "multi_gpu_train": multi_gpu_config(source.config),
    }
    network = _network(ours["inference"], source)
    code = needed_code(ours)
    metadata = make_metadata(source, name, distributions(code.imports), data_source)

    for folder in ("configs", "models", "docs"):
        (bundle / folder).mkdir()
    configs = {key: renamed(config, SCRIPTS) for key, config in ours.items()}
    for key, config in {**configs, "metadata": metadata}.items():
        _text(bundle / "configs" / f"{key}.json", write_config(config))
    _text(bundle / "configs" / "logging.conf", (FOLDER / "logging.conf").read_text(encoding="utf-8"))
    _text(bundle / "LICENSE", _packaged("LICENSE"))
    _text(bundle / "docs" / "data_license.txt", _packaged("data_license.txt"))
    write_code(code.files, bundle / SCRIPTS)

    models = bundle / "models"
    state = io.BytesIO()  # the name of a file would be written into it
    torch.save(network.state_dict(), state)
    (models / "model.pt").write_bytes(state.getvalue())
    for reference in source.references:
        shutil.copyfile(reference, models / reference.name)
    if torchscript:
        write_torchscript(network, models / "model.ts", metadata, {"inference": configs["inference"]})
    if onnx:
        write_onnx(network, models / "model.onnx", metadata["network_data_format"]["inputs"]["image"]["spatial_shape"])
    formats = [name for name, made in (("model.ts", torchscript), ("model.onnx", onnx)) if made]
    settings = {key: value for key, value in ours["inference"].items() if not isinstance(value, dict | list)}
    _text(bundle / "docs" / "README.md", model_card(metadata, settings, bool(source.references), formats))


def _network(inference: dict[str, Any], source: Source) -> MGMTClassifier:
    """The run's network, held against its config."""
    network: MGMTClassifier = ConfigParser(inference).get_parsed_content("network_def")
    try:
        state: dict[str, Tensor] = torch.load(source.checkpoint, map_location="cpu", weights_only=True)
        network.load_state_dict(state)
    except Exception as error:  # a damaged or foreign file can raise nearly anything
        check_readable(source.checkpoint)
        raise ExchangeError(
            f"{source.checkpoint}: expected the state of the network in the run's config, found another file "
            f"({type(error).__name__}). Name a run's folder."
        ) from error
    return network.eval()


def _check_secrets(bundle: Path, source: Source) -> None:
    home = Path.home()
    known = (*source.secrets, *([str(home)] if len(home.parts) > 2 else []))
    secrets = [secret.encode() for secret in known if secret]
    for path in sorted(path for path in bundle.rglob("*") if path.is_file()):
        content = path.read_bytes()
        if any(secret in content for secret in secrets):
            raise ExchangeError(
                f"{path.relative_to(bundle).as_posix()}: expected nothing of the machine or of the patients in the "
                "bundle, found a path or a key of the run. Train without it in the settings; nothing was written."
            )


def _packaged(name: str) -> str:
    return (resources.files("mgmt_monai.exchange") / "data" / name).read_text(encoding="utf-8")


def _text(path: Path, content: str) -> None:
    path.write_bytes(content.encode("utf-8"))


@contextmanager
def _folder(target: Path, overwrite: bool) -> Iterator[Path]:
    """A temporary folder beside ``target`` that takes its place when the block ends without an error.

    The same bundle again is left as it is.
    """
    if target.exists() and not (target / "configs" / "metadata.json").is_file():
        check_free(target, overwrite)
        raise ExchangeError(f"{target}: expected a bundle to overwrite, found something else. Take another --name.")
    target.parent.mkdir(parents=True, exist_ok=True)
    with _held(target):
        temporary = target.with_name(f".{target.name}.{uuid4().hex}")
        temporary.mkdir()
        yield temporary
        if not target.exists():
            temporary.rename(target)
        elif _content(target) != _content(temporary):
            check_free(target, overwrite)
            old = temporary.with_name(f"{temporary.name}.old")
            target.rename(old)
            temporary.rename(target)


@contextmanager
def _held(target: Path) -> Iterator[None]:
    """Keep other processes from writing this bundle; temporary ones are cleared away before and after."""
    lock = Lock(target.parent, f"{target.name}.")
    try:
        lock.acquire()
    except HeldError as error:
        raise ExchangeError(
            f"{target}: another process{error.holder} is writing this bundle. Wait for it.{error.remedy}"
        ) from error
    try:
        _clear(target)
        yield
    finally:
        _clear(target)
        target.with_name(f".{target.name}.lock").unlink(missing_ok=True)
        lock.release()


def _clear(target: Path) -> None:
    """Remove temporary folders and files; a bundle that a killed process had put aside for its new one comes back."""
    name = re.escape(target.name)
    for left in target.parent.glob(f".{target.name}*"):
        if re.fullmatch(rf"\.{name}(\.zip)?\.[0-9a-f]{{32}}(\.old)?", left.name) is None:
            continue
        if left.name.endswith(".old") and not target.exists():
            left.rename(target)
        elif left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink()


def _content(folder: Path) -> dict[Path, bytes]:
    """Digest by path; what Python keeps of modules that were imported does not count."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.parent.name != "__pycache__")
    return {path.relative_to(folder): hashlib.sha256(path.read_bytes()).digest() for path in files}
