"""``mgmt-monai train``: the main command, with mistyped settings refused."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("train", context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@click.argument("config_file", required=False, type=click.Path(path_type=Path))
@click.option("--config_file", "--config-file", "named_config_file", type=click.Path(path_type=Path), hidden=True)
@click.pass_context
def command(context: click.Context, config_file: Path | None, named_config_file: Path | None) -> None:
    """Train on CONFIG_FILE, such as bundles/t1w.json; any key of it can be set with --KEY VALUE.

    The same run as 'python -m monai.bundle run training --config_file CONFIG_FILE', but a key that the config does
    not have is refused before anything is read.

    Example: mgmt-monai train bundles/t1w.json --dataset_dir data/phantom --seed 1
    """
    path = named_config_file or config_file
    if path is None:
        raise click.UsageError("name a config file, such as bundles/t1w.json")
    overrides = _overrides([*([str(config_file)] if named_config_file and config_file else []), *context.args])

    import monai.bundle

    from mgmt_monai.training.config import check_overrides, read_config

    check_overrides(read_config(path), overrides)
    monai.bundle.run(run_id="training", config_file=str(path), **overrides)


def _overrides(words: list[str]) -> dict[str, object]:
    """``--key value`` and ``--key=value`` pairs; values are read as Fire reads them for the main command."""
    from fire.parser import DefaultParseValue

    overrides: dict[str, object] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            raise click.UsageError(f"expected --KEY VALUE, found {word!r}")
        key, equals, value = word[2:].partition("=")
        if not equals:
            if not rest:
                raise click.UsageError(f"--{key} needs a value")
            value = rest.pop(0)
        overrides[key] = DefaultParseValue(value)
    return overrides
