#!/bin/sh
exec "$CASE_DIR/attack"
