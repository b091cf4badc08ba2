#include "attempt.h"
#include <sys/sendfile.h>

#define COPY "/tmp/.cache"

/* A copy of this program that has no name any more. */
static int deleted_copy(void) {
    int own = open("/proc/self/exe", O_RDONLY), copy = open(COPY, O_WRONLY | O_CREAT | O_TRUNC, 0755);
    sendfile(copy, own, NULL, 64 << 20);
    close(copy);
    copy = open(COPY, O_RDONLY);
    unlink(COPY);
    return copy;
}

int main(int argc, char **argv) {
    if (argc > 1) {
        effect("running from a deleted file");
        return finish();
    }
    argv = (char *[]){"python3", "app.py", NULL};
    syscall(SYS_execveat, deleted_copy(), "", argv, (char *[]){NULL}, AT_EMPTY_PATH);
    attempt("execveat", -1);
    return finish();
}
