// flood: opens and closes a file as fast as it can, and forks in between, in two processes and for ever.
// Writes a byte for each 200 opens and one fork.
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void) {
    fork();
    for (;;) {
        for (int i = 0; i < 200; i++)
            close(open("/dev/null", O_RDONLY));
        pid_t child = fork();
        if (child == 0)
            _exit(0);
        waitpid(child, 0, 0);
        if (write(1, ".", 1) != 1)
            return 1;
    }
}
