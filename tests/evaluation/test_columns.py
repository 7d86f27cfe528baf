"""What is known of patients beside a picture."""

import numpy as np
import pandas as pd
import pytest

from mgmt_monai.evaluation.columns import columns_tell


@pytest.mark.parametrize(
    ("name", "values", "seen", "told"),
    [
        ("manufacturer", lambda site, _: np.where(site, "GE", "SIEMENS"), 3.0, True),
        ("EchoTime", lambda site, noise: 10 * site + noise, 3.0, True),
        ("protocol", lambda site, noise: np.where(site, "", "long"), 3.0, True),
        ("patient's day", lambda site, noise: np.arange(200), 3.0, False),
        ("manufacturer", lambda site, _: np.where(site, "GE", "SIEMENS"), 0.0, False),
        ("MGMT status", lambda site, _: site, 3.0, False),
    ],
    ids=["scanner", "numbers", "missing", "another for each", "not seen by the model", "the labels' own"],
)
def test_a_column_that_leaves_the_model_nothing_is_told(name, values, seen, told):
    """17 in 20 methylated patients are of one site; a model sees it, or the tumour."""
    random = np.random.default_rng(0)
    label = random.permutation(np.arange(200) % 2)
    site = random.random(200) < np.where(label == 1, 0.85, 0.15)
    scores = random.standard_normal(200) + seen * site + (1.5 * label if not seen else 0)
    columns = pd.DataFrame({name: values(site, random.standard_normal(200)), "other": random.integers(3, size=200)})

    assert columns_tell(columns.astype(str), label, scores) == ([name] if told else [])


def test_a_model_at_chance_has_nothing_that_a_column_could_tell():
    random = np.random.default_rng(1)
    label = np.arange(100) % 2
    assert columns_tell(pd.DataFrame({"scanner": label}), label, random.random(100)) == []
