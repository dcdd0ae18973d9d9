/* found.c - damage that was met; see found.h. */
#include "store/found.h"

#include "base/clock.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

struct found {
	pthread_mutex_t lock;
	uint64_t total;
	struct found_row rows[FOUND_KEPT]; /* number n at n modulo FOUND_KEPT */
};

struct found *found_new(void)
{
	struct found *f = calloc(1, sizeof *f);

	if (f)
		pthread_mutex_init(&f->lock, NULL);
	return f;
}

void found_free(struct found *f)
{
	if (!f)
		return;
	pthread_mutex_destroy(&f->lock);
	free(f);
}

void found_note(void *arg, const struct finding *f)
{
	struct found *all = arg;
	struct found_row *row;

	pthread_mutex_lock(&all->lock);
	row = &all->rows[all->total++ % FOUND_KEPT];
	*row = (struct found_row){ .when = clock_real(), .kind = f->kind, .body = f->body };
	snprintf(row->text, sizeof row->text, "%s", f->text);
	pthread_mutex_unlock(&all->lock);
}

unsigned found_list(struct found *f, struct found_row *out, unsigned max, uint64_t *total_out)
{
	unsigned n = 0;

	pthread_mutex_lock(&f->lock);
	while (n < max && n < FOUND_KEPT && n < f->total) {
		out[n] = f->rows[(f->total - 1 - n) % FOUND_KEPT];
		n++;
	}
	*total_out = f->total;
	pthread_mutex_unlock(&f->lock);
	return n;
}
