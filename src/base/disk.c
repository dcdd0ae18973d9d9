#include "base/disk.h"

#include <sys/statvfs.h>

const char *disk_state_name(enum disk_state s)
{
	static const char *const names[] = { "ok", "low", "full" };

	return names[s];
}

static uint64_t warn_below(const struct config *c, const struct disk_view *v)
{
	uint64_t bytes = (uint64_t)config_int(c, "disk_warn_bytes");
	uint64_t part = v->total / 100 * (uint64_t)config_int(c, "disk_warn_percent");
	uint64_t below = bytes > part ? bytes : part;

	/* A small disk is not low from the start. */
	if (below > v->total / 2)
		below = v->total / 2;
	return below && below < v->refuse_below ? v->refuse_below : below;
}

void disk_judge(const struct config *c, enum disk_state before, struct disk_view *v)
{
	uint64_t well;

	v->refuse_below = (uint64_t)config_int(c, "disk_reserve_bytes");
	v->warn_below = warn_below(c, v);
	well = v->warn_below + (before != DISK_OK ? v->warn_below / 16 : 0);
	if (v->free < v->refuse_below)
		v->state = DISK_FULL;
	else
		v->state = v->free < well ? DISK_LOW : DISK_OK;
}

enum st disk_look(const struct config *c, const char *path, struct disk_view *out, struct err *err)
{
	struct statvfs fs;

	if (statvfs(path, &fs) < 0)
		return fail_errno(err, "how full is the disk of %s", path);
	*out = (struct disk_view){ .free = (uint64_t)fs.f_bavail * fs.f_frsize,
				   .total = (uint64_t)fs.f_blocks * fs.f_frsize };
	disk_judge(c, DISK_OK, out);
	return ST_OK;
}
