"""requirements.txt: every package that a training needs, as constraints.txt pins it, with digests."""

import configparser
import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]


def pinned(name: str) -> dict[str, tuple[str, list[str]]]:
    """Version and digests by package."""
    text = (ROOT / name).read_text().replace("\\\n", "")
    lines = [line.split() for line in text.splitlines() if not line.startswith("#")]
    return {
        package: (version, [word.removeprefix("--hash=sha256:") for word in digests])
        for (package, _, version), digests in ((words[0].partition("=="), words[1:]) for words in lines)
    }


def normal(name: str) -> str:
    return re.sub("[-_.]+", "-", name).lower()


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-cuda.txt"])
def test_every_package_has_whole_digests_of_its_own(name):
    found = [digest for _, digests in pinned(name).values() for digest in digests]
    assert all(digests for _, digests in pinned(name).values())
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in found)
    assert len(found) == len(set(found))


def test_versions_are_those_of_the_constraints():
    constraints = (line.partition("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    known = {normal(name): version for name, _, version in constraints}
    found = pinned("requirements.txt")
    assert {name: version for name, (version, _) in found.items()} == {name: known[name] for name in found}


def test_everything_that_the_package_requires_is_there_and_torch_in_both_builds():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    needed = [Requirement(line) for line in config["options"]["install_requires"].split("\n") if line.strip()]
    found = pinned("requirements.txt")
    assert len(needed) > 20
    assert [one.name for one in needed if not one.specifier.contains(found[normal(one.name)][0])] == []
    assert len(found["torch"][1]) == 6, "PyPI's and the CPU build, for three Pythons"
