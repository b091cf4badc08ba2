/*
 * Pid 1 of every sandbox: waits for its go, runs the command, reaps, forwards signals.
 *
 *   container-kit-init PROGRAM [ARGUMENT...]
 *
 * Protocol: one byte 0x06 on stdout when ready; then "go\n" lets the command run, and anything else, or a hang-up
 * of stdin, exits 125. Exit status: the command's, 128 + n where signal n ended it, 126 or 127 where it cannot
 * be run. stdin and stdout are the command's otherwise: not a byte of them is read.
 *
 * Two pipes may be opened from outside, by /proc/PID/fd/N (proc_pid_fd(5)), past the engine and its delays.
 * 14: the go is written to it. 15: who has opened it reads a byte when the command has ended, and we stay until
 * it closes the pipe, or for a second: the cgroup goes with its last process, and with it what the kernel
 * counted there.
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
#include <unistd.h>

enum { REFUSED = 125, CANNOT_RUN = 126, NOT_FOUND = 127, BY_SIGNAL = 128 };
enum { GO = 14, FAREWELL = 15, FAREWELL_MS = 1000 };
enum { READING, WRITING };

/* One end of a new pipe, under that number. Returns the other end. */
static int open_pipe(int number, int end)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0 || dup3(ends[end], number, O_CLOEXEC) < 0)
		_exit(REFUSED);
	close(ends[end]);
	return ends[!end];
}

static void leave(int status)
{
	struct pollfd listener = { .fd = FAREWELL };

	if (write(FAREWELL, "", 1) == 1) /* there is one; SIGPIPE is blocked */
		poll(&listener, 1, FAREWELL_MS); /* until POLLERR: it has closed its end */
	_exit(status);
}

/* stdin hangs up when the daemon that was to give the go has ended: the engine closes it then. */
static void wait_for_go(void)
{
	struct pollfd sources[] = { { .fd = GO, .events = POLLIN }, { .fd = STDIN_FILENO } };
	char word[4];

	while (poll(sources, 2, -1) < 0)
		if (errno != EINTR)
			_exit(REFUSED);
	if (!(sources[0].revents & POLLIN))
		_exit(REFUSED);
	if (read(GO, word, sizeof(word)) != 3 || memcmp(word, "go\n", 3) != 0)
		_exit(REFUSED);
}

static void handshake(void)
{
	static const char ready = 0x06;
	int writer = open_pipe(GO, READING); /* held: without any the pipe would read as ended */

	if (write(STDOUT_FILENO, &ready, 1) != 1)
		_exit(REFUSED);
	wait_for_go();
	close(writer);
	close(GO);
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
	close(open_pipe(FAREWELL, WRITING));
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
