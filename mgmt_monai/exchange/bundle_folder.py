"""A bundle read: its settings and metadata as plain values, and whether running it runs anyone's code but ours."""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mgmt_monai.carried_code import SCRIPTS, renamed
from mgmt_monai.cohort.patients import FUSION
from mgmt_monai.cohort.series import MODALITIES
from mgmt_monai.errors import MgmtMonaiError, printable
from mgmt_monai.exchange.bundle_archive import unpack
from mgmt_monai.exchange.errors import ExchangeError
from mgmt_monai.exchange.known_figures import known_figures
from mgmt_monai.json_file import parse_json
from mgmt_monai.machine import check_machine, scratch
from mgmt_monai.packaged_configs import packaged_config
from mgmt_monai.training.origin import HEADS

PATH_SETTINGS = ("bundle_root", "dataset_dir")
"""Settings of the config that are paths: for ``python -m monai.bundle run`` alone, nothing here reads them."""

SIZE_LIMITS = {"image_size": 1024, "hidden_units": 2**16, "evaluation_batch_size": 4096}
"""The greatest values of settings that ask for memory."""

PIXELS_LIMIT = 2**25
"""The most pixels that a bundle may ask to be computed at a time: EfficientNet-B0 needs about 250 bytes for each."""

JSON_LIMIT = 16 * 2**20
"""No config or metadata is larger, in bytes."""

#: What a value of a config begins with when it is code, a reference or a macro that reads another file.
_LIVE = ("$", "@", "%")

_NAME_LIMIT = 200


@dataclass(frozen=True)
class BundleFolder:
    """A bundle on disk, with its configs ``inference.json`` and ``metadata.json``; nothing in it has been run."""

    path: Path
    name: str
    config: dict[str, Any]
    metadata: dict[str, Any]

    @property
    def model(self) -> Path:
        """The network's state."""
        return self.path / "models" / "model.pt"

    @property
    def reference(self) -> Path:
        """What the training data's features were like; a bundle need not have it."""
        return self.path / "models" / "reference.safetensors"

    @property
    def references(self) -> list[Path]:
        """`reference`, or that of each modality of a fusion: those that are there."""
        return sorted((self.path / "models").glob("reference*.safetensors"))

    def reference_of(self, modality: str) -> Path:
        """Of a fusion, what the training data's features were like in one of its modalities."""
        return self.path / "models" / f"reference-{modality}.safetensors"

    @property
    def settings(self) -> dict[str, Any]:
        """The top-level scalars of the config."""
        return {key: value for key, value in self.config.items() if _is_plain(value)}

    @property
    def modality(self) -> str:
        """Of the series it reads: ``T1w``, ``T1wCE``, ``T2w`` or ``FLAIR``; ``fusion`` where they are several."""
        return str(self.config["modality"])

    @property
    def version(self) -> str:
        """As the metadata has it."""
        return printable(str(self.metadata.get("version", "")))[:_NAME_LIMIT]

    @cached_property
    def evaluation(self) -> dict[str, Any]:
        """What the model reached on its own test patients, as the metadata has it; empty where that is not said.

        Raises:
            ExchangeError: It is said, but not in figures.
        """
        return known_figures(self.metadata, self.name)

    @cached_property
    def heads(self) -> dict[str, Any]:
        """What the training data's heads are, as the metadata has it: ``skull_stripped`` and ``prepared``.

        None each where that is not known or not said.

        Raises:
            ExchangeError: They are said, but otherwise than an export writes them.
        """
        training = self.metadata.get("training")
        told = {name: training.get(name) if isinstance(training, dict) else None for name in HEADS}
        how = told["prepared"]
        sound = how is None or (isinstance(how, dict) and all(_is_setting(*of) for of in how.items()))
        if told["skull_stripped"] not in (None, True, False) or not sound:
            raise ExchangeError(
                f"{self.name}: configs/metadata.json: training: expected skull_stripped and prepared as an export "
                f"writes them, found {printable(str(told))[:_NAME_LIMIT]}. Export it again."
            )
        return told

    @cached_property
    def model_sha256(self) -> str:
        """Of ``models/model.pt``, hexadecimal."""
        return _sha256(self.model)

    @cached_property
    def sha256(self) -> str:
        """Of all that decides a prediction and what is said of it: config, metadata, state, reference; hexadecimal."""
        parts = [_sha256(self.path / "configs" / f"{part}.json") for part in ("inference", "metadata")]
        parts += [self.model_sha256, *([_sha256(one) for one in self.references] or [""])]
        return hashlib.sha256("\n".join(parts).encode("ascii")).hexdigest()

    @cached_property
    def is_ours(self) -> bool:
        """Whether its config is this version's own template but for the values of plain settings."""
        ours = renamed(packaged_config(self._template), SCRIPTS)
        return set(self.config) == set(ours) and all(
            _is_plain(self.config[key]) if _is_plain(value) else self.config[key] == value
            for key, value in ours.items()
        )

    @property
    def _template(self) -> str:
        return "fusion_inference" if self.config.get("modality") == FUSION else "inference"

    def executed_config(self, trust: bool) -> dict[str, Any]:
        """The config to run: our own template with the bundle's settings, or the bundle's, trusted.

        Of a bundle that `is_ours` nothing is run but the packaged template, in which a setting is a number within its
        range or one of a few words, never an expression: MONAI puts a setting into an expression as a variable. What it
        returns is a copy, since MONAI changes what it parses.

        Raises:
            ExchangeError: It is not `is_ours` and not trusted.
        """
        if self.is_ours:
            settings = {key: value for key, value in self.settings.items() if key not in PATH_SETTINGS}
            return {**packaged_config(self._template), **settings}
        if not trust:
            raise ExchangeError(
                f"{self.name}: expected the inference config that this version of mgmt-monai writes, found another. A "
                "config is code: read configs/inference.json and scripts/ of the bundle, then say --trust-bundle to "
                "run them."
            )
        return {**deepcopy(self.config), "bundle_root": str(self.path)}


@contextmanager
def open_bundle(path: Path) -> Iterator[BundleFolder]:
    """Read the configs of a bundle, a folder or a zip file that holds one.

    Yields:
        The bundle; that of a zip file is unpacked while the block runs.

    Raises:
        ExchangeError: No bundle, a file of it that is missing or leads out of it, a config that is no JSON, a setting
            of ours out of range, or a zip file that `unpack` refuses.
    """
    path = Path(path)
    if path.is_file():
        with scratch(TemporaryDirectory) as folder:
            yield _read(unpack(path, Path(folder)), path.stem)
    else:
        yield _read(path, path.resolve().name)


def _read(folder: Path, name: str) -> BundleFolder:
    if not name or printable(name) != name or len(name) > _NAME_LIMIT:
        raise ExchangeError(
            f"{printable(str(folder))}: expected a bundle whose name is at most {_NAME_LIMIT} printable characters, "
            f"found {printable(name)[:_NAME_LIMIT]!r}. Rename it."
        )
    config, metadata = (_json(_file(folder, f"configs/{part}.json")) for part in ("inference", "metadata"))
    bundle = BundleFolder(folder, name, config, metadata)
    _file(folder, "models/model.pt")
    for reference in bundle.references:
        _file(folder, f"models/{reference.name}")
    _check_settings(bundle)
    return bundle


def _is_setting(name: str, value: Any) -> bool:
    """Whether it is one that `mgmt_monai.preparation.prepare.Settings` has: a number, a template's SHA-256, a tool."""
    text = {"template": "[0-9a-f]{64}", "brain": "hd-bet"}.get(name)
    if text is None:
        return isinstance(value, bool | int | float)
    return isinstance(value, str) and re.fullmatch(text, value) is not None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _file(folder: Path, name: str) -> Path:
    """A file of the bundle that is one, and in it."""
    path = folder / name
    try:
        if not path.is_file():
            raise ExchangeError(
                f"{path}: expected a file of the bundle, found {'no file' if path.exists() else 'none'}. Name a "
                "bundle's folder or zip file."
            )
        if not path.resolve().is_relative_to(folder.resolve()):
            raise ExchangeError(f"{path}: expected a file of the bundle, found a link out of it. Copy the file itself.")
    except OSError as error:
        check_machine(error, path)
        raise ExchangeError(f"{path}: cannot be read ({error.strerror}). Check its permissions.") from error
    return path


def _json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > JSON_LIMIT:
            raise ValueError(f"more than {JSON_LIMIT / 2**20:g} MiB")
        content = parse_json(path.read_bytes())
    except OSError as error:
        check_machine(error, path)
        raise ExchangeError(f"{path}: cannot be read ({error.strerror}). Check its permissions.") from error
    except ValueError as error:  # a JsonFileError is one
        raise ExchangeError(
            f"{path}: expected JSON, found something else ({printable(str(error))}). Export the bundle again."
        ) from error
    if not isinstance(content, dict):
        raise ExchangeError(f"{path}: expected an object, found {type(content).__name__}. Export the bundle again.")
    return content


def _check_settings(bundle: BundleFolder) -> None:
    """Refuse what the template could not run on, or would need a machine's whole memory for."""
    # Only here: it brings in all that a training needs.
    from mgmt_monai.training.settings import check_settings

    settings = bundle.settings
    if settings.get("modality") not in (*MODALITIES, FUSION):
        raise _wrong(bundle, "modality", f"one of {', '.join((*MODALITIES, FUSION))}", settings.get("modality"))
    if bundle.is_ours:
        for key, ours in packaged_config(bundle._template).items():
            if _is_plain(ours) and not _same_kind(settings[key], ours):
                raise _wrong(bundle, key, f"a value like {ours!r}", settings[key])
        checked = settings
    else:
        checked = {key: settings[key] for key in ("threshold", "evaluation_batch_size") if key in settings}
    try:
        check_settings(checked)
    except MgmtMonaiError as error:
        raise ExchangeError(f"{bundle.name}: configs/inference.json: {error}") from error
    for key, most in SIZE_LIMITS.items():
        if checked.get(key, 0) > most:
            raise _wrong(bundle, key, f"at most {most}", checked[key])
    pixels = checked.get("evaluation_batch_size", 0) * checked.get("image_size", 0) ** 2
    if pixels > PIXELS_LIMIT:
        raise _wrong(bundle, "evaluation_batch_size", f"at most {PIXELS_LIMIT} pixels at a time", f"{pixels} pixels")


def _same_kind(value: object, ours: object) -> bool:
    if isinstance(ours, float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is type(ours)


def _wrong(bundle: BundleFolder, key: str, expected: str, found: object) -> ExchangeError:
    shown = printable(repr(found))[:_NAME_LIMIT]
    return ExchangeError(
        f"{bundle.name}: configs/inference.json: {key}: expected {expected}, found {shown}. Export the bundle again."
    )


def _is_plain(value: object) -> bool:
    return isinstance(value, int | float | bool) or (isinstance(value, str) and not value.startswith(_LIVE))
