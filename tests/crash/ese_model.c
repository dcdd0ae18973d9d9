/* ese_model.c - see ese_model.h. */
#include "ese_model.h"

#include "base/byteorder.h"

#include <stdio.h>

struct dice {
	uint64_t x;
};

static uint32_t roll(struct dice *d, uint32_t sides)
{
	d->x += UINT64_C(0x9e3779b97f4a7c15);
	uint64_t z = d->x;

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return (uint32_t)((z ^ (z >> 31)) % sides);
}

static struct dice dice_for(uint64_t seed, uint64_t t)
{
	return (struct dice){ seed * UINT64_C(1000003) + t * UINT64_C(7919) };
}

static uint32_t body_len(struct dice *d)
{
	switch (roll(d, 8)) {
	case 0:
		return roll(d, 100);
	case 1:
		return 4096 * (1 + roll(d, 3));
	case 2:
		return 20000 + roll(d, 12000);
	case 3: /* with circular logging beside the log */
		return 33000 + roll(d, 50000);
	default:
		return 500 + roll(d, 6000);
	}
}

struct step plan(const struct model *m, uint64_t seed, uint64_t t)
{
	static const enum beside beside[] = { B_CHECKPOINT, B_CHECKPOINT, B_BACKUP,     B_BACKUP,
					      B_CIRCULAR,   B_COMPACT,    B_COMPACT,    B_COMPACT,
					      B_TWO_COMMIT, B_TWO_COMMIT, B_TWO_COMMIT, B_TWO_DOWN,
					      B_TWO_REMOVE };
	struct dice d = dice_for(seed, t);
	struct step s = { .nrows = 1 + roll(&d, 4) };

	for (uint32_t i = 0; i < s.nrows; i++) {
		s.rows[i].row = roll(&d, ROWS);
		s.rows[i].put = roll(&d, 4) != 0;
	}
	s.slot = roll(&d, SLOTS);
	s.from = roll(&d, SLOTS);
	s.len = body_len(&d);
	s.action = (enum action[]){ A_WRITE, A_WRITE,  A_WRITE,  A_LINK,
				    A_LINK,  A_UNLINK, A_UNLINK, A_NONE }[roll(&d, 8)];
	/* A link by id wants a body that is committed: nothing younger than the window. */
	if (s.action == A_LINK && (!m->slots[s.from].used || m->slots[s.slot].used ||
				   m->slots[s.from].changed + WINDOW > t))
		s.action = A_NONE;
	if (s.action == A_UNLINK && !m->slots[s.slot].used)
		s.action = A_NONE;
	s.abort_body = roll(&d, 6) == 0;
	s.abort_batch = roll(&d, 8) == 0;
	s.beside = roll(&d, 2) ? B_NOTHING : beside[roll(&d, sizeof(beside) / sizeof(beside[0]))];
	return s;
}

void play(struct model *m, const struct step *s, uint64_t t)
{
	for (uint32_t i = 0; i < s->nrows; i++)
		m->rows[s->rows[i].row] = s->rows[i].put ? t : 0;
	if (s->action == A_WRITE)
		m->slots[s->slot] = (struct slot){ true, t, t, s->len, 0 };
	if (s->action == A_LINK) {
		m->slots[s->slot] = m->slots[s->from];
		m->slots[s->slot].changed = t;
	}
	if (s->action == A_UNLINK)
		m->slots[s->slot] = (struct slot){ .changed = t };
}

void play_to(struct model *m, uint64_t seed, uint64_t last)
{
	*m = (struct model){ 0 };
	for (uint64_t t = 1; t <= last; t++) {
		struct step s = plan(m, seed, t);

		play(m, &s, t);
	}
}

void body_bytes(char *out, size_t len, uint64_t seed, uint64_t origin)
{
	struct dice d = dice_for(seed + 77, origin);
	uint64_t x = ((uint64_t)roll(&d, UINT32_MAX) << 20) | 1;

	for (size_t i = 0; i < len; i++) {
		x = x * UINT64_C(6364136223846793005) + 1442695040888963407;
		out[i] = (char)(x >> 56);
	}
}

size_t row_value(char out[400], uint32_t row, uint64_t t)
{
	size_t len = 20 + (row * 37 + t * 11) % 300;

	memset(out, 'a' + (int)((row + t) % 26), len);
	le64_put(out, t);
	return len;
}

void row_key(char out[8], char kind, uint32_t n)
{
	snprintf(out, 8, "%c%02u", kind, n % 100);
}
