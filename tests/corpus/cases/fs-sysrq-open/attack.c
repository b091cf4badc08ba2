#include "attempt.h"

int main(void) {
    int fd = open("/proc/sysrq-trigger", O_WRONLY);
    attempt("open sysrq-trigger", fd);
    if (fd >= 0)
        effect("sysrq-trigger opened for writing, nothing written");
    return finish();
}
