/* client.h - what the load clients share: a buffered connection to 127.0.0.1, a clock, messages to
 * send, and a summary of measured times.
 *
 * One thread, blocking.  Whatever goes wrong ends the program with a word on standard error and
 * status 1: a measurement that goes on after an error measures nothing.  Results are one line of
 * key=value words on standard output. */
#ifndef BENCH_CLIENT_H
#define BENCH_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void give_up(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

double now(void);      /* seconds, monotonic */
double cpu_used(void); /* seconds of CPU of this process */

/* ---- a connection ---- */

struct client {
	int fd;
	char *buffer;
	size_t from, to, room; /* unread bytes are buffer[from..to) */
	uint64_t received;     /* bytes, since the start */
	unsigned tag;          /* of the last IMAP command */
};

void client_dial(struct client *c, unsigned port, size_t room); /* room grows with longer lines */
void client_close(struct client *c);
void client_send(struct client *c, const void *bytes, size_t len);
void client_print(struct client *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* More bytes into the buffer.  False: there are none yet, and wait was false. */
bool client_fill(struct client *c, bool wait);

/* The next line without its CR LF, good until the next call.  NULL: not whole yet, and wait was false. */
char *client_line(struct client *c, bool wait, size_t *len);

void client_skip(struct client *c, uint64_t len);

/* ---- IMAP ---- */

struct imap_seen {                        /* since it was last set to zero */
	uint64_t fetches, exists, octets; /* FETCH replies, the last EXISTS, octets in literals */
	uint64_t notices;                 /* EXISTS replies */
	uint64_t status;                  /* MESSAGES of the last STATUS */
};

enum imap_reply { IMAP_UNTAGGED, IMAP_CONTINUE, IMAP_TAGGED };

/* One reply with all its literals; a tagged NO or BAD gives up. */
enum imap_reply imap_reply(struct client *c, struct imap_seen *seen);
void imap_finish(struct client *c, struct imap_seen *seen); /* up to the tagged OK */
void imap_command(struct client *c, struct imap_seen *seen, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void imap_login(struct client *c, unsigned port, size_t room, const char *user,
		const char *password);

/* ---- messages and times ---- */

#define MESSAGE_MIN 1024

/* Message `number`, exactly `size` octets (at least MESSAGE_MIN), CR LF line ends, no line that starts with
 * a dot; one of 64 KiB or more is a text with an attachment.  The same number makes the same message. */
void make_message(char *out, unsigned number, size_t size);

/* " NAME_min= NAME_med= NAME_p90= NAME_max=" in milliseconds; sorts `seconds`. */
void print_times(const char *name, double *seconds, size_t n);

/* A decimal number from the command line. */
unsigned long number_of(const char *text);

#endif
