/*
 * Pid 1 of every sandbox: waits for its go, runs the command, reaps, forwards signals.
 *
 *   container-kit-init PROGRAM [ARGUMENT...]
 *
 * Protocol: one byte 0x06 on stdout when ready; "go\n" on stdin lets the command run; anything else exits 125.
 * stdin is read byte by byte, so that all that follows is the command's. Exit status: the command's, 128 + n
 * where signal n ended it, 126 or 127 where it cannot be run.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

enum { REFUSED = 125, CANNOT_RUN = 126, NOT_FOUND = 127 };

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

static void run(char **command, const sigset_t *mask)
{
	setpgid(0, 0);
	signal(SIGTTOU, SIG_IGN); /* or taking the terminal would stop us */
	tcsetpgrp(STDIN_FILENO, getpid());
	signal(SIGTTOU, SIG_DFL);
	sigprocmask(SIG_SETMASK, mask, NULL);
	execvp(command[0], command);
	int error = errno;
	dprintf(STDERR_FILENO, "container-kit: cannot run %s: %s\n", command[0], strerror(error));
	_exit(error == ENOENT ? NOT_FOUND : CANNOT_RUN);
}

/* Exits when the command has ended; the kernel then ends all that is left in the namespace. */
static void reap(pid_t command)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (pid == command)
			_exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
}

int main(int argc, char **argv)
{
	sigset_t all, none;
	pid_t command;

	if (argc < 2)
		return REFUSED;
	prctl(PR_SET_DUMPABLE, 0); /* the command has our uid: it must not trace or read us */
	handshake();
	sigfillset(&all);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &all, NULL);
	command = fork();
	if (command < 0)
		return CANNOT_RUN;
	if (command == 0)
		run(argv + 1, &none);
	for (;;) {
		int signal_number = sigwaitinfo(&all, NULL);

		if (signal_number == SIGCHLD)
			reap(command);
		else if (signal_number > 0 && kill(-command, signal_number) < 0)
			kill(command, signal_number);
	}
}
