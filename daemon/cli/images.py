"""`container-kit images`: what is known of images before they run."""

from __future__ import annotations

import click

from daemon.cli import images_db
from daemon.cli.connection import call
from daemon.cli.sandboxes import as_json_option
from daemon.cli.show import print_json, print_report, print_signatures


@click.group()
def images() -> None:
    """Look into images before they run."""


@images.command()
@click.option("--profile", default="default", show_default=True, help="Whose requirements are meant.")
@as_json_option
@click.argument("image")
def check(profile: str, as_json: bool, image: str) -> None:
    """Judge IMAGE as a launch would. Exits 1 if it is blocked."""
    report = call(lambda client: client.check_image(image, profile))
    print_json(report) if as_json else print_report(report)
    click.get_current_context().exit(int(report["blocked"]))


@images.command("sign-check")
@click.option("--profile", default="default", show_default=True, help="Whose requirements are meant.")
@as_json_option
@click.argument("image")
def sign_check(profile: str, as_json: bool, image: str) -> None:
    """Show who signed IMAGE, and which signatures do not count. Exits 1 if the policy asks for more."""
    found = call(lambda client: client.check_signatures(image, profile))
    print_json(found) if as_json else print_signatures(found)
    click.get_current_context().exit(int(not found["met"]))


images.add_command(images_db.db)
images.add_command(images_db.sbom)
