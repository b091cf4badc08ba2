#!/bin/sh
set -e
python3 -m venv v
v/bin/pip install -q --no-index --find-links /wheels six attrs click
v/bin/python -c 'import six, attr, click'
v/bin/pip list
