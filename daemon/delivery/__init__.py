"""Delivery: audit log -> exporters, each at its own pace from its own durable cursor.

At least once and in order. What a receiver does not take waits in the log, not in memory; what it refuses for
good is noted in a file of dead letters and passed over.
"""
