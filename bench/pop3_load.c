/* pop3_load.c - read a whole maildrop by POP3.
 *
 *	pop3_load PORT USER PASSWORD WINDOW REPETITIONS
 *
 * WINDOW RETR commands are under way at a time (1: one after the other). */
#include "client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void expect_ok(struct client *c)
{
	size_t len;
	char *line = client_line(c, true, &len);

	if (len < 3 || memcmp(line, "+OK", 3) != 0)
		give_up("the server says: %.*s", (int)len, line);
}

static uint64_t read_message(struct client *c)
{
	uint64_t octets = 0;
	size_t len;
	char *line;

	expect_ok(c);
	while ((line = client_line(c, true, &len)), !(len == 1 && line[0] == '.'))
		octets += len + 2 - (len > 0 && line[0] == '.');
	return octets;
}

static unsigned count_messages(struct client *c)
{
	unsigned count;
	size_t len;

	client_print(c, "STAT\r\n");
	char *line = client_line(c, true, &len);

	line[len] = '\0';
	if (sscanf(line, "+OK %u", &count) != 1)
		give_up("the server says: %s", line);
	return count;
}

static uint64_t read_all(struct client *c, unsigned count, unsigned window)
{
	unsigned asked = 0, got = 0;
	uint64_t octets = 0;
	char commands[16384];

	while (got < count) {
		size_t len = 0;

		while (asked < count && asked - got < window && len < sizeof(commands) - 32)
			len += (size_t)sprintf(commands + len, "RETR %u\r\n", ++asked);
		client_send(c, commands, len);
		octets += read_message(c);
		got++;
	}
	return octets;
}

int main(int argc, char **argv)
{
	struct client c;
	uint64_t octets = 0;

	if (argc != 6)
		give_up("usage: pop3_load PORT USER PASSWORD WINDOW REPETITIONS");
	unsigned window = (unsigned)number_of(argv[4]), times = (unsigned)number_of(argv[5]);

	client_dial(&c, (unsigned)number_of(argv[1]), 256 * 1024);
	expect_ok(&c);
	client_print(&c, "USER %s\r\n", argv[2]);
	expect_ok(&c);
	client_print(&c, "PASS %s\r\n", argv[3]);
	expect_ok(&c);

	unsigned count = count_messages(&c);
	double start = now(), cpu = cpu_used();

	for (unsigned i = 0; i < times; i++)
		octets += read_all(&c, count, window);
	printf("messages=%u octets=%llu wall_s=%.4f client_cpu=%.4f\n", count * times,
	       (unsigned long long)octets, now() - start, cpu_used() - cpu);
	client_print(&c, "QUIT\r\n");
	expect_ok(&c);
	client_close(&c);
	return 0;
}
