"""`container-kit images`: what is known of images before they run."""

from __future__ import annotations

import click

from daemon.cli import images_db


@click.group()
def images() -> None:
    """Look into images before they run."""


images.add_command(images_db.db)
images.add_command(images_db.sbom)
