#!/bin/sh
set -e
cat >m.py <<'E'
import multiprocessing


def f(n):
    return sum(i * i for i in range(n))


if __name__ == "__main__":
    with multiprocessing.Pool(4) as pool:
        assert sum(pool.map(f, range(2000, 2060))) == sum(map(f, range(2000, 2060)))
E
python3 m.py
