/* drive.c - the driver of the power-cut tests; see drive.h. */
#include "drive.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "powercut.h"

#define PATIENCE_S     60
#define VIOLATIONS_MAX 5
#define WORDS_MAX      8
#define MORE           10 /* threads make the count vary: a few more, which then run through */

struct drive {
	const struct workload *w;
	const char *program, *lib;
	char *words[WORDS_MAX + 1];
	int nwords;
	uint64_t seed, operations;
	unsigned jobs;
	bool full, faults;
	char base[64];
};

struct tally {
	_Atomic uint64_t cuts, second_cuts, ended, completed, violations;
};

struct cut {
	uint64_t at, seed;
	const char *mode;
};

static const char *const cut_modes[] = { "tear", "lose", "tear", "keep" };
static const char *const fault_modes[] = { "eio", "enospc", "short", "read" };

static void set_number(const char *name, uint64_t n)
{
	char text[32];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)n);
	setenv(name, text, 1);
}

static void become(const struct drive *d, const char *verb, const char *dir, uint64_t seed,
		   const struct cut *c)
{
	char acks[128], number[32], report[128], *argv[5 + WORDS_MAX + 1];

	snprintf(acks, sizeof(acks), "%s.acks", dir);
	snprintf(number, sizeof(number), "%llu", (unsigned long long)seed);
	snprintf(report, sizeof(report), "%s.report", dir);
	if (c) {
		setenv("LD_PRELOAD", d->lib, 1);
		setenv("POWERCUT_ROOT", dir, 1);
		setenv("POWERCUT_MODE", c->mode, 1);
		setenv("POWERCUT_REPORT", report, 1);
		set_number("POWERCUT_AT", c->at);
		set_number("POWERCUT_SEED", c->seed);
	}
	argv[0] = strdup(d->program);
	argv[1] = strdup(verb);
	argv[2] = strdup(dir);
	argv[3] = acks;
	argv[4] = number;
	memcpy(argv + 5, d->words, sizeof(d->words));
	if (d->faults &&
	    c) /* what it says of its fault is of no interest unless it is the last word */
		dup2(open("/dev/null", O_WRONLY), 2);
	alarm(PATIENCE_S);
	execv(d->program, argv);
	_exit(127);
}

static int run_child(const struct drive *d, const char *verb, const char *dir, uint64_t seed,
		     const struct cut *c)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		become(d, verb, dir, seed, c);
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void show_report(const char *dir, const char *what, const struct cut *c, int status)
{
	char path[160], line[256] = "";
	FILE *f;

	snprintf(path, sizeof(path), "%s.report", dir);
	f = fopen(path, "r");
	if (f) {
		if (!fgets(line, sizeof(line), f))
			line[0] = '\0';
		fclose(f);
	}
	fprintf(stderr, "%s: status %d after operation %llu, mode %s, seed %llu, in %s: %s\n", what,
		status, (unsigned long long)c->at, c->mode, (unsigned long long)c->seed, dir, line);
}

static void fresh(const struct drive *d, const char *dir)
{
	char cmd[512];
	int fd;

	snprintf(cmd, sizeof(cmd), "rm -rf '%s' '%s.acks'; mkdir '%s'", dir, dir, dir);
	if (system(cmd) != 0)
		exit(2);
	snprintf(cmd, sizeof(cmd), "%s.acks", dir);
	fd = open(cmd, O_RDWR | O_CREAT, 0600);
	if (fd < 0 || ftruncate(fd, (off_t)d->w->acks) < 0)
		exit(2);
	close(fd);
}

/* One life: work until the fault, perhaps a second cut while it recovers, then the check.  False: a violation. */
static bool live(const struct drive *d, const struct cut *c, const char *dir, struct tally *t)
{
	uint64_t seed = d->seed + c->at % d->w->seeds;
	int status;

	fresh(d, dir);
	status = run_child(d, "work", dir, seed, c);
	if (status == 0)
		t->completed++;
	else if (status == POWERCUT_EXIT)
		t->cuts++;
	else if (status == WORK_ENDED && d->faults)
		t->ended++;
	else {
		show_report(dir, "work", c, status);
		return false;
	}
	if (c->at % 3 == 0 && !d->faults) {
		struct cut second = { .at = 1 + (c->at * 31 + c->seed) % d->w->recovery,
				      .seed = c->seed + 1,
				      .mode = c->mode };

		status = run_child(d, "check", dir, seed, &second);
		if (status != 0 && status != POWERCUT_EXIT) {
			show_report(dir, "check under a second cut", c, status);
			return false;
		}
		t->second_cuts += status != 0;
	}
	status = run_child(d, "check", dir, seed, NULL);
	if (status != 0)
		show_report(dir, "check", c, status);
	return status == 0;
}

/* Every job-th operation from its number on.  The folder of a violation is left for whoever wants to look. */
static void job(const struct drive *d, unsigned number, struct tally *t)
{
	const char *const *modes = d->faults ? fault_modes : cut_modes;
	unsigned rounds = d->full ? d->w->full : 1, kept = 0;
	char dir[96];

	for (unsigned round = 0; round < rounds; round++)
		for (uint64_t n = 1 + number; n <= d->operations; n += d->jobs) {
			struct cut c = { .at = n,
					 .seed = d->seed + n * 17 + round,
					 .mode = modes[(n + round) % 4] };

			snprintf(dir, sizeof(dir), "%s/%u.%u", d->base, number, kept);
			if (live(d, &c, dir, t))
				continue;
			kept++;
			if (++t->violations > VIOLATIONS_MAX)
				return;
		}
}

static uint64_t count_one(const struct drive *d, uint64_t seed, const char *mode)
{
	struct cut never = { .at = 0, .seed = 1, .mode = mode };
	unsigned long long n = 0;
	char dir[96], report[128];
	FILE *f;

	snprintf(dir, sizeof(dir), "%s/count", d->base);
	snprintf(report, sizeof(report), "%s.report", dir);
	fresh(d, dir);
	if (run_child(d, "work", dir, seed, &never) != 0 ||
	    run_child(d, "check", dir, seed, NULL) != 0) {
		fprintf(stderr, "the workload of seed %llu does not run through\n",
			(unsigned long long)seed);
		exit(1);
	}
	f = fopen(report, "r");
	if (!f || fscanf(f, "%llu", &n) != 1) {
		fprintf(stderr, "no report from %s: was it preloaded?\n", d->lib);
		exit(1);
	}
	fclose(f);
	return n;
}

static uint64_t count_operations(const struct drive *d)
{
	uint64_t most = 0;

	for (unsigned i = 0; i < d->w->seeds; i++) {
		uint64_t n = count_one(d, d->seed + i, d->faults ? "eio" : "keep");

		most = n > most ? n : most;
	}
	return most + MORE;
}

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void print_counts(const struct drive *d, const struct tally *t, double took)
{
	printf("%s", d->w->name);
	for (int i = 0; i < d->nwords; i++)
		printf(" %s", d->words[i]);
	printf(", seed %llu: %llu operations, ", (unsigned long long)d->seed,
	       (unsigned long long)d->operations);
	if (d->faults)
		printf("%llu ended by their fault, ", (unsigned long long)t->ended);
	else
		printf("%llu cuts (%llu again while recovering), ", (unsigned long long)t->cuts,
		       (unsigned long long)t->second_cuts);
	printf("%llu ran through, %llu violations, %.0f s\n", (unsigned long long)t->completed,
	       (unsigned long long)t->violations, took);
}

static int drive(struct drive *d)
{
	struct tally *t =
		mmap(NULL, sizeof(*t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	const char *tmp = getenv("TMPDIR");
	double began = seconds();
	char cmd[128];

	if (t == MAP_FAILED)
		return 2;
	snprintf(d->base, sizeof(d->base), "%.32s/%.16s-crash-XXXXXX", tmp ? tmp : "/tmp",
		 d->w->name);
	if (!mkdtemp(d->base))
		return 2;
	d->operations = count_operations(d);
	for (unsigned i = 0; i < d->jobs; i++)
		if (fork() == 0) {
			job(d, i, t);
			_exit(0);
		}
	while (wait(NULL) > 0)
		;
	print_counts(d, t, seconds() - began);
	if (t->violations) {
		printf("what is left is in %s\n", d->base);
		return 1;
	}
	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", d->base);
	return system(cmd) == 0 ? 0 : 2;
}

static int usage(const struct workload *w)
{
	fprintf(stderr, "usage: drive LIB [--full] [--faults] [--seed N] [--jobs N] %s\n",
		w->usage);
	return 2;
}

int drive_main(const struct workload *w, int argc, char **argv)
{
	struct drive d = { .w = w, .program = argv[0], .seed = 1 };
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	if (argc < 3)
		return usage(w);
	d.jobs = cpus > 0 ? (unsigned)cpus : 2;
	d.lib = argv[2];
	for (int i = 3; i < argc; i++) {
		if (strcmp(argv[i], "--full") == 0)
			d.full = true;
		else if (strcmp(argv[i], "--faults") == 0)
			d.faults = true;
		else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
			d.seed = strtoull(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--jobs") == 0 && i + 1 < argc)
			d.jobs = (unsigned)strtoul(argv[++i], NULL, 10);
		else if (argv[i][0] == '-' || d.nwords == WORDS_MAX)
			return usage(w);
		else
			d.words[d.nwords++] = argv[i];
	}
	return d.jobs > 0 ? drive(&d) : usage(w);
}

void *drive_acks(const char *path, size_t bytes)
{
	int fd = open(path, O_RDWR);
	void *acks = MAP_FAILED;

	if (fd >= 0)
		acks = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (acks == MAP_FAILED) {
		perror(path);
		exit(1);
	}
	close(fd);
	return acks;
}
