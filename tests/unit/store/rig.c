#include "rig.h"

#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

struct err rig_err;

/* A signal (the fuzzer's clock) must not end the wait. */
static void wait_turn(struct rig *r)
{
	while (sem_wait(&r->turn) != 0)
		;
}

/* ---- up and down ---- */

void rig_make(struct rig *r, const char *settings)
{
	static const char conf[] = "log_segment_bytes = 1048576\n"
				   "checkpoint_bytes = 4194304\n"
				   "auth_failure_delay_ms = 1\n"
				   "message_size_max = 33554432\n";
	char text[1024];

	*r = (struct rig){ .home = "/tmp/mailroot-store-XXXXXX" };
	CHECK(mkdtemp(r->home));
	snprintf(text, sizeof text, "%s%s", conf, settings);
	CHECK_ST(config_parse(r->home, "test.conf", span_str(text), &r->conf, &rig_err), ST_OK);
	sem_init(&r->turn, 0, 0);
}

static int remove_one(const char *path, const struct stat *sb, int flag, struct FTW *f)
{
	(void)sb;
	(void)flag;
	(void)f;
	return remove(path);
}

void rig_remove(struct rig *r)
{
	nftw(r->home, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	config_free(r->conf);
	sem_destroy(&r->turn);
}

static void *run(void *arg)
{
	loop_run(arg);
	return NULL;
}

static void broken(const struct err *why)
{
	fprintf(stderr, "the engine broke: %s\n", why->text);
	abort();
}

static void start_server(void *arg)
{
	struct rig *r = arg;

	CHECK_ST(server_start(r->server, &rig_err), ST_OK);
	sem_post(&r->turn);
}

static void on_notify(void *arg, struct exipc_chan *chan, uint64_t token, uint64_t value)
{
	struct rig *r = arg;

	(void)chan;
	r->token = token;
	r->value = value;
	r->notified++;
}

static void start_clients(void *arg)
{
	struct rig *r = arg;
	char path[128];
	struct exipc_client_options o = { .socket_path = path,
					  .name = "inet",
					  .version = WIRE_VERSION,
					  .loops = &r->client_loop,
					  .nloops = 1,
					  .notify = on_notify,
					  .arg = r };

	snprintf(path, sizeof path, "%s/run/exipc", r->home);
	CHECK_ST(exipc_client_new(&o, &r->host, &rig_err), ST_OK);
	o.name = "admin";
	CHECK_ST(exipc_client_new(&o, &r->admin, &rig_err), ST_OK);
	sem_post(&r->turn);
}

static void wait_bound(struct rig *r)
{
	CHECK_ST(exipc_wait_bound(rig_chan(r), deadline_in_ms(20000), &rig_err), ST_OK);
	CHECK_ST(exipc_wait_bound(rig_admin(r), deadline_in_ms(20000), &rig_err), ST_OK);
}

static void client_up(struct rig *r)
{
	CHECK_ST(loop_new("client", &r->client_loop, &rig_err), ST_OK);
	CHECK(!pthread_create(&r->client_thread, NULL, run, r->client_loop));
	loop_post(r->client_loop, start_clients, r);
	wait_turn(r);
	rig_run(r, wait_bound);
}

static void client_down(struct rig *r)
{
	loop_stop(r->client_loop);
	pthread_join(r->client_thread, NULL);
	exipc_client_free(r->host);
	exipc_client_free(r->admin);
	loop_free(r->client_loop);
}

void rig_new_client(struct rig *r)
{
	client_down(r);
	client_up(r);
}

void rig_up(struct rig *r, unsigned loops)
{
	struct server_options o = { .conf = r->conf,
				    .loops = r->loops,
				    .nloops = loops,
				    .listen_fd = -1,
				    .broken = broken };

	r->nloops = loops;
	for (unsigned i = 0; i < loops; i++)
		CHECK_ST(loop_new("store", &r->loops[i], &rig_err), ST_OK);
	CHECK_ST(server_open(&o, &r->server, &rig_err), ST_OK);
	for (unsigned i = 0; i < loops; i++)
		CHECK(!pthread_create(&r->threads[i], NULL, run, r->loops[i]));
	loop_post(r->loops[0], start_server, r);
	wait_turn(r);
	client_up(r);
}

static void stopped(void *arg)
{
	sem_post(&((struct rig *)arg)->turn);
}

static void stop_server(void *arg)
{
	struct rig *r = arg;

	server_stop(r->server, stopped, r);
}

void rig_down(struct rig *r)
{
	loop_post(r->loops[0], stop_server, r);
	wait_turn(r);
	client_down(r);
	for (unsigned i = 0; i < r->nloops; i++)
		loop_stop(r->loops[i]);
	for (unsigned i = 0; i < r->nloops; i++)
		pthread_join(r->threads[i], NULL);
	server_close(r->server);
	work_stop();
	for (unsigned i = 0; i < r->nloops; i++)
		loop_free(r->loops[i]);
}

struct errand {
	struct rig *r;
	void (*fn)(struct rig *r);
};

static void errand_run(void *arg)
{
	struct errand *e = arg;

	e->fn(e->r);
	sem_post(&e->r->turn);
}

static void errand_start(void *arg)
{
	CHECK_ST(fiber_spawn("test", errand_run, arg, &rig_err), ST_OK);
}

void rig_run(struct rig *r, void (*fn)(struct rig *r))
{
	struct errand e = { r, fn };

	loop_post(r->client_loop, errand_start, &e);
	wait_turn(r);
}

/* ---- requests ---- */

struct exipc_chan *rig_chan(struct rig *r)
{
	return exipc_chan(r->host);
}

struct exipc_chan *rig_admin(struct rig *r)
{
	return exipc_chan(r->admin);
}

static enum st send_done(struct wire_msg *m, struct exipc_chan *chan, unsigned loop,
			 enum wire_op op)
{
	struct wire_answer a;
	enum st st = wire_send(m, chan, loop, op, &a, &rig_err);

	wire_answer_free(&a);
	return st;
}

enum st rig_add_domain(struct rig *r, const char *domain)
{
	struct wire_msg m;

	wire_begin(&m, 1);
	pw_str(&m.w, PR_DOMAIN, domain);
	return send_done(&m, rig_admin(r), 0, WIRE_DS_DOMAIN_ADD);
}

enum st rig_add_user(struct rig *r, const char *user, const char *password, uint64_t *mailbox)
{
	struct wire_answer a;
	struct wire_msg m;
	enum st st;

	wire_begin(&m, 2);
	pw_str(&m.w, PR_USER, user);
	pw_str(&m.w, PR_PASSWORD, password);
	st = wire_send(&m, rig_admin(r), 0, WIRE_DS_USER_ADD, &a, &rig_err);
	if (st == ST_OK && mailbox)
		*mailbox = plist_u64(&a.list, PR_MAILBOX_ID, 0);
	wire_answer_free(&a);
	return st;
}

void rig_people(struct rig *r)
{
	CHECK_ST(rig_add_domain(r, "mailroot.test"), ST_OK);
	CHECK_ST(rig_add_user(r, "alice@mailroot.test", "demo", NULL), ST_OK);
	CHECK_ST(rig_add_user(r, "bob@mailroot.test", "demo", NULL), ST_OK);
}

enum st rig_login(struct rig *r, const char *user, const char *password, struct who *out)
{
	char data[1024];
	struct wire_answer a;
	struct wire_msg m;
	enum st st;
	int n = snprintf(data, sizeof data, "%c%s%c%s", 0, user, 0, password);

	wire_begin(&m, 5);
	pw_str(&m.w, PR_MECHANISM, "PLAIN");
	pw_str(&m.w, PR_SERVICE, "imap");
	pw_str(&m.w, PR_CLIENT_IP, "127.0.0.1");
	pw_bool(&m.w, PR_TLS, true);
	pw_span(&m.w, PR_SASL_DATA, span_of(data, (size_t)n));
	st = wire_send(&m, rig_chan(r), 0, WIRE_DS_SASL_START, &a, &rig_err);
	if (st == ST_OK)
		*out = (struct who){ r, plist_u64(&a.list, PR_LOGON, 0),
				     plist_u64(&a.list, PR_MAILBOX_ID, 0) };
	wire_answer_free(&a);
	return st;
}

static void put_body(struct wire_msg *m, struct exipc_chan *chan, unsigned loop, const char *text,
		     size_t len)
{
	while (len) {
		size_t n = len < EXIPC_SECTION ? len : EXIPC_SECTION;

		CHECK(m->nsections < EXIPC_BULK_MAX);
		CHECK_ST(exipc_section_get(chan, loop, deadline_in_ms(20000),
					   &m->sections[m->nsections], &rig_err),
			 ST_OK);
		memcpy(m->sections[m->nsections].at, text, n);
		m->used[m->nsections++] = (uint32_t)n;
		text += n;
		len -= n;
	}
}

enum st rig_deliver(struct rig *r, const char *guid16, const uint64_t *mailboxes, size_t n,
		    const char *text, size_t len, enum st *statuses)
{
	unsigned loop = wire_loop(rig_chan(r), mailboxes[0]);
	struct wire_answer a;
	struct wire_msg m;
	enum st st;

	wire_begin(&m, 2);
	pw_span(&m.w, PR_MSG_GUID, span_of(guid16, 16));
	pw_mv_num(&m.w, PR_RECIPIENT_MAILBOXES, mailboxes, n);
	put_body(&m, rig_chan(r), loop, text, len);
	st = wire_send(&m, rig_chan(r), loop, WIRE_SMTP_DELIVER, &a, &rig_err);
	if (st == ST_OK)
		CHECK(plist_mv_count(&a.list, PR_STATUSES) == n);
	for (size_t i = 0; i < n && st == ST_OK; i++)
		statuses[i] = (enum st)plist_mv_num(&a.list, PR_STATUSES, i);
	wire_answer_free(&a);
	return st;
}

void rig_mail(struct rig *r, uint64_t mailbox, const char *text)
{
	char guid[16];
	enum st status;

	random_bytes(guid, sizeof guid);
	CHECK_ST(rig_deliver(r, guid, &mailbox, 1, text, strlen(text), &status), ST_OK);
	CHECK_ST(status, ST_OK);
}

void rig_begin(struct wire_msg *m, const struct who *w, size_t props)
{
	wire_begin(m, props + 1);
	pw_u64(&m->w, PR_LOGON, w->logon);
}

enum st rig_send(struct wire_msg *m, const struct who *w, enum wire_op op, struct wire_answer *a)
{
	struct exipc_chan *chan = rig_chan(w->r);

	return wire_send(m, chan, wire_loop(chan, w->mailbox), op, a, &rig_err);
}

enum st rig_do(struct wire_msg *m, const struct who *w, enum wire_op op)
{
	struct wire_answer a;
	enum st st = rig_send(m, w, op, &a);

	wire_answer_free(&a);
	return st;
}

/* ---- folders and messages ---- */

void rig_set_text(struct span bytes, char *out, size_t room)
{
	struct buf text = BUF_MAX(65536);
	struct uset s = { 0 };

	CHECK_ST(uset_read(bytes, &s, &rig_err), ST_OK);
	uset_text(&s, &text);
	snprintf(out, room, SPAN_FMT, SPAN_ARG(buf_get(&text)));
	uset_free(&s);
	buf_free(&text);
}

void rig_put_uids(struct wire_msg *m, uint32_t tag, const char *text)
{
	struct span rest = span_str(text);
	struct buf bytes = BUF_MAX(65536);
	struct uset s = { 0 };

	while (rest.len) {
		struct span last, first = span_split(span_split(rest, ',', &rest), ':', &last);
		uint32_t a = 0, b = 0;

		CHECK(span_u32(first, &a));
		CHECK(!last.at || span_u32(last, &b));
		CHECK_ST(uset_add(&s, a, last.at ? b : a), ST_OK);
	}
	uset_write(&s, &bytes);
	pw_span(&m->w, tag, bytes.len ? buf_get(&bytes) : SPAN(""));
	uset_free(&s);
	buf_free(&bytes);
}

enum st rig_select(const struct who *w, const char *path, bool readonly, uint64_t *fid,
		   struct uset *uids, uint64_t *cn)
{
	struct wire_answer a;
	struct wire_msg m;
	enum st st;

	rig_begin(&m, w, 3);
	pw_str(&m.w, PR_FOLDER_PATH, path);
	pw_bool(&m.w, PR_READONLY, readonly);
	pw_u64(&m.w, PR_WATCH_TOKEN, 77);
	st = rig_send(&m, w, WIRE_IMAP_SELECT, &a);
	if (st == ST_OK) {
		*fid = plist_u64(&a.list, PR_FID, 0);
		if (uids)
			CHECK_ST(uset_read(plist_span(&a.list, PR_UIDS), uids, &rig_err), ST_OK);
		if (cn)
			*cn = plist_u64(&a.list, PR_CHANGE_NUM, 0);
	}
	wire_answer_free(&a);
	return st;
}

enum st rig_store(const struct who *w, uint64_t fid, const char *uids, enum wire_store_mode mode,
		  uint32_t flags, const char *keyword)
{
	struct span word = span_str(keyword);
	struct wire_msg m;

	rig_begin(&m, w, 5);
	pw_u64(&m.w, PR_FID, fid);
	rig_put_uids(&m, PR_UIDS, uids);
	pw_u32(&m.w, PR_STORE_MODE, mode);
	pw_u32(&m.w, PR_IMAP_FLAGS, flags);
	pw_mv_span(&m.w, PR_KEYWORDS, &word, keyword ? 1 : 0);
	return rig_do(&m, w, WIRE_IMAP_STORE);
}

enum st rig_expunge(const struct who *w, uint64_t fid, char *gone, size_t room)
{
	struct wire_answer a;
	struct wire_msg m;
	enum st st;

	rig_begin(&m, w, 1);
	pw_u64(&m.w, PR_FID, fid);
	st = rig_send(&m, w, WIRE_IMAP_EXPUNGE, &a);
	if (st == ST_OK)
		rig_set_text(plist_span(&a.list, PR_UIDS), gone, room);
	wire_answer_free(&a);
	return st;
}

enum st rig_copy(const struct who *w, uint64_t fid, const char *uids, const char *path, bool move,
		 char *to, size_t room)
{
	struct wire_answer a;
	struct wire_msg m;
	enum st st;

	rig_begin(&m, w, 4);
	pw_u64(&m.w, PR_FID, fid);
	rig_put_uids(&m, PR_UIDS, uids);
	pw_str(&m.w, PR_FOLDER_PATH, path);
	pw_bool(&m.w, PR_MOVE, move);
	st = rig_send(&m, w, WIRE_IMAP_COPY, &a);
	if (st == ST_OK)
		rig_set_text(plist_span(&a.list, PR_UIDS_NEW), to, room);
	wire_answer_free(&a);
	return st;
}

enum st rig_append(const struct who *w, const char *path, const char *text, uint32_t flags,
		   uint32_t *uid)
{
	struct exipc_chan *chan = rig_chan(w->r);
	struct wire_answer a;
	struct wire_msg m;
	enum st st;

	rig_begin(&m, w, 3);
	pw_str(&m.w, PR_FOLDER_PATH, path);
	pw_u32(&m.w, PR_IMAP_FLAGS, flags);
	put_body(&m, chan, wire_loop(chan, w->mailbox), text, strlen(text));
	st = rig_send(&m, w, WIRE_IMAP_APPEND, &a);
	if (st == ST_OK)
		*uid = plist_u32(&a.list, PR_INTERNET_ARTICLE_NUMBER, 0);
	wire_answer_free(&a);
	return st;
}

enum st rig_path_op(const struct who *w, enum wire_op op, const char *path, const char *to)
{
	struct wire_msg m;

	rig_begin(&m, w, 2);
	pw_str(&m.w, PR_FOLDER_PATH, path);
	if (to)
		pw_str(&m.w, PR_NEW_PATH, to);
	return rig_do(&m, w, op);
}

void rig_read_scatter(struct rig *r, const struct plist *row, struct buf *out)
{
	struct exipc_fd *fd = exipc_fd_hold(rig_chan(r), plist_u64(row, PR_STREAM_TAG, 0));
	struct scatter s;
	uint64_t left;

	CHECK(fd);
	CHECK_ST(scatter_read(plist_span(row, PR_BODY_SCATTER), &s, &rig_err), ST_OK);
	left = s.len;
	for (uint32_t i = 0; i < s.nruns; i++) {
		struct scatter_run run = scatter_run(&s, i);
		size_t n = (size_t)run.pages * SCATTER_PAGE;
		char *room;

		if (n > left)
			n = (size_t)left;
		room = buf_room(out, n);
		CHECK(room);
		CHECK(pread(exipc_fd_get(fd), room, n, (off_t)run.page * SCATTER_PAGE) ==
		      (ssize_t)n);
		out->len += n;
		left -= n;
	}
	CHECK(!left);
	exipc_fd_drop(fd);
}

enum st rig_body(const struct who *w, uint64_t fid, uint32_t uid, struct buf *out)
{
	struct wire_answer a;
	struct wire_msg m;
	char uids[16];
	enum st st;

	snprintf(uids, sizeof uids, "%u", uid);
	rig_begin(&m, w, 3);
	pw_u64(&m.w, PR_FID, fid);
	rig_put_uids(&m, PR_UIDS, uids);
	pw_u32(&m.w, PR_WANT, WANT_BODY);
	st = rig_send(&m, w, WIRE_IMAP_FETCH, &a);
	if (st == ST_OK)
		st = wire_next_row(&a, &rig_err);
	if (st == ST_OK)
		rig_read_scatter(w->r, &a.list, out);
	wire_answer_free(&a);
	return st;
}

enum st rig_search(const struct who *w, uint64_t fid, const struct search_node *program,
		   char *found, size_t room)
{
	struct buf bytes = BUF_MAX(65536);
	struct wire_answer a;
	struct wire_msg m;
	enum st st;

	CHECK_ST(search_write(program, &bytes, &rig_err), ST_OK);
	rig_begin(&m, w, 3);
	pw_u64(&m.w, PR_FID, fid);
	pw_span(&m.w, PR_SEARCH_PROGRAM, buf_get(&bytes));
	rig_put_uids(&m, PR_UIDS, "1:100000");
	buf_free(&bytes);
	st = rig_send(&m, w, WIRE_IMAP_SEARCH, &a);
	if (st == ST_OK)
		rig_set_text(plist_span(&a.list, PR_UIDS), found, room);
	wire_answer_free(&a);
	return st;
}
