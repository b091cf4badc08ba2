"""The exporters that come with the program, by the `kind` of their table in the settings."""

from __future__ import annotations

from exporters import Kind
from exporters.alertmanager import ALERTMANAGER
from exporters.elastic import ELASTIC
from exporters.file import FILE
from exporters.hec import HEC
from exporters.journald import JOURNALD
from exporters.kafka import KAFKA
from exporters.loki import LOKI
from exporters.nats import NATS
from exporters.otlp import OTLP
from exporters.syslog import SYSLOG
from exporters.webhook import WEBHOOK

KINDS: dict[str, Kind] = {
    "file": FILE,
    "journald": JOURNALD,
    "syslog": SYSLOG,
    "otlp": OTLP,
    "webhook": WEBHOOK,
    "alertmanager": ALERTMANAGER,
    "hec": HEC,
    "elastic": ELASTIC,
    "loki": LOKI,
    "nats": NATS,
    "kafka": KAFKA,
}
