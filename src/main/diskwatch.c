#include "main/diskwatch.h"

#include "base/clock.h"
#include "base/disk.h"
#include "base/logline.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct disk {
	char *folder; /* the first that was found on it */
	dev_t dev;
	bool here; /* at this look */
	struct disk_view view;
};

static struct diskwatch {
	const struct config *conf;
	struct timer timer;
	struct disk disks[DISKWATCH_MAX];
	unsigned n;
} w;

static const char *advice(enum disk_state s)
{
	switch (s) {
	case DISK_LOW:
		return "make room or give the disk more: a backup lets logs go, 'mailroot deleted expire' what is kept; with half of this the logs kept for the next backup are given up";
	case DISK_FULL:
		return "new mail is refused for now: make room, deleting mail still works";
	default:
		return "";
	}
}

static void tell(const struct disk *d, enum disk_state before)
{
	const struct disk_view *v = &d->view;

	if (v->state == before)
		return;
	if (v->state == DISK_OK)
		log_event(LOG_WARN, "the disk has room again", LC("disk", d->folder),
			  LU("free_bytes", v->free));
	else
		log_event(LOG_WARN,
			  v->state == DISK_FULL ? "the disk is full" : "the disk is nearly full",
			  LC("disk", d->folder), LU("free_bytes", v->free),
			  LU("warn_below", v->warn_below), LU("refuse_below", v->refuse_below),
			  LC("do", advice(v->state)));
}

/* The disk of a folder that was not looked at yet in this turn; NULL: it was, or there are too many. */
static struct disk *disk_of(const char *folder, dev_t dev)
{
	for (unsigned i = 0; i < w.n; i++)
		if (w.disks[i].dev == dev)
			return w.disks[i].here ? NULL : &w.disks[i];
	if (w.n == DISKWATCH_MAX || !(w.disks[w.n].folder = strdup(folder)))
		return NULL;
	w.disks[w.n].dev = dev;
	return &w.disks[w.n++];
}

static void look_at(const char *folder)
{
	enum disk_state before;
	struct disk_view v;
	struct disk *d;
	struct stat sb;

	/* What can't be asked is somebody else's failure to tell. */
	if (stat(folder, &sb) < 0 || !S_ISDIR(sb.st_mode) ||
	    disk_look(w.conf, folder, &v, NULL) != ST_OK)
		return;
	d = disk_of(folder, sb.st_dev);
	if (!d)
		return;
	before = d->view.state;
	d->here = true;
	d->view = v;
	disk_judge(w.conf, before, &d->view);
	tell(d, before);
}

static void look(void)
{
	char path[4400], groups[4200];
	struct dirent *e;
	DIR *dir;

	for (unsigned i = 0; i < w.n; i++)
		w.disks[i].here = false;
	snprintf(groups, sizeof groups, "%s/groups", config_home(w.conf));
	look_at(groups);
	dir = opendir(groups);
	while (dir && (e = readdir(dir)))
		if (e->d_name[0] != '.' &&
		    snprintf(path, sizeof path, "%s/%s", groups, e->d_name) < (int)sizeof path)
			look_at(path);
	if (dir)
		closedir(dir);
	look_at(config_str(w.conf, "queue_dir"));
}

static void due(void *arg)
{
	(void)arg;
	look();
	timer_set(&w.timer, deadline_in_ms(DISKWATCH_MS), due, NULL);
}

void diskwatch_start(const struct config *c)
{
	w.conf = c;
	due(NULL);
}

void diskwatch_report(struct report *r)
{
	look();
	report_table(r, "disks", false);
	for (unsigned i = 0; i < w.n; i++) {
		const struct disk *d = &w.disks[i];

		if (!d->here)
			continue;
		report_row(r);
		report_str(r, "disk", d->folder);
		report_str(r, "state", disk_state_name(d->view.state));
		report_num(r, "free_bytes", d->view.free);
		report_num(r, "total_bytes", d->view.total);
		report_num(r, "warn_below", d->view.warn_below);
		report_num(r, "refuse_below", d->view.refuse_below);
		report_str(r, "do", advice(d->view.state));
	}
}

void diskwatch_stop(void)
{
	timer_clear(&w.timer);
	for (unsigned i = 0; i < w.n; i++)
		free(w.disks[i].folder);
	w.n = 0;
}
