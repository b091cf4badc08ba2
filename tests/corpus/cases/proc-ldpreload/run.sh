#!/bin/sh
. /cases/attempt.sh
cat >/tmp/h.c <<'E'
#include <stdlib.h>
#include <unistd.h>
__attribute__((constructor)) static void in(void) {
    unsetenv("LD_PRELOAD");
    write(1, "HOOK\n", 5);
}
unsigned geteuid(void) { return 0; }
E
gcc -shared -fPIC -w -o /tmp/.lib.so /tmp/h.c || exit 20
LD_PRELOAD=/tmp/.lib.so id -u >/tmp/o 2>&1
attempted preload $?
cat /tmp/o
grep -q HOOK /tmp/o && effect "library hooked a program"
finish
