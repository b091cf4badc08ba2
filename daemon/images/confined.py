"""`python -m daemon.images.confined LIMITS FOLDER DESCRIPTOR NAME ...`: gives up rights, becomes a program.

The program is an open file: what was judged is what runs, wherever it lies.
"""

from __future__ import annotations

import json
import os
import sys

from daemon.images.confinement import CannotConfine, Limits, confine

EXIT_CANNOT_CONFINE = 126


def main(arguments: list[str], environment: dict[str, str]) -> None:
    limits, folder, descriptor, *argv = arguments
    os.chdir(folder)
    try:
        confine(Limits(**json.loads(limits)), sealed=False)
        os.execve(int(descriptor), argv, environment)  # noqa: S606  no shell is what is wanted
    except (CannotConfine, OSError) as error:
        print(f"{argv[0]}: {error}", file=sys.stderr)
        sys.exit(EXIT_CANNOT_CONFINE)


if __name__ == "__main__":
    main(sys.argv[1:], dict(os.environ))
