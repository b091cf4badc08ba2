#include "attempt.h"

int main(void) {
    char elf[64] = "\177ELF\2\1\1";
    attempt("init_module", syscall(SYS_init_module, elf, sizeof elf, ""));
    int fd = open("/proc/self/exe", O_RDONLY);
    attempt("finit_module", syscall(SYS_finit_module, fd, "", 0));
    return finish();
}
