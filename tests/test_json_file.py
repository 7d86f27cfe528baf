"""What a schema allows, beside jsonschema itself: lists are looked through by a quick check of ours."""

import copy
import json
import random
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, validators
from made_records import made_patient, made_series

from mgmt_monai.cohort.manifest import Manifest, write_manifest
from mgmt_monai.json_file import JsonFileError, check_json

STRANGE: list[Any] = [
    None, True, False, 0, 1, -1, 2.0, 0.0, 1.5, 2**40, "", "a", "../x", "/x", "a\0b", "\n", "FLAIR", "test",
    [], [0], [1, 1], [[1, 1]], [[0, 0]], [None], ["a", "b"], [True], {}, {"a": 1}, {"FLAIR": {}},
]  # fmt: skip


def places(node: Any) -> list[tuple[Any, Any]]:
    """Every container of a document with each of its keys."""
    found = []
    for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        found += [(node, key), *places(value)]
    return found


def is_allowed(document: Any, schema: str) -> bool:
    try:
        check_json(document, "mgmt_monai.cohort", schema)
    except JsonFileError:
        return False
    return True


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path: Path = tmp_path_factory.mktemp("manifest") / "manifest.json"
    patients = [
        made_patient("a", T1w=made_series("ab"), FLAIR=made_series("cd")),
        made_patient("b", T1w=made_series("ef")),
    ]
    write_manifest(Manifest("dicom", "0" * 64, {"method": "given"}, patients), path)
    content = json.loads(path.read_text())
    content["patients"][0]["inner_folds"] = [[0, None]]
    content["patients"][0]["series"]["T1w"] |= {"frames": [0, 1], "files": ["a.dcm"], "gaps": [[0, 1], [3, 2]]}
    return content


@pytest.mark.parametrize("seed", range(8))
def test_a_changed_manifest_is_refused_where_jsonschema_refuses_it(document: dict[str, Any], seed: int) -> None:
    text = resources.files("mgmt_monai.cohort").joinpath("data", "manifest.schema.json").read_text(encoding="utf-8")
    integers = Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
    plain = validators.extend(Draft202012Validator, type_checker=integers)(json.loads(text))
    assert plain.is_valid(document)
    assert is_allowed(document, "manifest.schema.json")
    draw = random.Random(seed)
    refused = 0
    for _ in range(150):
        changed = copy.deepcopy(document)
        container, key = draw.choice(places(changed["patients"]))
        kind = draw.choice(["set", "set", "delete", "add"])
        if kind == "set":
            container[key] = draw.choice(STRANGE)
        elif kind == "delete":
            del container[key]
        elif isinstance(container, dict):
            container[draw.choice(["x", "FLAIR", "T1w", "study"])] = draw.choice(STRANGE)
        else:
            container.append(draw.choice(STRANGE))
        allowed = plain.is_valid(changed)
        refused += not allowed
        assert is_allowed(changed, "manifest.schema.json") is allowed, (kind, key)
    assert 50 < refused < 150


def test_what_does_not_fit_in_a_list_is_named(document: dict[str, Any]) -> None:
    changed = copy.deepcopy(document)
    changed["patients"][1]["series"]["T1w"]["rows"] = 1.0
    with pytest.raises(JsonFileError, match=r"^patients\[1\]\.series\.T1w\.rows: expected integer, found 1\.0$"):
        check_json(changed, "mgmt_monai.cohort", "manifest.schema.json")
