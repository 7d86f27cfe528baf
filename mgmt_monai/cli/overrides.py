"""Config keys as options of a command: ``--KEY VALUE``."""

from collections.abc import Sequence
from pathlib import Path

import click


def overrides(words: Sequence[str]) -> dict[str, object]:
    """``--key value`` and ``--key=value`` pairs, each value read by its setting's type, by key.

    Raises:
        click.UsageError: A word is no option, or an option lacks its value.
        CohortError: The data directory is not there.
        TrainingError: A key twice, nothing for a setting that always has a value, or a word that would be read as
            something else.
    """
    pairs: list[tuple[str, str]] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            how = "A setting has two dashes"
            if not word.startswith("-"):
                how = f"A data directory is named so: --dataset_dir {word}"
            raise click.UsageError(f"expected --KEY VALUE, found {word!r} alone. {how}")
        key, equals, value = word[2:].partition("=")
        if not equals:
            if not rest:
                raise click.UsageError(f"--{key} needs a value")
            value = rest.pop(0)
        pairs.append((key, value))
    if not pairs:
        return {}
    data_dir = dict(pairs).get("dataset_dir", "")
    if data_dir and data_dir[0] not in "$@%'\"":  # told before anything heavy is imported
        from mgmt_monai.cohort.layouts.found import check_data_dir

        check_data_dir(Path(data_dir))
    from mgmt_monai.training.typed import last_of, read_word

    return {key: read_word(key, word) for key, word in last_of(pairs).items()}
