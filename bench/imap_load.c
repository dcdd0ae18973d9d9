/* imap_load.c - the reading half of a mail server under load.
 *
 *	imap_load PORT USER PASSWORD append MAILBOX COUNT SIZE
 *	imap_load PORT USER PASSWORD fetch MAILBOX ITEMS REPETITIONS
 *	imap_load PORT USER PASSWORD fetch-each MAILBOX ITEMS COUNT
 *	imap_load PORT USER PASSWORD select MAILBOX REPETITIONS
 *	imap_load PORT USER PASSWORD login REPETITIONS
 *	imap_load PORT USER PASSWORD idle REPETITIONS append
 *	imap_load PORT USER PASSWORD idle REPETITIONS SMTP_PORT
 *	imap_load PORT USER PASSWORD hold CONNECTIONS USERS
 *
 * hold: connection i logs in as USER with its first '%' replaced by i mod USERS, selects INBOX and idles; says
 * "ready" and stays until standard input ends. */
#include "client.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROOM            (256 * 1024UL)
#define APPEND_WINDOW   20
#define MULTIAPPEND     100
#define NOTICE_SIZE     4096
#define NOTICE_GAP_US   300000
#define NOTICE_PATIENCE 60000 /* milliseconds */

struct args {
	unsigned port;
	const char *user, *password;
	int n; /* words after the verb */
	char **words;
};

static unsigned word_number(const struct args *a, int i)
{
	return (unsigned)number_of(a->words[i]);
}

static struct client logged_in(const struct args *a)
{
	struct client c;

	imap_login(&c, a->port, ROOM, a->user, a->password);
	return c;
}

static void log_out(struct client *c)
{
	imap_command(c, NULL, "LOGOUT");
	client_close(c);
}

/* ---- append ---- */

static bool can(struct client *c, const char *capability)
{
	size_t len;
	char *line;
	bool found = false;

	client_print(c, "t%u CAPABILITY\r\n", ++c->tag);
	while ((line = client_line(c, true, &len)), line[0] == '*')
		found = found || memmem(line, len, capability, strlen(capability));
	return found;
}

/* Many messages a command where the server can, else many commands under way. */
static void append(const struct args *a)
{
	const char *mailbox = a->words[0];
	unsigned count = word_number(a, 1), sent = 0, answered = 0;
	size_t size = word_number(a, 2);
	struct client c = logged_in(a);
	struct imap_seen seen = { 0 };
	unsigned each = can(&c, "MULTIAPPEND") ? MULTIAPPEND : 1;
	unsigned window = each > 1 ? each : APPEND_WINDOW;
	char *body = malloc(size);

	if (!body || size < MESSAGE_MIN)
		give_up("a message of %zu octets", size);
	double start = now();

	while (answered < count) {
		while (sent < count && sent - answered < window) {
			client_print(&c, "t%u APPEND %s", ++c.tag, mailbox);
			for (unsigned i = 0; i < each && sent < count; i++, sent++) {
				make_message(body, sent, size);
				client_print(&c, " {%zu+}\r\n", size);
				client_send(&c, body, size);
			}
			client_send(&c, "\r\n", 2);
		}
		imap_finish(&c, &seen);
		answered = each > 1 ? sent : answered + 1;
	}
	printf("messages=%u wall_s=%.4f\n", count, now() - start);
	log_out(&c);
	free(body);
}

/* ---- fetch, select, login ---- */

static void print_fetched(const struct imap_seen *seen, const struct client *c, uint64_t received,
			  double start, double cpu)
{
	printf("messages=%llu octets=%llu received=%llu wall_s=%.4f client_cpu=%.4f\n",
	       (unsigned long long)seen->fetches, (unsigned long long)seen->octets,
	       (unsigned long long)(c->received - received), now() - start, cpu_used() - cpu);
}

static void fetch(const struct args *a)
{
	struct client c = logged_in(a);
	struct imap_seen seen = { 0 };
	unsigned times = word_number(a, 2);

	imap_command(&c, NULL, "EXAMINE %s", a->words[0]);
	uint64_t received = c.received;
	double start = now(), cpu = cpu_used();

	for (unsigned i = 0; i < times; i++)
		imap_command(&c, &seen, "FETCH 1:* %s", a->words[1]);
	print_fetched(&seen, &c, received, start, cpu);
	log_out(&c);
}

static void fetch_each(const struct args *a)
{
	struct client c = logged_in(a);
	struct imap_seen seen = { 0 };
	unsigned count = word_number(a, 2);

	imap_command(&c, NULL, "EXAMINE %s", a->words[0]);
	uint64_t received = c.received;
	double start = now(), cpu = cpu_used();

	for (unsigned i = 1; i <= count; i++)
		imap_command(&c, &seen, "FETCH %u %s", i, a->words[1]);
	print_fetched(&seen, &c, received, start, cpu);
	log_out(&c);
}

/* The mailbox is opened in a new session each time, and again in that session. */
static void select_mailbox(const struct args *a)
{
	unsigned n = word_number(a, 1);
	double *first = calloc(n, sizeof(*first)), *again = calloc(n, sizeof(*again));
	struct imap_seen seen = { 0 };

	if (!first || !again)
		give_up("out of memory");
	for (unsigned i = 0; i < n; i++) {
		struct client c = logged_in(a);
		double start = now();

		imap_command(&c, &seen, "SELECT %s", a->words[0]);
		first[i] = now() - start;
		imap_command(&c, NULL, "UNSELECT");
		start = now();
		imap_command(&c, &seen, "SELECT %s", a->words[0]);
		again[i] = now() - start;
		log_out(&c);
	}
	printf("messages=%llu", (unsigned long long)seen.exists);
	print_times("first_ms", first, n);
	print_times("again_ms", again, n);
	putchar('\n');
	free(first);
	free(again);
}

static void login(const struct args *a)
{
	unsigned n = word_number(a, 0);
	double *times = calloc(n, sizeof(*times)), all = now();

	if (!times)
		give_up("out of memory");
	for (unsigned i = 0; i < n; i++) {
		double start = now();
		struct client c = logged_in(a);

		times[i] = now() - start;
		log_out(&c);
	}
	printf("logins=%u wall_s=%.4f", n, now() - all);
	print_times("login_ms", times, n);
	putchar('\n');
	free(times);
}

/* ---- idle: when does a session hear of a new message ---- */

static void expect_smtp(struct client *c)
{
	size_t len;
	char *line;

	do {
		line = client_line(c, true, &len);
		if (len < 3 || (line[0] != '2' && line[0] != '3'))
			give_up("the server says: %.*s", (int)len, line);
	} while (len > 3 && line[3] == '-');
}

static void start_smtp(struct client *c, unsigned port)
{
	client_dial(c, port, ROOM);
	expect_smtp(c);
	client_print(c, "EHLO load.example.org\r\n");
	expect_smtp(c);
}

/* Everything but the end of a message, so that the last bytes are what is timed. */
static void begin_message(const struct args *a, struct client *c, bool smtp)
{
	static char body[NOTICE_SIZE];

	make_message(body, 1, sizeof(body));
	if (!smtp) {
		client_print(c, "t%u APPEND INBOX {%zu+}\r\n", ++c->tag, sizeof(body));
		client_send(c, body, sizeof(body));
		return;
	}
	client_print(c, "MAIL FROM:<sender@example.org>\r\n");
	expect_smtp(c);
	client_print(c, "RCPT TO:<%s>\r\n", a->user);
	expect_smtp(c);
	client_print(c, "DATA\r\n");
	expect_smtp(c);
	client_send(c, body, sizeof(body));
}

/* The moments of the OK and of the notice, whichever is first. */
static void await_both(struct client *writer, bool smtp, struct client *idler, double *ok,
		       double *notice)
{
	struct imap_seen seen = { 0 }, appended = { 0 };

	*ok = *notice = 0;
	while (*ok == 0 || *notice == 0) {
		struct pollfd fds[] = { { .fd = *ok == 0 ? writer->fd : -1, .events = POLLIN },
					{ .fd = *notice == 0 ? idler->fd : -1, .events = POLLIN } };

		if (poll(fds, 2, NOTICE_PATIENCE) <= 0)
			give_up("no notice in %d ms", NOTICE_PATIENCE);
		if (fds[0].revents != 0) {
			if (smtp)
				expect_smtp(writer);
			else
				imap_finish(writer, &appended);
			*ok = now();
		}
		if (fds[1].revents != 0) {
			do
				imap_reply(idler, &seen);
			while (idler->from < idler->to);
			if (seen.notices > 0)
				*notice = now();
		}
	}
}

static void idle(const struct args *a)
{
	unsigned n = word_number(a, 0);
	bool smtp = strcmp(a->words[1], "append") != 0;
	double *from_ok = calloc(n, sizeof(*from_ok)), *from_end = calloc(n, sizeof(*from_end));
	struct client idler = logged_in(a), writer;
	struct imap_seen seen = { 0 };

	if (!from_ok || !from_end)
		give_up("out of memory");
	if (smtp)
		start_smtp(&writer, word_number(a, 1));
	else
		writer = logged_in(a);
	imap_command(&idler, NULL, "SELECT INBOX");
	client_print(&idler, "t%u IDLE\r\n", ++idler.tag);
	while (imap_reply(&idler, &seen) != IMAP_CONTINUE)
		continue;
	for (unsigned i = 0; i < n; i++) {
		double ok, notice;

		usleep(NOTICE_GAP_US);
		while (client_fill(&idler, false))
			idler.from = idler.to;
		begin_message(a, &writer, smtp);
		double start = now();

		client_print(&writer, smtp ? ".\r\n" : "\r\n");
		await_both(&writer, smtp, &idler, &ok, &notice);
		from_ok[i] = notice - ok;
		from_end[i] = notice - start;
	}
	printf("notices=%u", n);
	print_times("from_ok_ms", from_ok, n);
	print_times("from_end_ms", from_end, n);
	putchar('\n');
	free(from_ok);
	free(from_end);
}

/* ---- hold ---- */

static void hold(const struct args *a)
{
	unsigned n = word_number(a, 0), users = word_number(a, 1);
	const char *mark = strchr(a->user, '%');
	struct client c;
	struct imap_seen seen = { 0 };
	char user[256];
	double start = now();

	if (!mark || users == 0)
		give_up("hold needs a '%%' in the user and at least one user");
	for (unsigned i = 0; i < n; i++) {
		snprintf(user, sizeof(user), "%.*s%u%s", (int)(mark - a->user), a->user, i % users,
			 mark + 1);
		imap_login(&c, a->port, 1024, user, a->password);
		imap_command(&c, NULL, "SELECT INBOX");
		client_print(&c, "i IDLE\r\n");
		while (imap_reply(&c, &seen) != IMAP_CONTINUE)
			continue;
		free(c.buffer); /* the connection stays open */
	}
	printf("ready connections=%u wall_s=%.4f\n", n, now() - start);
	fflush(stdout);
	while (getchar() != EOF)
		continue;
}

/* ---- the command line ---- */

static const struct {
	const char *name;
	int words;
	void (*run)(const struct args *a);
} verbs[] = {
	{ "append", 3, append },
	{ "fetch", 3, fetch },
	{ "fetch-each", 3, fetch_each },
	{ "select", 2, select_mailbox },
	{ "login", 1, login },
	{ "idle", 2, idle },
	{ "hold", 2, hold },
};

int main(int argc, char **argv)
{
	if (argc < 5)
		give_up("usage: imap_load PORT USER PASSWORD VERB ...");
	struct args a = { (unsigned)number_of(argv[1]), argv[2], argv[3], argc - 5, argv + 5 };

	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (strcmp(argv[4], verbs[i].name) != 0)
			continue;
		if (a.n != verbs[i].words)
			give_up("%s takes %d words", argv[4], verbs[i].words);
		verbs[i].run(&a);
		return 0;
	}
	give_up("'%s' is not something to do", argv[4]);
}
