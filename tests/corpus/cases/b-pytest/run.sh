#!/bin/sh
set -e
cat >test_a.py <<'E'
import os
import subprocess
import sys

import pytest


def test_tmp(tmp_path):
    (tmp_path / "a").write_text("x")
    assert (tmp_path / "a").read_text() == "x"


@pytest.mark.parametrize("n", range(20))
def test_n(n):
    assert n * n >= n


def test_sub():
    assert subprocess.check_output([sys.executable, "-c", "print(1)"]).strip() == b"1"


def test_env(monkeypatch):
    monkeypatch.setenv("A", "1")
    assert os.environ["A"] == "1"
E
python3 -m pytest -q -p no:cacheprovider
