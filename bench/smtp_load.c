/* smtp_load.c - messages by SMTP from many sessions at once, and until the mailboxes show them.
 *
 *	smtp_load SMTP_PORT IMAP_PORT DOMAIN PASSWORD BOXES SESSIONS MESSAGES SIZE
 *
 * The mailboxes are m1..mBOXES@DOMAIN, taken in turn.  A session keeps its connection for all its messages and
 * pipelines MAIL, RCPT and DATA, as a relaying server does.  One clock: it starts before the first connection;
 * accepted_s is the last 250, delivered_s the moment when STATUS in every mailbox shows everything. */
#include "client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define POLL_US   5000
#define WAIT_S    120
#define BOXES_MAX 100

struct session {
	struct client c;
	unsigned due; /* replies until the next step */
	enum { GREETED, SAID_HELLO, SENT_ENVELOPE, SENT_BODY, SAID_QUIT } step;
	double sent; /* when the last body was */
};

struct load {
	const char *domain, *password;
	unsigned smtp_port, imap_port, boxes, sessions, messages;
	size_t size;
	unsigned begun, accepted;
	unsigned to_box[BOXES_MAX];
	char *bodies; /* `messages` of them, or as many as fit into BODIES_MAX */
	unsigned bodies_made;
	double *times;
};

#define BODIES_MAX (256UL * 1024 * 1024)

static void make_bodies(struct load *l)
{
	l->bodies_made = l->messages;
	if (l->bodies_made > BODIES_MAX / l->size)
		l->bodies_made = (unsigned)(BODIES_MAX / l->size);
	l->bodies = malloc(l->bodies_made * l->size);
	l->times = calloc(l->messages, sizeof(*l->times));
	if (!l->bodies || !l->times)
		give_up("out of memory");
	for (unsigned i = 0; i < l->bodies_made; i++)
		make_message(l->bodies + i * l->size, i, l->size);
}

/* ---- one session ---- */

static void next_envelope(struct load *l, struct session *s)
{
	if (l->begun == l->messages) {
		client_print(&s->c, "QUIT\r\n");
		s->step = SAID_QUIT;
		s->due = 1;
		return;
	}
	unsigned box = l->begun % l->boxes;

	l->to_box[box]++;
	client_print(&s->c, "MAIL FROM:<sender@example.org>\r\nRCPT TO:<m%u@%s>\r\nDATA\r\n",
		     box + 1, l->domain);
	l->begun++;
	s->step = SENT_ENVELOPE;
	s->due = 3;
}

static void send_body(struct load *l, struct session *s)
{
	const char *body = l->bodies + (l->accepted % l->bodies_made) * l->size;

	s->sent = now();
	client_send(&s->c, body, l->size);
	client_send(&s->c, ".\r\n", 3);
	s->step = SENT_BODY;
	s->due = 1;
}

static void next_step(struct load *l, struct session *s)
{
	switch (s->step) {
	case GREETED:
		client_print(&s->c, "EHLO load.example.org\r\n");
		s->step = SAID_HELLO;
		s->due = 1;
		break;
	case SENT_ENVELOPE:
		send_body(l, s);
		break;
	case SENT_BODY:
		l->times[l->accepted++] = now() - s->sent;
		next_envelope(l, s);
		break;
	case SAID_HELLO:
		next_envelope(l, s);
		break;
	case SAID_QUIT:
		break;
	}
}

/* True when the session has said all it had to say. */
static bool take_replies(struct load *l, struct session *s)
{
	size_t len;
	char *line;

	while ((line = client_line(&s->c, false, &len))) {
		if (len < 3 || (line[0] != '2' && line[0] != '3'))
			give_up("the server says: %.*s", (int)len, line);
		if (len > 3 && line[3] == '-')
			continue;
		if (--s->due > 0)
			continue;
		if (s->step == SAID_QUIT)
			return true;
		next_step(l, s);
	}
	return false;
}

static void run_sessions(struct load *l)
{
	struct session *sessions = calloc(l->sessions, sizeof(*sessions));
	struct epoll_event events[64];
	int epoll = epoll_create1(0);
	unsigned open = l->sessions;

	if (!sessions || epoll < 0)
		give_up("cannot watch the sessions");
	for (unsigned i = 0; i < l->sessions; i++) {
		struct epoll_event in = { .events = EPOLLIN, .data.ptr = &sessions[i] };

		sessions[i].due = 1;
		client_dial(&sessions[i].c, l->smtp_port, 4096);
		if (epoll_ctl(epoll, EPOLL_CTL_ADD, sessions[i].c.fd, &in) < 0)
			give_up("cannot watch a session");
	}
	while (open > 0) {
		int n = epoll_wait(epoll, events, 64, WAIT_S * 1000);

		if (n <= 0)
			give_up("no answer in %d seconds", WAIT_S);
		for (int i = 0; i < n; i++) {
			struct session *s = events[i].data.ptr;

			if (take_replies(l, s)) {
				client_close(&s->c);
				open--;
			}
		}
	}
	close(epoll);
	free(sessions);
}

/* ---- the mailboxes ---- */

static uint64_t count_in(struct client *c)
{
	struct imap_seen seen = { 0 };

	imap_command(c, &seen, "STATUS INBOX (MESSAGES)");
	return seen.status;
}

static void open_boxes(const struct load *l, struct client *boxes, uint64_t *before)
{
	for (unsigned i = 0; i < l->boxes; i++) {
		char user[256];

		snprintf(user, sizeof(user), "m%u@%s", i + 1, l->domain);
		imap_login(&boxes[i], l->imap_port, 4096, user, l->password);
		imap_command(&boxes[i], NULL, "SELECT INBOX");
		imap_command(&boxes[i], NULL, "CLOSE");
		before[i] = count_in(&boxes[i]);
	}
}

static void wait_for_all(const struct load *l, struct client *boxes, const uint64_t *before)
{
	double end = now() + WAIT_S;

	for (unsigned i = 0; i < l->boxes; i++) {
		uint64_t got;

		while ((got = count_in(&boxes[i]) - before[i]) < l->to_box[i]) {
			if (now() > end)
				give_up("mailbox %u holds %llu of %u messages", i + 1,
					(unsigned long long)got, l->to_box[i]);
			usleep(POLL_US);
		}
		if (got > l->to_box[i])
			give_up("mailbox %u holds %llu messages, not %u", i + 1,
				(unsigned long long)got, l->to_box[i]);
	}
}

int main(int argc, char **argv)
{
	struct client boxes[BOXES_MAX];
	uint64_t before[BOXES_MAX];

	if (argc != 9)
		give_up("usage: smtp_load SMTP_PORT IMAP_PORT DOMAIN PASSWORD BOXES SESSIONS MESSAGES SIZE");
	struct load l = { .smtp_port = (unsigned)number_of(argv[1]),
			  .imap_port = (unsigned)number_of(argv[2]),
			  .domain = argv[3],
			  .password = argv[4],
			  .boxes = (unsigned)number_of(argv[5]),
			  .sessions = (unsigned)number_of(argv[6]),
			  .messages = (unsigned)number_of(argv[7]),
			  .size = number_of(argv[8]) };

	if (l.boxes < 1 || l.boxes > BOXES_MAX || l.sessions < 1 || l.messages < l.sessions ||
	    l.size < MESSAGE_MIN || l.size > BODIES_MAX)
		give_up("one of these numbers makes no sense");
	make_bodies(&l);
	open_boxes(&l, boxes, before);

	double start = now(), cpu = cpu_used();

	run_sessions(&l);
	double accepted = now() - start;
	wait_for_all(&l, boxes, before);
	double delivered = now() - start;

	printf("messages=%u accepted_s=%.4f delivered_s=%.4f client_cpu=%.4f", l.messages, accepted,
	       delivered, cpu_used() - cpu);
	print_times("accept_ms", l.times, l.messages);
	putchar('\n');
	return 0;
}
