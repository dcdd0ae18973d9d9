/* queue_crash.c - the queue folder loses power at every operation; what was promised must be there afterwards.
 *
 *	queue_crash work DIR SEED ACKS     run the workload (under powercut.so)
 *	queue_crash check DIR SEED ACKS    open what is left, as a restart does, and compare
 *	queue_crash drive LIB [--full] [--seed N] [--jobs N]
 *
 * MESSAGES messages, WORKERS at a time; the seed says of each how large it is, whether its envelope fits into
 * attributes, whether it gets live properties, and its end: it stays, is removed, or is set aside.  ACKS is a
 * shared file outside the folder with one byte for each message: how far it was when the power went. */
#include "transport/fsfile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "powercut.h"

#define MESSAGES  12u
#define WORKERS   3u
#define RCPTS_MAX 120u

enum far {
	NOTHING,
	BEGUN,      /* commit may have been called */
	COMMITTED,  /* and was acknowledged */
	LIVE_BEGUN, /* put_live called */
	LIVE,
	END_BEGUN, /* delete or badmail called */
	ENDED
};
enum end { STAYS, REMOVED, SET_ASIDE };

struct acks {
	_Atomic unsigned char far[MESSAGES];
};

/* What the seed says of a message. */
struct plan {
	size_t size;
	unsigned nrcpts;
	bool live;
	enum end end;
};

static uint64_t roll(uint64_t seed, uint64_t i, uint64_t what)
{
	uint64_t z = seed * 1000003 + i * 7919 + what * 104729 + UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static struct plan plan_of(uint64_t seed, uint64_t i)
{
	static const size_t sizes[] = { 0, 100, 5000, 66000, 150000 };

	return (struct plan){ .size = sizes[roll(seed, i, 1) % 5],
			      .nrcpts = roll(seed, i, 2) % 3 ? 1 : RCPTS_MAX,
			      .live = roll(seed, i, 3) % 2,
			      .end = (enum end)(roll(seed, i, 4) % 3) };
}

static char content_at(uint64_t seed, uint64_t i, size_t at)
{
	return (char)roll(seed, i, 100 + at / 64);
}

static void violation(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));
static void violation(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("violation: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	exit(1);
}

struct run {
	uint64_t seed;
	struct acks *acks;
	struct mailmsg_driver *driver;
	struct loop *loop;
	uint64_t next;
	unsigned workers;
	bool found[MESSAGES];
};

static void need(enum st st, const struct err *err)
{
	if (st != ST_OK)
		violation("%s", err->text);
}

/* ---- the work ---- */

static void fill_rcpts(struct mailmsg_rcpt *rcpts, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		rcpts[i] = (struct mailmsg_rcpt){ .address = SPAN("somebody@mailroot.test") };
}

static void write_content(struct run *r, struct mailmsg *m, uint64_t i, size_t size)
{
	char block[4000];
	struct err err;

	for (size_t at = 0, n; at < size; at += n) {
		n = size - at < sizeof(block) ? size - at : sizeof(block);
		for (size_t k = 0; k < n; k++)
			block[k] = content_at(r->seed, i, at + k);
		need(mailmsg_write(m, block, n, &err), &err);
	}
}

static void one_message(struct run *r, uint64_t i)
{
	struct mailmsg_rcpt rcpts[RCPTS_MAX];
	struct plan p = plan_of(r->seed, i);
	char sender[32];
	struct mailmsg_envelope env = { .rcpts = rcpts, .nrcpts = p.nrcpts };
	struct mailmsg_live live = { .status = MP_STATUS_RETRY,
				     .attempts = (uint32_t)i + 1,
				     .rcpts = rcpts,
				     .nrcpts = p.nrcpts };
	struct mailmsg *m;
	struct err err;

	snprintf(sender, sizeof(sender), "%llu@test", (unsigned long long)i);
	env.sender = span_str(sender);
	fill_rcpts(rcpts, p.nrcpts);
	r->acks->far[i] = BEGUN;
	need(mailmsg_create(r->driver, &m, &err), &err);
	write_content(r, m, i, p.size);
	need(mailmsg_commit(m, &env, &err), &err);
	r->acks->far[i] = COMMITTED;
	if (p.live) {
		r->acks->far[i] = LIVE_BEGUN;
		need(mailmsg_put_live(m, &live, &err), &err);
		r->acks->far[i] = LIVE;
	}
	if (p.end != STAYS) {
		r->acks->far[i] = END_BEGUN;
		need(p.end == REMOVED ? mailmsg_delete(m, &err)
				      : mailmsg_to_badmail(m, "for the test", &err),
		     &err);
		r->acks->far[i] = ENDED;
	}
	mailmsg_free(m);
}

static void worker(void *arg)
{
	struct run *r = arg;

	while (r->next < MESSAGES)
		one_message(r, r->next++);
	if (--r->workers == 0)
		loop_stop(r->loop);
}

/* ---- the check ---- */

static void check_content(struct run *r, struct mailmsg *m, uint64_t i, size_t size)
{
	char block[4096];
	struct err err;
	size_t got;

	for (size_t at = 0; at < size; at += got) {
		need(mailmsg_read(m, at, block, sizeof(block), &got, &err), &err);
		if (got == 0)
			violation("message %llu ends at %zu", (unsigned long long)i, at);
		for (size_t k = 0; k < got; k++)
			if (block[k] != content_at(r->seed, i, at + k))
				violation("message %llu has other bytes at %zu",
					  (unsigned long long)i, at + k);
	}
}

static void check_live(const struct mailmsg *m, struct pool *pool, uint64_t i, enum far far,
		       const struct plan *p)
{
	struct mailmsg_live live;
	struct err err;

	need(mailmsg_live(m, pool, &live, &err), &err);
	if (mailmsg_live_was_broken(m))
		violation("message %llu: broken live properties", (unsigned long long)i);
	if (live.attempts == 0 && !(p->live && far >= LIVE))
		return;
	if (live.attempts != i + 1 || live.nrcpts != p->nrcpts)
		violation("message %llu: live properties of another or none",
			  (unsigned long long)i);
}

/* Whatever has a final name is whole: it was synced before it was named. */
static void check_found(void *arg, struct mailmsg_id id, uint64_t size)
{
	struct run *r = arg;
	struct pool *pool = pool_new("check", 1 << 20);
	struct mailmsg_envelope env;
	struct mailmsg *m;
	struct plan p;
	struct err err;
	uint64_t i;

	need(mailmsg_reopen(r->driver, id, &m, &err), &err);
	need(mailmsg_load(m, &err), &err);
	need(mailmsg_envelope(m, pool, &env, &err), &err);
	i = strtoull(env.sender.at, NULL, 10);
	if (i >= MESSAGES || r->found[i])
		violation("message %llu twice, or never sent", (unsigned long long)i);
	r->found[i] = true;
	p = plan_of(r->seed, i);
	if (size != p.size || env.size != p.size || env.nrcpts != p.nrcpts)
		violation("message %llu has %llu octets and %zu recipients", (unsigned long long)i,
			  (unsigned long long)size, env.nrcpts);
	check_content(r, m, i, p.size);
	check_live(m, pool, i, r->acks->far[i], &p);
	mailmsg_free(m);
	pool_free(pool);
}

static size_t count(int dir, const char *extension)
{
	DIR *d = fdopendir(openat(dir, ".", O_RDONLY | O_DIRECTORY));
	size_t n = 0;

	for (struct dirent *e; (e = readdir(d));) {
		const char *dot = strrchr(e->d_name, '.');

		n += e->d_name[0] != '.' && dot && strcmp(dot, extension) == 0;
	}
	closedir(d);
	return n;
}

static void check(void *arg)
{
	struct run *r = arg;
	struct fsdriver *d = (struct fsdriver *)(void *)r->driver;
	size_t aside_least = 0, aside_most = 0, aside;
	struct err err;

	need(fsdriver_enumerate(r->driver, check_found, r, &err), &err);
	for (uint64_t i = 0; i < MESSAGES; i++) {
		enum far far = r->acks->far[i];
		enum end end = plan_of(r->seed, i).end;

		if (far >= COMMITTED && far < END_BEGUN && !r->found[i])
			violation("message %llu was acknowledged and is gone",
				  (unsigned long long)i);
		if (far == ENDED && end != STAYS && r->found[i])
			violation("message %llu was removed and is back", (unsigned long long)i);
		aside_least += end == SET_ASIDE && far >= END_BEGUN && !r->found[i];
		aside_most += end == SET_ASIDE && far >= END_BEGUN;
	}
	aside = count(d->badmail, ".BAD");
	if (aside < aside_least || aside > aside_most || count(d->badmail, ".BDR") < aside ||
	    count(d->badmail, ".BDP") < aside)
		violation("%zu messages in Badmail, %zu to %zu expected", aside, aside_least,
			  aside_most);
	if (count(d->queue, ".tmp"))
		violation("temporary files are left");
	loop_stop(r->loop);
}

static int run(const char *verb, const char *dir, struct run *r)
{
	bool working = strcmp(verb, "work") == 0;
	struct err err;

	need(fsdriver_open(dir, &r->driver, &err), &err);
	((struct fsdriver *)(void *)r->driver)->no_xattr = r->seed % 3 == 0;
	need(loop_new("queue crash", &r->loop, &err), &err);
	loop_enter(r->loop);
	r->workers = working ? WORKERS : 1;
	for (unsigned i = 0; i < r->workers; i++)
		need(fiber_spawn(verb, working ? worker : check, r, &err), &err);
	loop_run(r->loop);
	work_stop();
	fsdriver_close(r->driver);
	loop_free(r->loop);
	return 0;
}

/* ---- the driver ---- */

struct drive {
	const char *program, *lib;
	uint64_t seed, operations;
	unsigned jobs;
	bool full;
	char base[64];
};

struct tally {
	_Atomic uint64_t cuts, completed, violations;
};

struct cut {
	uint64_t at, seed;
	const char *mode;
};

static void set_number(const char *name, uint64_t n)
{
	char text[32];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)n);
	setenv(name, text, 1);
}

static int run_child(const struct drive *d, const char *verb, const char *dir, const char *acks,
		     uint64_t seed, const struct cut *cut)
{
	char number[32], report[96];
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		snprintf(number, sizeof(number), "%llu", (unsigned long long)seed);
		snprintf(report, sizeof(report), "%s.report", dir);
		if (cut) {
			setenv("LD_PRELOAD", d->lib, 1);
			setenv("POWERCUT_ROOT", dir, 1);
			setenv("POWERCUT_MODE", cut->mode, 1);
			setenv("POWERCUT_REPORT", report, 1);
			set_number("POWERCUT_AT", cut->at);
			set_number("POWERCUT_SEED", cut->seed);
		}
		execl(d->program, d->program, verb, dir, number, acks, (char *)NULL);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void fresh(const char *dir, const char *acks)
{
	char command[256];
	int fd;

	snprintf(command, sizeof(command), "rm -rf '%s' '%s'; mkdir '%s'", dir, acks, dir);
	if (system(command) != 0)
		exit(2);
	fd = open(acks, O_RDWR | O_CREAT, 0600);
	if (fd < 0 || ftruncate(fd, sizeof(struct acks)) < 0)
		exit(2);
	close(fd);
}

/* Work until the cut; perhaps a second cut while the restart cleans up; then the check. */
static void one(const struct drive *d, const struct cut *c, const char *dir, struct tally *t)
{
	struct cut second = { .at = 1 + c->at % 5, .seed = c->seed + 1, .mode = c->mode };
	uint64_t seed = d->seed + c->at % 6;
	char acks[96];
	int status;

	snprintf(acks, sizeof(acks), "%s.acks", dir);
	fresh(dir, acks);
	status = run_child(d, "work", dir, acks, seed, c);
	if (status == POWERCUT_EXIT)
		t->cuts++;
	else
		t->completed++;
	if ((status == 0 || status == POWERCUT_EXIT) && c->at % 3 == 0)
		(void)run_child(d, "check", dir, acks, seed, &second);
	if (status == 0 || status == POWERCUT_EXIT)
		status = run_child(d, "check", dir, acks, seed, NULL);
	if (status != 0) {
		fprintf(stderr, "status %d after a cut at %llu, mode %s, seeds %llu %llu, in %s\n",
			status, (unsigned long long)c->at, c->mode, (unsigned long long)seed,
			(unsigned long long)c->seed, dir);
		t->violations++;
	}
}

static void job(const struct drive *d, unsigned number, struct tally *t)
{
	static const char *const modes[] = { "tear", "lose", "tear", "keep" };
	unsigned rounds = d->full ? 12 : 1;
	char dir[80];

	for (unsigned round = 0; round < rounds; round++)
		for (uint64_t n = 1 + number; n <= d->operations; n += d->jobs) {
			struct cut c = { .at = n,
					 .seed = d->seed + n * 17 + round,
					 .mode = modes[(n + round) % 4] };

			snprintf(dir, sizeof(dir), "%s/%u", d->base, number);
			one(d, &c, dir, t);
			if (t->violations)
				return;
		}
}

static uint64_t count_operations(const struct drive *d)
{
	struct cut never = { .at = 0, .seed = 1, .mode = "keep" };
	unsigned long long n = 0, most = 0;
	char dir[80], acks[96], report[96];

	snprintf(dir, sizeof(dir), "%s/count", d->base);
	snprintf(acks, sizeof(acks), "%s.acks", dir);
	snprintf(report, sizeof(report), "%s.report", dir);
	for (uint64_t seed = d->seed; seed < d->seed + 6; seed++) {
		FILE *f;

		fresh(dir, acks);
		if (run_child(d, "work", dir, acks, seed, &never) != 0 ||
		    run_child(d, "check", dir, acks, seed, NULL) != 0)
			violation("the workload does not run through");
		f = fopen(report, "r");
		if (!f || fscanf(f, "%llu", &n) != 1)
			violation("no report from %s: was it preloaded?", d->lib);
		fclose(f);
		most = n > most ? n : most;
	}
	return most;
}

static int drive(struct drive *d)
{
	struct tally *t =
		mmap(NULL, sizeof(*t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	const char *tmp = getenv("TMPDIR");
	char command[128];

	if (t == MAP_FAILED)
		return 2;
	snprintf(d->base, sizeof(d->base), "%.32s/queue-crash-XXXXXX", tmp ? tmp : "/tmp");
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
	printf("seed %llu: %llu operations, %llu cuts, %llu ran through, %llu violations\n",
	       (unsigned long long)d->seed, (unsigned long long)d->operations,
	       (unsigned long long)t->cuts, (unsigned long long)t->completed,
	       (unsigned long long)t->violations);
	snprintf(command, sizeof(command), "rm -rf '%s'", d->base);
	if (t->violations)
		printf("what is left is in %s\n", d->base);
	else if (system(command) != 0)
		return 2;
	return t->violations ? 1 : 0;
}

static int drive_main(int argc, char **argv)
{
	struct drive d = { .lib = argv[2], .program = argv[0], .seed = 1, .jobs = 2 };

	for (int i = 3; i < argc; i++) {
		if (strcmp(argv[i], "--full") == 0)
			d.full = true;
		else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
			d.seed = strtoull(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--jobs") == 0 && i + 1 < argc)
			d.jobs = (unsigned)strtoul(argv[++i], NULL, 10);
		else
			return 2;
	}
	return drive(&d);
}

int main(int argc, char **argv)
{
	struct run r = { 0 };
	int fd;

	if (argc >= 3 && strcmp(argv[1], "drive") == 0)
		return drive_main(argc, argv);
	if (argc != 5) {
		fprintf(stderr, "usage: queue_crash drive LIB [--full] [--seed N] [--jobs N]\n");
		return 2;
	}
	r.seed = strtoull(argv[3], NULL, 10);
	fd = open(argv[4], O_RDWR);
	if (fd < 0)
		return 2;
	r.acks = mmap(NULL, sizeof(*r.acks), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (r.acks == MAP_FAILED)
		return 2;
	return run(argv[1], argv[2], &r);
}
