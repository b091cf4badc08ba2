"""`container-kitd`: reads the settings, serves, and says on one line why it could not."""

from __future__ import annotations

import asyncio
import resource
import sys
from pathlib import Path

import click

from daemon import __version__, logs
from daemon.app import serve
from daemon.errors import AuditError, ConfigError
from daemon.settings import load_settings


@click.command()
@click.version_option(__version__)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="Settings file instead of /etc/container-kit/config.toml.",
)
def main(config: Path | None) -> None:
    """Runs the sandbox daemon until SIGTERM."""
    try:
        settings = load_settings(config)
        logs.configure("DEBUG" if settings.debug else settings.security_log_level)
        _raise_open_files()
        asyncio.run(serve(settings))
    except (ConfigError, AuditError) as error:
        click.echo(f"container-kitd: {error}", err=True)
        sys.exit(78)  # EX_CONFIG of sysexits.h


def _raise_open_files() -> None:
    """A sandbox takes about twenty descriptors: the usual soft limit of 1024 is 50 sandboxes."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    main()
