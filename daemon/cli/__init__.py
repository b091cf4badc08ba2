"""`container-kit`: the client of the daemon."""

from __future__ import annotations

import os

import click

from daemon import __version__
from daemon.cli import (
    alerts,
    audit,
    completion,
    cp,
    events,
    forensics,
    host,
    images,
    replay,
    run,
    sandboxes,
    validate,
)
from daemon.cli.errors import EXIT_FAILED, CommandError
from daemon.cli.show import print_error

DEFAULT_SOCKET = "/run/container-kit/api.sock"
EXIT_INTERRUPTED = 130  # 128 and SIGINT, as shells say


class Program(click.Group):
    """Says errors the way of this program, and exits as docker does."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except CommandError as error:
            print_error(error)
            ctx.exit(EXIT_FAILED)
        except BrokenPipeError:  # `| head`: click's to handle
            raise
        except OSError as error:
            print_error(CommandError(error.strerror or str(error), str(error.filename or "")))
            ctx.exit(EXIT_FAILED)
        except KeyboardInterrupt:
            ctx.exit(EXIT_INTERRUPTED)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The common ones first, as they are listed below."""
        del ctx
        return list(self.commands)


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
@click.option(
    "--socket",
    envvar="CONTAINER_KIT_SOCKET",
    default=DEFAULT_SOCKET,
    show_default=True,
    metavar="PATH",
    help="The daemon's Unix socket.",
)
@click.pass_context
def main(ctx: click.Context, socket: str) -> None:
    """Run code you do not trust in hardened sandboxes."""
    if "NO_COLOR" in os.environ:  # https://no-color.org
        ctx.color = False


for command in (
    run.run,
    run.attach,
    validate.validate,
    sandboxes.ps,
    sandboxes.logs,
    sandboxes.exec_,
    sandboxes.kill,
    sandboxes.pause,
    sandboxes.resume,
    sandboxes.rm,
    sandboxes.report,
    sandboxes.usage,
    cp.cp,
    events.events,
    events.findings,
    forensics.forensics,
    replay.replay,
    audit.audit,
    images.images,
    host.profiles,
    host.doctor,
    host.exporters,
    alerts.alerts,
    completion.completion,
):
    main.add_command(command)
