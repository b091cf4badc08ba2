#!/bin/sh
. /cases/attempt.sh
attempt link-absolute ln -s "$CANARY_PATH" result.txt && effect "link to the host canary planted"
attempt link-relative ln -s ../../../../../../../../etc/shadow report.log
attempt link-proc ln -s /proc/1/root logs
finish
