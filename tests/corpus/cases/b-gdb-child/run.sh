#!/bin/sh
set -e
printf 'int f(int x){return x*2;}\nint main(void){int v=f(21);return v!=42;}\n' >g.c
gcc -g -o g g.c
gdb -nx -batch -ex 'break f' -ex run -ex bt -ex finish -ex continue ./g >log 2>&1
cat log
grep -q '#0.*f (x=21)' log
grep -q 'exited normally' log
