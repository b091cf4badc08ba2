"""Numbers of capabilities (capabilities(7), <linux/capability.h>) that change what a call means."""

from __future__ import annotations

CAP_SYS_ADMIN = 21
