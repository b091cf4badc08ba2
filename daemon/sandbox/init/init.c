/*
 * Pid 1 of every sandbox: waits for its go, runs the command, reaps, forwards signals.
 *
 *   container-kit-init PROGRAM [ARGUMENT...]
 *
 * Protocol: one byte 0x06 on stdout when ready; "go\n" on stdin lets the command run; anything else exits 125.
 * stdin is read byte by byte, so that all that follows is the command's. Exit status: the command's, 128 + n
 * where signal n ended it, 126 or 127 where it cannot be run.
 *
 * Descriptor 15 is a pipe that may be opened from outside for reading, by /proc/PID/fd/15. Who has done so
 * reads a byte when the command has ended, and we stay until it closes the pipe, or for a second: the cgroup
 * goes with its last process, and with it what the kernel counted there.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

enum { REFUSED = 125, CANNOT_RUN = 126, NOT_FOUND = 127, BY_SIGNAL = 128 };
enum { FAREWELL = 15, FAREWELL_MS = 1000 };

static void open_farewell(void)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0 || dup3(ends[1], FAREWELL, O_CLOEXEC) < 0)
		_exit(REFUSED);
	close(ends[0]);
	close(ends[1]);
}

static void leave(int status)
{
	struct pollfd listener = { .fd = FAREWELL };

	if (write(FAREWELL, "", 1) == 1) /* there is one; SIGPIPE is blocked */
		poll(&listener, 1, FAREWELL_MS); /* until POLLERR: it has closed its end */
	_exit(status);
}

static void wait_for_go(void)
{
	static const char go[] = "go\n";
	char byte;

	for (const char *expected = go; *expected; expected++)
		if (read(STDIN_FILENO, &byte, 1) != 1 || byte != *expected)
			_exit(REFUSED);
}

/* A terminal would echo the go into the command's output. */
static void handshake(void)
{
	static const char ready = 0x06;
	struct termios saved, quiet;
	int terminal = tcgetattr(STDIN_FILENO, &saved) == 0;

	if (terminal) {
		quiet = saved;
		quiet.c_lflag &= ~(tcflag_t)ECHO;
		tcsetattr(STDIN_FILENO, TCSANOW, &quiet);
	}
	if (write(STDOUT_FILENO, &ready, 1) != 1)
		_exit(REFUSED);
	wait_for_go();
	if (terminal)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &saved);
}

static int cannot_run(const char *command, int error)
{
	dprintf(STDERR_FILENO, "container-kit: cannot run %s: %s\n", command, strerror(error));
	return error == ENOENT ? NOT_FOUND : CANNOT_RUN;
}

/* Past the C library, which keeps 32 and 33 to itself and would leave them ignored: rt_sigaction(2). */
static void reset(int number)
{
	static const unsigned long by_default[4]; /* struct kernel_sigaction: handler, flags, restorer, mask */

	syscall(SYS_rt_sigaction, number, by_default, NULL, sizeof(by_default[3]));
}

/* Every signal is still blocked, or taking the terminal would stop us: tcsetpgrp(3). */
static void run(char **command)
{
	sigset_t none;

	setpgid(0, 0);
	tcsetpgrp(STDIN_FILENO, getpid());
	for (int number = 1; number < NSIG; number++)
		reset(number);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execvp(command[0], command);
	_exit(cannot_run(command[0], errno));
}

/* Leaves when the command has ended; the kernel then ends all that is left in the namespace. */
static void reap(pid_t command)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED)) > 0) {
		if (pid != command)
			continue;
		if (WIFEXITED(status))
			leave(WEXITSTATUS(status));
		if (WIFSIGNALED(status))
			leave(BY_SIGNAL + WTERMSIG(status));
		if (WSTOPSIG(status) == SIGTSTP) /* Ctrl-Z: no shell is here that could bring it back */
			kill(-command, SIGCONT);
	}
}

static void forward(pid_t command, int number)
{
	if (kill(-command, number) < 0) /* not yet, or no longer, in a group of its own */
		kill(command, number);
}

int main(int argc, char **argv)
{
	sigset_t all;
	pid_t command;

	if (argc < 2)
		return REFUSED;
	prctl(PR_SET_DUMPABLE, 0); /* the command has our uid: it must not trace or read us */
	open_farewell();
	handshake();
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	signal(SIGCHLD, SIG_DFL); /* inherited as ignored, it would hide every exit status */
	command = fork();
	if (command < 0)
		leave(cannot_run(argv[1], errno));
	if (command == 0)
		run(argv + 1);
	/* Who closes a pipe's last end must be noticed at the other, so we hold none. */
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		close(fd);
	for (;;) {
		int number = sigwaitinfo(&all, NULL);

		if (number > 0 && number != SIGCHLD)
			forward(command, number);
		reap(command); /* always: of what is pending, lower numbers than SIGCHLD come first */
	}
}
