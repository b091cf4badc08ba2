"""`completion`: the script that makes a shell complete this program."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

PROGRAM = "container-kit"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a shell's completion script.

    For bash and zsh: eval "$(container-kit completion bash)"
    For fish: container-kit completion fish | source
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"no completion for {shell}")
    root = click.get_current_context().find_root().command
    click.echo(kind(root, {}, PROGRAM, "_CONTAINER_KIT_COMPLETE").source())
