"""container-kitd: launches untrusted code in hardened Docker sandboxes, and keeps the evidence."""

from pathlib import Path

__version__ = "0.1.0"

# The folders at the root are the import names, in a checkout and in an installed environment alike.
ROOT = Path(__file__).resolve().parent.parent
PROFILES = ROOT / "profiles"
UNITS = ROOT / "systemd"
