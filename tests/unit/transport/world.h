/* world.h - a queue folder, a directory and a store that are only tables, and an engine over them. */
#ifndef TESTS_TRANSPORT_WORLD_H
#define TESTS_TRANSPORT_WORLD_H

#include "../loop/run.h"
#include "transport/aq.h"
#include "transport/aq_msg.h"
#include "transport/fsdriver.h"

#undef fail /* cmocka has one, too */

#include <dirent.h>
#include <unistd.h>

/* An address of the directory: a mailbox (id) or an alias (targets, commas between). */
struct person {
	const char *address;
	uint64_t mailbox;
	const char *targets;
	bool disabled;
};
extern const struct person people[];

struct world {
	char home[64];
	struct mailmsg_driver *driver;
	struct dsaccess *ds;
	struct aq *aq;
	struct ds_source source;
	bool through; /* through delivery is on */
	bool directory_away;
	/* the store: who got how many messages; what it says instead */
	unsigned got[64];
	enum st says[64]; /* by mailbox id */
	enum st trouble;  /* of the whole */
	unsigned attempts;
	char last[8192]; /* the beginning of the last content delivered */
	size_t last_len;
	unsigned events[AQ_EVENTS];
	char order[512];
	struct fiber *waiter;
};

void world_home(struct world *w);
void world_open(struct world *w, const struct aq_options *more); /* F */
void world_close(struct world *w); /* F: as a restart would; home stays */
void world_end(struct world *w);   /* removes the home */

/* F: accept a message as a session does; recipients with commas between.  Returns when it is acknowledged. */
void world_submit(struct world *w, const char *from, const char *to, const char *content);
/* F: until nothing is waiting or active but in the queues that wait for a time. */
void world_settle(struct world *w);
size_t world_files(const struct world *w, const char *folder, const char *extension);
uint64_t world_queue(const struct world *w, enum aq_queue_kind kind);

#endif
