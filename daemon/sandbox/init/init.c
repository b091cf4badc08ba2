/*
 * Pid 1 of every sandbox: waits for its go, runs the command, reaps, forwards signals.
 *
 *   container-kit-init [PROGRAM [ARGUMENT...]]
 *
 * Five pipes are opened from outside, by /proc/PID/fd/N (proc_pid_fd(5)), past the engine and its delays; once there
 * is a 14 there are all. 11, 12, 13: the other ends of the command's stdin, stdout and stderr. On a terminal, which
 * is the engine's, there are none of these. 14: "go\n" written to it lets the command run; anything else, or nothing
 * within a deadline, exits 125. Who was given no program reads it there as well, in the same write: strings, each with
 * its NUL: how many arguments, the arguments, then variables for the environment. 15: who has opened it reads a byte when the command has ended, and we stay until
 * it closes the pipe, or for a second: the cgroup goes with its last process, and with it what the kernel counted
 * there.
 *
 * 12 and 13 stay: a reader that dies can be followed by another, and until then the command waits and loses nothing.
 *
 * Exit status: the command's, 128 + n where signal n ended it, 126 or 127 where it cannot be run.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* More than the daemon allows itself: none is left that could give the go. */
#ifndef GO_DEADLINE_MS
#define GO_DEADLINE_MS 120000
#endif
#define SPARE_DEADLINE_MS 3600000

enum { REFUSED = 125, CANNOT_RUN = 126, NOT_FOUND = 127, BY_SIGNAL = 128 };
enum { INPUT = 11, OUTPUT, ERRORS, GO, FAREWELL, FAREWELL_MS = 1000 };
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

static void open_stream(int stream, int number, int end)
{
	int other = open_pipe(number, end);

	if (dup2(other, stream) < 0)
		_exit(REFUSED);
	close(other);
}

static void open_streams(void)
{
	if (isatty(STDIN_FILENO))
		return;
	open_stream(STDIN_FILENO, INPUT, WRITING);
	open_stream(STDOUT_FILENO, OUTPUT, READING);
	open_stream(STDERR_FILENO, ERRORS, READING);
}

static void leave(int status)
{
	struct pollfd listener = { .fd = FAREWELL };

	if (write(FAREWELL, "", 1) == 1) /* there is one; SIGPIPE is blocked */
		poll(&listener, 1, FAREWELL_MS); /* until POLLERR: it has closed its end */
	_exit(status);
}

/* The program and its arguments, of strings of which the first says how many these are; the rest are variables. */
static char **read_order(char *order, char *end)
{
	static char *arguments[PIPE_BUF];
	int wanted = atoi(order), count = 0;

	for (char *at = order + strlen(order) + 1; at < end; at += strlen(at) + 1)
		if (count < wanted)
			arguments[count++] = at;
		else if (putenv(at) != 0)
			_exit(REFUSED);
	if (count < 1 || count < wanted)
		_exit(REFUSED);
	return arguments;
}

/* The command that may run. One read has all: what is not longer than PIPE_BUF is written at once (pipe(7)). */
static char **wait_for_go(char **command)
{
	static char word[PIPE_BUF + 1];
	int writer = open_pipe(GO, READING); /* held: without any the pipe would read as ended */
	struct pollfd go = { .fd = GO, .events = POLLIN };
	ssize_t size;

	if (poll(&go, 1, *command ? GO_DEADLINE_MS : SPARE_DEADLINE_MS) != 1)
		_exit(REFUSED);
	size = read(GO, word, PIPE_BUF);
	if (size < 3 || memcmp(word, "go\n", 3) != 0 || (*command && size > 3))
		_exit(REFUSED);
	close(writer);
	close(GO);
	close(INPUT); /* whoever writes to it has opened it: with its end the input ends */
	return *command ? command : read_order(word + 3, word + size);
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
	char **line;
	pid_t command;

	if (argc < 1)
		return REFUSED;
	prctl(PR_SET_DUMPABLE, 0); /* the command has our uid: it must not trace or read us */
	open_streams();
	close(open_pipe(FAREWELL, WRITING));
	line = wait_for_go(argv + 1);
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	signal(SIGCHLD, SIG_DFL); /* inherited as ignored, it would hide every exit status */
	command = fork();
	if (command < 0)
		leave(cannot_run(line[0], errno));
	if (command == 0)
		run(line);
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
