#!/bin/sh
set -e
sqlite3 a.db "create table t(a int, b text); insert into t values(1, 'x'), (2, 'y');"
[ "$(sqlite3 a.db 'select count(*) from t')" = 2 ]
cat >fill.py <<'E'
import sqlite3

with sqlite3.connect("a.db") as database:
    database.executemany("insert into t values(?, ?)", [(i, str(i)) for i in range(5000)])
assert database.execute("select count(*) from t").fetchone() == (5002,)
E
python3 fill.py
