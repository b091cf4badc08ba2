"""`python -m daemon.images.confined LIMITS FOLDER PROGRAM ...`: gives up all rights, then becomes PROGRAM."""

from __future__ import annotations

import json
import os
import sys

from daemon.images.confinement import CannotConfine, Limits, confine

EXIT_CANNOT_CONFINE = 126


def main(arguments: list[str], environment: dict[str, str]) -> None:
    limits, folder, program, *rest = arguments
    os.chdir(folder)
    try:
        confine(Limits(**json.loads(limits)))
        os.execve(program, [program, *rest], environment)  # noqa: S606  no shell is what is wanted
    except (CannotConfine, OSError) as error:
        print(f"{program}: {error}", file=sys.stderr)
        sys.exit(EXIT_CANNOT_CONFINE)


if __name__ == "__main__":
    main(sys.argv[1:], dict(os.environ))
