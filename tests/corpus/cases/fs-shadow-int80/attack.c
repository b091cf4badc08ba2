#include "compat.h"

static char path[] = "/etc/shadow", bytes[4096];

static int read_hashes(void) {
    long fd = attempt("open by int 0x80", int80(COMPAT_OPEN, address32(path), O_RDONLY, 0, 0));
    if (fd >= 0 && int80(COMPAT_READ, fd, address32(bytes), sizeof bytes - 1, 0) > 0)
        effect("hashes read by int 0x80");
    return finish();
}

int main(void) {
    int status = attempt("int 0x80", spared(read_hashes));
    return status < 0 ? finish() : status;
}
