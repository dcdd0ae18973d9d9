/* ese_model.h - the workload of the engine's crash test, as a plan and as what must come of it.
 *
 * Everything follows from the seed.  Batch t puts and deletes rows, writes, links and unlinks bodies of the database
 * "mailbox/one", and always sets the row "seq" to t, so that what is found after a crash says which batch was the
 * last; the model is the same played in memory up to that batch.  Between the batches there are checkpoints, backups,
 * compaction, the switch of circular logging, and the life of a second database. */
#ifndef CRASH_ESE_MODEL_H
#define CRASH_ESE_MODEL_H

#include "base/span.h"

#define ROWS   32u
#define SLOTS  16u
#define WINDOW 3u /* batches in flight */

struct acks {
	_Atomic uint64_t acked, submitted; /* batches of the first database */
	/* The second one: what was committed last into it and may have been; `changing`: it is being removed or made. */
	_Atomic uint64_t two_acked, two_submitted;
	_Atomic bool two_changing;
};

struct slot {
	bool used;
	uint64_t origin; /* the batch that wrote its body; with the slot's row it names the bytes */
	uint64_t changed; /* the batch that filled or emptied the slot */
	uint32_t len;
	uint64_t id; /* the worker's; the checker reads it from the row */
};

struct model {
	uint64_t rows[ROWS]; /* 0: absent; otherwise the batch that put it */
	struct slot slots[SLOTS];
};

enum action { A_NONE, A_WRITE, A_LINK, A_UNLINK };
/* What is done beside the batches. */
enum beside {
	B_NOTHING,
	B_CHECKPOINT,
	B_BACKUP, /* begin one, or end the one under way */
	B_CIRCULAR,
	B_COMPACT,    /* some bodies; and the file is cut, or holes are punched */
	B_TWO_COMMIT, /* the second database: it is brought up and gets a batch */
	B_TWO_DOWN,
	B_TWO_REMOVE
};

struct step {
	struct {
		uint32_t row;
		bool put;
	} rows[4];
	uint32_t nrows;
	enum action action;
	uint32_t slot, from;
	uint32_t len;
	bool abort_body, abort_batch;
	enum beside beside;
};

struct step plan(const struct model *m, uint64_t seed, uint64_t t);
void play(struct model *m, const struct step *s, uint64_t t);
/* The model after batch t. */
void play_to(struct model *m, uint64_t seed, uint64_t t);

void body_bytes(char *out, size_t len, uint64_t seed, uint64_t origin);
size_t row_value(char out[400], uint32_t row, uint64_t t);
void row_key(char out[8], char kind, uint32_t n);

#endif
