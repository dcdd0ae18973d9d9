#include "rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

int rig_listen(const char *path)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
	unlink(path);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(fd, 16), 0);
	return fd;
}

static void *run(void *arg)
{
	loop_run(arg);
	return NULL;
}

static void thread_start(struct rig_thread *t, struct loop **loop, const char *name)
{
	struct err err;

	assert_int_equal(loop_new(name, &t->loop, &err), ST_OK);
	*loop = t->loop;
}

static void thread_stop(struct rig_thread *t)
{
	loop_stop(t->loop);
	pthread_join(t->thread, NULL);
}

static void threads_run(struct rig_thread *t, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(pthread_create(&t[i].thread, NULL, run, t[i].loop), 0);
}

void rig_reach(const atomic_int *at, int want)
{
	int64_t give_up = deadline_in_ms(20000);

	while (atomic_load(at) < want) {
		struct timespec nap = { .tv_nsec = 200 * 1000 };

		assert_true(clock_mono() < give_up);
		nanosleep(&nap, NULL);
	}
}

/* ---- the store ---- */

static enum st on_bind(void *arg, uint64_t id, const char *name, uint32_t uid, uint32_t pid,
		       void **data, struct err *err)
{
	struct rig *r = arg;

	(void)id;
	assert_int_equal(uid, getuid());
	assert_int_equal(pid, getpid());
	if (strcmp(name, "stranger") == 0)
		return fail(err, ST_DENIED, "no strangers");
	atomic_fetch_add(&r->binds, 1);
	*data = r;
	return ST_OK;
}

static void on_unbound(void *arg, uint64_t id, void *data)
{
	struct rig *r = arg;

	(void)id;
	(void)data;
	atomic_fetch_add(&r->unbounds, 1);
}

static void on_unbound_all(void *arg, uint64_t id, void *data)
{
	struct rig *r = arg;

	(void)id;
	(void)data;
	atomic_fetch_add(&r->unbound_alls, 1);
	sem_post(&r->changed);
}

/* Answers with the request's payload. */
static void on_request(void *arg, struct exipc_request *rq)
{
	struct rig *r = arg;

	atomic_fetch_add(&r->handled, 1);
	(void)exipc_reply(rq, ST_OK, rq->payload, false, NULL, NULL);
}

void rig_init(struct rig *r, unsigned client_loops, unsigned store_loops)
{
	static atomic_int number;

	memset(r, 0, sizeof(*r));
	snprintf(r->path, sizeof(r->path), "/tmp/mailroot-exipc-%d-%d", (int)getpid(),
		 atomic_fetch_add(&number, 1));
	r->client_loops = client_loops;
	r->store_loops = store_loops;
	r->so = (struct exipc_server_options){ .version = RIG_VERSION,
					       .bind = on_bind,
					       .request = on_request,
					       .unbound = on_unbound,
					       .unbound_all = on_unbound_all,
					       .arg = r };
	sem_init(&r->changed, 0, 0);
}

void rig_store(struct rig *r)
{
	struct err err;

	for (unsigned i = 0; i < r->store_loops; i++)
		thread_start(&r->store[i], &r->store_loop[i], "store");
	r->so.listen_fd = rig_listen(r->path);
	r->so.loops = r->store_loop;
	r->so.nloops = r->store_loops;
	assert_int_equal(exipc_server_new(&r->so, &r->server, &err), ST_OK);
	threads_run(r->store, r->store_loops);
}

void rig_store_stop(struct rig *r)
{
	if (!r->server)
		return;
	exipc_server_stop(r->server);
	rig_reach(&r->unbound_alls, atomic_load(&r->binds));
	for (unsigned i = 0; i < r->store_loops; i++)
		thread_stop(&r->store[i]);
	exipc_server_free(r->server);
	r->server = NULL;
	for (unsigned i = 0; i < r->store_loops; i++)
		loop_free(r->store[i].loop);
	unlink(r->path);
}

/* ---- the client ---- */

static void on_state(void *arg, bool bound)
{
	struct rig *r = arg;

	atomic_fetch_add(bound ? &r->states_bound : &r->states_lost, 1);
	sem_post(&r->changed);
}

static void on_notify(void *arg, struct exipc_chan *chan, uint64_t token, uint64_t value)
{
	struct rig *r = arg;

	if (r->notify)
		r->notify(r, chan, token, value);
}

void rig_client(struct rig *r)
{
	struct err err;

	for (unsigned i = 0; i < r->client_loops; i++)
		thread_start(&r->inet[i], &r->client_loop[i], "inet");
	struct exipc_client_options co = { .socket_path = r->path,
					   .name = "inet",
					   .version = RIG_VERSION,
					   .loops = r->client_loop,
					   .nloops = r->client_loops,
					   .state = on_state,
					   .notify = on_notify,
					   .arg = r };
	assert_int_equal(exipc_client_new(&co, &r->client, &err), ST_OK);
	threads_run(r->inet, r->client_loops);
}

void rig_client_stop(struct rig *r)
{
	if (!r->client)
		return;
	exipc_client_stop(r->client);
	rig_reach(&r->states_lost, atomic_load(&r->states_bound));
	for (unsigned i = 0; i < r->client_loops; i++)
		thread_stop(&r->inet[i]);
	exipc_client_free(r->client);
	r->client = NULL;
	for (unsigned i = 0; i < r->client_loops; i++)
		loop_free(r->inet[i].loop);
}

void rig_done(struct rig *r)
{
	rig_client_stop(r);
	rig_store_stop(r);
	sem_destroy(&r->changed);
}

struct errand {
	void (*fn)(void *arg);
	void *arg;
	sem_t done;
};

static void errand_fiber(void *arg)
{
	struct errand *e = arg;

	e->fn(e->arg);
	sem_post(&e->done);
}

static void errand_post(void *arg)
{
	struct err err;

	assert_int_equal(fiber_spawn("errand", errand_fiber, arg, &err), ST_OK);
}

void rig_run(struct rig *r, unsigned client_loop, void (*fn)(void *arg), void *arg)
{
	struct errand e = { .fn = fn, .arg = arg };

	sem_init(&e.done, 0, 0);
	loop_post(r->client_loop[client_loop], errand_post, &e);
	while (sem_wait(&e.done) < 0 && errno == EINTR)
		continue;
	sem_destroy(&e.done);
}
