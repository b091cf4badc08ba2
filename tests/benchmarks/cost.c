/* cost REPETITIONS COUNT PROGRAM [ARGUMENT...]: runs the program COUNT times, one after the other, and that several
 * times over. Prints nanoseconds of the wall clock a run, the least of the repetitions. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1e9 + now.tv_nsec;
}

static void run(char **command)
{
	int status;
	pid_t child = fork();

	if (!child) {
		execvp(command[0], command);
		_exit(127);
	}
	if (waitpid(child, &status, 0) != child || status)
		exit(1);
}

int main(int argc, char **argv)
{
	double least = 1e18;
	int repetition, i;

	if (argc < 4)
		return 0;
	for (repetition = 0; repetition < atoi(argv[1]); repetition++) {
		double begin = now_ns(), cost;

		for (i = 0; i < atoi(argv[2]); i++)
			run(argv + 3);
		cost = (now_ns() - begin) / atoi(argv[2]);
		least = cost < least ? cost : least;
	}
	printf("%.1f\n", least);
	return 0;
}
