"""What the page on exporting makes, and the run in the package's own reading."""

from pathlib import Path

import pytest
from page_commands import commands_of

from mgmt_monai.cli.main import main
from mgmt_monai.exchange.run_source import open_source

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "export.md"


@pytest.fixture(scope="session")
def page_exports(finished_run, tmp_path_factory):
    """The folder in which every command of the page that exports was run."""
    cwd = tmp_path_factory.mktemp("page")
    commands = commands_of(PAGE.read_text(), "mgmt-monai")
    assert len(commands) == 2
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(cwd)
        for words in commands:
            assert main([str(finished_run) if word == "RUN" else word for word in words[1:]]) == 0
    return cwd


@pytest.fixture
def source(finished_run):
    with open_source(finished_run, "", finished_run.parents[1]) as opened:
        yield opened
