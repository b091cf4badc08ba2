#!/bin/sh
set -e
cat >t.py <<'E'
import numpy as np
import pandas as pd

random = np.random.default_rng(1)
table = pd.DataFrame({"g": random.integers(0, 50, 200000), "x": random.normal(size=200000)})
table.groupby("g").x.agg(["mean", "std", "count"]).to_csv("o.csv")
matrix = random.normal(size=(400, 400))
assert len(pd.read_csv("o.csv")) == 50
assert np.linalg.svd(matrix @ matrix.T)[1][0] > 0
E
python3 t.py
