#include "admin/progress.h"

#include "base/clock.h"

#include <stdio.h>
#include <unistd.h>

#define BETWEEN (NS_PER_SEC / 8)

void progress_begin(struct progress *p, bool wanted)
{
	*p = (struct progress){ .on = wanted && isatty(2), .began = clock_mono() };
}

static void show(struct progress *p, const char *line, int width)
{
	fprintf(stderr, "\r%s%*s", line, (int)p->width > width ? (int)p->width - width : 0, "");
	fflush(stderr);
	p->width = (unsigned)width;
}

/* `scale`: how many of the counted make one of the unit. */
static void tell(struct progress *p, const char *what, uint64_t done, uint64_t total,
		 const char *unit, double scale)
{
	int64_t now = clock_mono();
	double seconds = (double)(now - p->began) / NS_PER_SEC;
	char line[160];
	int n;

	if (!p->on || now - p->told < BETWEEN)
		return;
	p->told = now;
	n = snprintf(line, sizeof(line), "%s  %.0f", what, (double)done / scale);
	if (total)
		n += snprintf(line + n, sizeof(line) - (size_t)n, " of %.0f %s, %.0f %%",
			      (double)total / scale, unit, 100.0 * (double)done / (double)total);
	else
		n += snprintf(line + n, sizeof(line) - (size_t)n, " %s", unit);
	if (seconds > 1)
		n += snprintf(line + n, sizeof(line) - (size_t)n, ", %.0f %s/s",
			      (double)done / scale / seconds, unit);
	show(p, line, n < (int)sizeof(line) ? n : (int)sizeof(line) - 1);
}

void progress_tell(struct progress *p, const char *what, uint64_t done, uint64_t total,
		   const char *unit)
{
	tell(p, what, done, total, unit, 1);
}

void progress_bytes(struct progress *p, const char *what, uint64_t done, uint64_t total)
{
	tell(p, what, done, total, "MB", 1e6);
}

void progress_end(struct progress *p)
{
	if (p->on && p->width) {
		show(p, "", 0);
		fprintf(stderr, "\r");
	}
}
