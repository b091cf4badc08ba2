/* One workload, timed: prints nanoseconds of CPU time an operation, the least of the repetitions. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define REPETITIONS 7

static double used_ns(int who)
{
	struct rusage usage;

	getrusage(who, &usage);
	return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e9 +
	       (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e3;
}

static void work(const char *name, long count, char *self)
{
	char *arguments[] = { self, 0 };
	long i;

	for (i = 0; i < count; i++) {
		if (!strcmp(name, "getppid")) {
			syscall(SYS_getppid);
		} else if (!strcmp(name, "open")) {
			close(open("/etc/passwd", O_RDONLY));
		} else {
			pid_t child = vfork();

			if (!child) {
				execv(self, arguments);
				_exit(1);
			}
			waitpid(child, 0, 0);
		}
	}
}

int main(int argc, char **argv)
{
	double least = 1e18;
	long count;
	int i;

	if (argc < 3)
		return 0;
	count = atol(argv[2]);
	for (i = 0; i < REPETITIONS; i++) {
		double before = used_ns(RUSAGE_SELF) + used_ns(RUSAGE_CHILDREN), cost;

		work(argv[1], count, argv[0]);
		cost = (used_ns(RUSAGE_SELF) + used_ns(RUSAGE_CHILDREN) - before) / count;
		least = cost < least ? cost : least;
	}
	printf("%.1f\n", least);
	return 0;
}
