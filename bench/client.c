/* client.c - see client.h. */
#include "client.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_S 120

void give_up(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

double cpu_used(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

unsigned long number_of(const char *text)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (end == text || *end != '\0')
		give_up("'%s' is not a number", text);
	return n;
}

/* ---- a connection ---- */

void client_dial(struct client *c, unsigned port, size_t room)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons((uint16_t)port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct timeval patience = { PATIENCE_S, 0 };
	int one = 1;

	*c = (struct client){ .fd = socket(AF_INET, SOCK_STREAM, 0), .room = room };
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		give_up("port %u: %s", port, strerror(errno));
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	c->buffer = malloc(room);
	if (!c->buffer)
		give_up("out of memory");
}

void client_close(struct client *c)
{
	close(c->fd);
	free(c->buffer);
}

void client_send(struct client *c, const void *bytes, size_t len)
{
	const char *at = bytes;

	while (len > 0) {
		ssize_t n = send(c->fd, at, len, MSG_NOSIGNAL);

		if (n <= 0)
			give_up("send: %s", strerror(errno));
		at += n;
		len -= (size_t)n;
	}
}

void client_print(struct client *c, const char *format, ...)
{
	char text[2048];
	va_list args;

	va_start(args, format);
	int len = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (len < 0 || (size_t)len >= sizeof(text))
		give_up("a command that is too long");
	client_send(c, text, (size_t)len);
}

static void make_room(struct client *c)
{
	if (c->from == c->to)
		c->from = c->to = 0;
	if (c->to < c->room)
		return;
	if (c->from > 0) {
		memmove(c->buffer, c->buffer + c->from, c->to - c->from);
		c->to -= c->from;
		c->from = 0;
		return;
	}
	c->room *= 2;
	c->buffer = realloc(c->buffer, c->room);
	if (!c->buffer)
		give_up("out of memory");
}

bool client_fill(struct client *c, bool wait)
{
	make_room(c);
	ssize_t n = recv(c->fd, c->buffer + c->to, c->room - c->to, wait ? 0 : MSG_DONTWAIT);

	if (n < 0 && !wait && (errno == EAGAIN || errno == EWOULDBLOCK))
		return false;
	if (n <= 0)
		give_up("the server %s", n == 0 ? "closed the connection" : strerror(errno));
	c->to += (size_t)n;
	c->received += (uint64_t)n;
	return true;
}

char *client_line(struct client *c, bool wait, size_t *len)
{
	size_t seen = 0;

	for (;;) {
		size_t unread = c->to - c->from;
		char *start = c->buffer + c->from;
		char *end = unread > seen ? memchr(start + seen, '\n', unread - seen) : NULL;

		if (end) {
			c->from += (size_t)(end - start) + 1;
			*len = (size_t)(end - start);
			if (*len > 0 && start[*len - 1] == '\r')
				--*len;
			return start;
		}
		seen = unread;
		if (!client_fill(c, wait))
			return NULL;
	}
}

void client_skip(struct client *c, uint64_t len)
{
	while (len > 0) {
		if (c->from == c->to)
			client_fill(c, true);
		size_t n = c->to - c->from;

		if (n > len)
			n = (size_t)len;
		c->from += n;
		len -= n;
	}
}

/* ---- IMAP ---- */

static bool starts(const char *at, size_t len, const char *word)
{
	return len >= strlen(word) && memcmp(at, word, strlen(word)) == 0;
}

static uint64_t digits(const char **at, const char *end)
{
	uint64_t n = 0;

	while (*at < end && isdigit((unsigned char)**at))
		n = n * 10 + (uint64_t)(*(*at)++ - '0');
	return n;
}

static void note_untagged(const char *line, size_t len, struct imap_seen *seen)
{
	const char *at = line + 2, *end = line + len;

	if (starts(line, len, "* STATUS ")) {
		const char *count = memmem(line, len, "MESSAGES ", 9);

		if (count) {
			count += 9;
			seen->status = digits(&count, end);
		}
		return;
	}
	uint64_t n = digits(&at, end);

	if (starts(at, (size_t)(end - at), " FETCH")) {
		seen->fetches++;
	} else if (starts(at, (size_t)(end - at), " EXISTS")) {
		seen->exists = n;
		seen->notices++;
	}
}

/* The octets of the literal that the line ends with; false: it ends with none. */
static bool literal(const char *line, size_t len, uint64_t *octets)
{
	const char *at = line + len;

	if (len < 3 || at[-1] != '}')
		return false;
	for (at--; at > line && isdigit((unsigned char)at[-1]); at--)
		continue;
	if (at == line || at[-1] != '{')
		return false;
	*octets = digits(&at, line + len);
	return true;
}

enum imap_reply imap_reply(struct client *c, struct imap_seen *seen)
{
	size_t len;
	char *line = client_line(c, true, &len);
	uint64_t octets;

	if (starts(line, len, "+"))
		return IMAP_CONTINUE;
	if (!starts(line, len, "* ")) {
		const char *space = memchr(line, ' ', len);

		if (!space || !starts(space, len - (size_t)(space - line), " OK"))
			give_up("the server says: %.*s", (int)len, line);
		return IMAP_TAGGED;
	}
	note_untagged(line, len, seen);
	while (literal(line, len, &octets)) {
		seen->octets += octets;
		client_skip(c, octets);
		line = client_line(c, true, &len);
	}
	return IMAP_UNTAGGED;
}

void imap_finish(struct client *c, struct imap_seen *seen)
{
	while (imap_reply(c, seen) != IMAP_TAGGED)
		continue;
}

void imap_command(struct client *c, struct imap_seen *seen, const char *format, ...)
{
	char text[1024];
	struct imap_seen unseen = { 0 };
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	client_print(c, "t%u %s\r\n", ++c->tag, text);
	imap_finish(c, seen ? seen : &unseen);
}

void imap_login(struct client *c, unsigned port, size_t room, const char *user,
		const char *password)
{
	size_t len;

	client_dial(c, port, room);
	client_line(c, true, &len);
	imap_command(c, NULL, "LOGIN %s %s", user, password);
}

/* ---- messages and times ---- */

static const char *const words[] = {
	"mail", "store",  "queue", "folder", "letter", "engine", "server",  "page",
	"and",  "the",    "a",     "of",     "with",   "when",   "log",     "commit",
	"read", "sender", "today", "please", "answer", "report", "meeting", "thanks",
};

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Lines of words, exactly up to `end`, the last one ended. */
static void fill_text(char *at, char *end, uint64_t *random)
{
	char *line = at;

	while (end - at > 16) {
		const char *word = words[next_random(random) % (sizeof(words) / sizeof(words[0]))];

		at = stpcpy(at, word);
		if (at - line > 64) {
			at = stpcpy(at, "\r\n");
			line = at;
		} else {
			*at++ = ' ';
		}
	}
	while (end - at > 2)
		*at++ = 'x';
	memcpy(at, "\r\n", 2);
}

static void fill_base64(char *at, char *end, uint64_t *random)
{
	static const char alphabet[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	while (at < end) {
		for (int column = 0; column < 76 && end - at > 2; column++)
			*at++ = alphabet[next_random(random) & 63];
		at = mempcpy(at, "\r\n", 2);
	}
}

static char *fill_header(char *at, unsigned number, uint64_t random)
{
	return at + sprintf(at,
			    "Received: from mx%u.example.org (mx%u.example.org [192.0.2.%u])\r\n"
			    "\tby mail.example.com with ESMTPS id %016llx;\r\n"
			    "\tTue, %u Nov 2022 10:%02u:%02u +0000\r\n"
			    "Date: Tue, %u Nov 2022 10:%02u:%02u +0000\r\n"
			    "From: \"Sender Number %u\" <sender%u@example.org>\r\n"
			    "To: Reader <reader@mailroot.test>\r\n"
			    "Cc: other%u@example.net, \"Third, Party\" <third@example.net>\r\n"
			    "Subject: Letter %u about the store and its queue\r\n"
			    "Message-ID: <%u.%016llx@example.org>\r\n"
			    "In-Reply-To: <%u.before@example.org>\r\n"
			    "MIME-Version: 1.0\r\n",
			    number % 7, number % 7, number % 250, (unsigned long long)random,
			    number % 28 + 1, number % 60, number % 59, number % 28 + 1, number % 60,
			    number % 59, number % 97, number % 97, number % 13, number, number,
			    (unsigned long long)random, number);
}

void make_message(char *out, unsigned number, size_t size)
{
	static const char end_of_parts[] = "--bound--\r\n";
	uint64_t random = 88172645463325252ULL + number * 2654435761ULL;
	char *end = out + size, *at = fill_header(out, number, next_random(&random));

	if (size < 64 * 1024) {
		at = stpcpy(at, "Content-Type: text/plain; charset=utf-8\r\n\r\n");
		fill_text(at, end, &random);
		return;
	}
	at = stpcpy(at, "Content-Type: multipart/mixed; boundary=bound\r\n\r\n--bound\r\n"
			"Content-Type: text/plain; charset=utf-8\r\n\r\n");
	fill_text(at, at + 2048, &random);
	at = stpcpy(at + 2048, "\r\n--bound\r\n"
			       "Content-Type: application/octet-stream; name=\"figures.bin\"\r\n"
			       "Content-Disposition: attachment; filename=\"figures.bin\"\r\n"
			       "Content-Transfer-Encoding: base64\r\n\r\n");
	fill_base64(at, end - (sizeof(end_of_parts) - 1), &random);
	memcpy(end - (sizeof(end_of_parts) - 1), end_of_parts, sizeof(end_of_parts) - 1);
}

static int by_size(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

void print_times(const char *name, double *seconds, size_t n)
{
	qsort(seconds, n, sizeof(*seconds), by_size);
	printf(" %s_min=%.4f %s_med=%.4f %s_p90=%.4f %s_max=%.4f", name, seconds[0] * 1e3, name,
	       seconds[n / 2] * 1e3, name, seconds[n * 9 / 10] * 1e3, name, seconds[n - 1] * 1e3);
}
