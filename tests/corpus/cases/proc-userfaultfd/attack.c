#include "attempt.h"

int main(void) {
    int f = attempt("userfaultfd", syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK));
    if (f >= 0)
        effect("userfaultfd made");
    f = attempt("userfaultfd user-mode-only", syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | 1));
    if (f >= 0)
        effect("userfaultfd made");
    return finish();
}
