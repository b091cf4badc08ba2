"""Alerts: audit log -> rules -> channels, on this host and without any other service.

Each channel reads the log by a Delivery of its own: one that fails keeps no other waiting. What a rule makes
of the events is in `evaluation`, without input, output or a clock.
"""
