"""Traces and metrics by OTLP. docs/telemetry.md says what is sent, and what may be lost."""
