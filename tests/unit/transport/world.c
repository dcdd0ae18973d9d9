/* world.c - see world.h. */
#include "world.h"

static struct span cut_comma(struct span *rest)
{
	return span_trim(span_split(*rest, ',', rest));
}

static enum st ask(void *arg, struct span address, struct pool *pool, struct ds_object *out,
		   struct err *err)
{
	struct world *w = arg;
	const struct person *p = people;

	if (w->directory_away)
		return fail(err, ST_GONE, "the directory is away");
	while (p->address && !span_ieq(span_str(p->address), address))
		p++;
	*out = (struct ds_object){ .domain_local = memmem(address.at, address.len, "@here", 5) };
	if (!p->address)
		return fail(err, ST_NOTFOUND, "nobody");
	if (p->targets) {
		struct span rest = span_str(p->targets);

		out->kind = OBJECT_ALIAS;
		out->targets = pool_get(pool, 8 * sizeof(*out->targets));
		while (rest.at)
			out->targets[out->ntargets++] = pool_span(pool, cut_comma(&rest));
		return ST_OK;
	}
	out->kind = OBJECT_MAILBOX;
	out->mailbox_id = p->mailbox;
	out->disabled = p->disabled;
	out->user = pool_span(pool, span_str(p->address));
	return ST_OK;
}

static enum aq_result store(void *arg, struct aq_msg *m)
{
	struct world *w = arg;
	char *content;
	size_t len;
	struct err err;

	w->attempts++;
	if (w->trouble != ST_OK) {
		fail(&err, w->trouble, "the store said so");
		return aq_trouble(m, w->trouble, &err);
	}
	content = malloc(sizeof(w->last)); /* others may be here while this one reads */
	must(mailmsg_read(m->m, 0, content, sizeof(w->last), &len, &err) == ST_OK);
	memcpy(w->last, content, len);
	w->last_len = len;
	free(content);
	for (size_t i = 0; i < m->nrcpts; i++) {
		struct aq_rcpt *r = &m->rcpts[i];
		enum st st = w->says[r->mailbox_id];

		if (r->flags & RP_HANDLED || r->route != AQ_ROUTE_LOCAL)
			continue;
		if (st == ST_NOTFOUND) {
			aq_rcpt_failed(m, r, st, RP_ERROR_CONTEXT_STORE, "5.1.1", "vanished");
		} else if (st != ST_OK) {
			r->error = st;
		} else {
			r->flags |= RP_DELIVERED;
			w->got[r->mailbox_id]++;
		}
	}
	return SINK_OK;
}

static enum aq_result seen(void *arg, struct aq_msg *m, enum aq_event event)
{
	struct world *w = arg;

	(void)m;
	w->events[event]++;
	if (event != AQ_TRACK && strlen(w->order) < sizeof(w->order) - 8)
		sprintf(w->order + strlen(w->order), "%d ", (int)event);
	return SINK_OK;
}

static enum aq_result see0(void *arg, struct aq_msg *m)
{
	return seen(arg, m, AQ_SUBMISSION);
}
static enum aq_result see1(void *arg, struct aq_msg *m)
{
	return seen(arg, m, AQ_PRE_CATEGORIZE);
}
static enum aq_result see2(void *arg, struct aq_msg *m)
{
	return seen(arg, m, AQ_CATEGORIZE);
}
static enum aq_result see3(void *arg, struct aq_msg *m)
{
	return seen(arg, m, AQ_POST_CATEGORIZE);
}
static enum aq_result see4(void *arg, struct aq_msg *m)
{
	return seen(arg, m, AQ_ROUTE);
}
static enum aq_result see5(void *arg, struct aq_msg *m)
{
	return seen(arg, m, AQ_STORE_DRIVER);
}

void world_home(struct world *w)
{
	strcpy(w->home, "/tmp/mailroot-aq-XXXXXX");
	must(mkdtemp(w->home) != NULL);
}

void world_open(struct world *w, const struct aq_options *more)
{
	static enum aq_result (*const see[])(void *, struct aq_msg *) = { see0, see1, see2,
									  see3, see4, see5 };
	struct ds_options dso = { .source = &w->source, .ttl_s = 1, .negative_ttl_s = 1 };
	struct aq_options o = more ? *more : (struct aq_options){ 0 };
	struct aq_sink sink = { "store", AQ_STORE_DRIVER, AQ_PRIORITY_DEFAULT, store, w };
	struct err err;

	w->source = (struct ds_source){ ask, w };
	must(fsdriver_open(w->home, &w->driver, &err) == ST_OK);
	must(ds_new(&dso, &w->ds, &err) == ST_OK);
	o.through = w->through;
	o.driver = w->driver;
	o.ds = w->ds;
	o.hostname = "mx.here";
	o.without = 1u << AQ_STORE_DRIVER | 1u << AQ_TRACK;
	must(aq_new(&o, &w->aq, &err) == ST_OK);
	must(aq_sink_add(w->aq, &sink, &err) == ST_OK);
	for (int e = 0; e < 6; e++) {
		sink = (struct aq_sink){ "see", (enum aq_event)e, 0, see[e], w };
		must(aq_sink_add(w->aq, &sink, &err) == ST_OK);
	}
	must(aq_start(w->aq, &err) == ST_OK);
}

void world_close(struct world *w)
{
	struct err err;

	must(aq_stop(w->aq, deadline_in_ms(10000), &err) == ST_OK);
	aq_free(w->aq);
	ds_free(w->ds);
	work_stop();
	fsdriver_close(w->driver);
}

void world_end(struct world *w)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'", w->home);
	must(system(command) == 0);
}

void world_submit(struct world *w, const char *from, const char *to, const char *content)
{
	struct mailmsg_rcpt rcpts[64] = { 0 };
	struct mailmsg_envelope env = { .sender = span_str(from), .rcpts = rcpts };
	struct span rest = span_str(to);
	struct mailmsg *m;
	uint8_t guid[MAILMSG_GUID];
	struct err err;

	while (rest.at)
		rcpts[env.nrcpts++].address = cut_comma(&rest);
	must(aq_admit(w->aq, &err) == ST_OK);
	must(mailmsg_create(w->driver, &m, &err) == ST_OK);
	must(mailmsg_write(m, content, strlen(content), &err) == ST_OK);
	memcpy(guid, mailmsg_guid(m), sizeof(guid));
	must(aq_accept(w->aq, m, &env, &err) == ST_OK);
	must(memcmp(guid, env.guid, sizeof(guid)) == 0 && env.size == strlen(content));
}

static void add_up(void *arg, const struct aq_queue_view *v)
{
	uint64_t *n = arg;

	if (v->kind != AQ_Q_RETRY && v->kind != AQ_Q_DEFERRED)
		*n += strcmp(v->state, "retry") == 0 ? v->active : v->messages;
}

void world_settle(struct world *w)
{
	uint64_t n = 1;

	for (unsigned quiet = 0; quiet < 3;) {
		fiber_sleep(deadline_in_ms(2));
		n = 0;
		aq_queues(w->aq, add_up, &n);
		quiet = n ? 0 : quiet + 1;
	}
}

size_t world_files(const struct world *w, const char *folder, const char *extension)
{
	char path[128];
	DIR *dir;
	size_t n = 0;

	snprintf(path, sizeof(path), "%s/%s", w->home, folder);
	dir = opendir(path);
	must(dir != NULL);
	for (struct dirent *e; (e = readdir(dir));) {
		size_t len = strlen(e->d_name), ext = strlen(extension);

		n += e->d_name[0] != '.' && len >= ext &&
		     strcmp(e->d_name + len - ext, extension) == 0;
	}
	closedir(dir);
	return n;
}

struct wanted {
	enum aq_queue_kind kind;
	uint64_t n;
};

static void pick(void *arg, const struct aq_queue_view *v)
{
	struct wanted *want = arg;

	if (v->kind == want->kind)
		want->n = v->messages;
}

uint64_t world_queue(const struct world *w, enum aq_queue_kind kind)
{
	struct wanted want = { kind, 0 };

	aq_queues(w->aq, pick, &want);
	return want.n;
}
