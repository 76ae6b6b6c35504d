/*
 * Threads that fight over one spinlock: files->file_lock, which dup() and close() both take.
 *
 * usage: spinlock [SECONDS [THREADS]]     (10 seconds and 8 threads if not given)
 *
 * A thread that finds the lock taken spins for a while and then, with paravirt spinlocks, has the
 * hypervisor put its vCPU to sleep until the holder kicks it: the path through pv_wait().
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAX_THREADS 256

static struct timespec end;

static int is_over(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec > end.tv_sec || (now.tv_sec == end.tv_sec && now.tv_nsec >= end.tv_nsec);
}

static void *fight(void *unused)
{
	int i;

	(void)unused;
	while (!is_over())
		for (i = 0; i < 1000; i++)
			close(dup(0));
	return NULL;
}

static long argument(const char *text, const char *what, long max)
{
	char *rest;
	long value;

	errno = 0;
	value = strtol(text, &rest, 10);
	if (errno || *text == '\0' || *rest != '\0' || value < 1 || value > max) {
		fprintf(stderr, "spinlock: %s must be 1 to %ld, not '%s'\n", what, max, text);
		exit(2);
	}
	return value;
}

int main(int argc, char **argv)
{
	long seconds = argc > 1 ? argument(argv[1], "seconds", 86400) : 10;
	long threads = argc > 2 ? argument(argv[2], "threads", MAX_THREADS) : 8;
	pthread_t others[MAX_THREADS];
	long i;
	int error;

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += seconds;
	for (i = 1; i < threads; i++) {
		error = pthread_create(&others[i], NULL, fight, NULL);
		if (error) {
			fprintf(stderr, "spinlock: thread %ld: %s\n", i, strerror(error));
			return 1;
		}
	}
	fight(NULL);
	for (i = 1; i < threads; i++)
		pthread_join(others[i], NULL);
	return 0;
}
