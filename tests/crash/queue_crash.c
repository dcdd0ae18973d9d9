/* queue_crash.c - the queue folder loses power at every operation; what was promised must be there afterwards.
 *
 *	queue_crash drive LIB ...      (drive.h)
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

#include "drive.h"

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

static bool working;

/* While it works an operation may fail, and it gives up; the check has no faults to hide behind. */
static void need(enum st st, const struct err *err)
{
	if (st == ST_OK)
		return;
	if (!working)
		violation("%s", err->text);
	fprintf(stderr, "ended: %s\n", err->text);
	exit(WORK_ENDED);
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
	struct err err;

	working = strcmp(verb, "work") == 0;
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

int main(int argc, char **argv)
{
	static const struct workload queue = {
		.name = "queue",
		.acks = sizeof(struct acks),
		.seeds = 6,
		.full = 12,
		.recovery = 5,
		.usage = "",
	};
	struct run r = { 0 };

	if (argc >= 2 && strcmp(argv[1], "drive") == 0)
		return drive_main(&queue, argc, argv);
	if (argc != 5) {
		fprintf(stderr, "usage: queue_crash work|check DIR ACKS SEED, or drive ...\n");
		return 1;
	}
	r.acks = drive_acks(argv[3], sizeof(*r.acks));
	r.seed = strtoull(argv[4], NULL, 10);
	return run(argv[1], argv[2], &r);
}
