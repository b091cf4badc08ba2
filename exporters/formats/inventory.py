"""Every format by the name that the settings know it by."""

from __future__ import annotations

from exporters.formats import Format
from exporters.formats.cef import cef
from exporters.formats.ecs import ecs
from exporters.formats.leef import leef
from exporters.formats.ocsf import ocsf
from exporters.formats.plain import plain
from exporters.formats.rfc5424 import rfc5424

FORMATS: dict[str, Format] = {
    "plain": plain,
    "cef": cef,
    "ecs": ecs,
    "leef": leef,
    "ocsf": ocsf,
    "rfc5424": rfc5424,
}
