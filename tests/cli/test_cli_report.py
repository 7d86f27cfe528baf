"""What ``mgmt-monai report`` and ``compare`` say on the console."""

import pytest

from mgmt_monai.cli.report import tell_verdict


def test_what_a_verdict_leaves_open_stands_below_it(capsys: pytest.CaptureFixture[str]) -> None:
    tell_verdict({"sentence": "Signal supported: AUC 0.76 (0.60-0.87).", "reasons": ["no_site_column"]})
    assert capsys.readouterr().out == (
        "Signal supported: AUC 0.76 (0.60-0.87).\n"
        "  No site is known: a hospital that shows inside the head cannot be seen by any control.\n"
    )
