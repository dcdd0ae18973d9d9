/* salvage_int.h - what salvage.c (which files, which rows) and salvage_log.c (what the log adds) share. */
#ifndef ESE_SALVAGE_INT_H
#define ESE_SALVAGE_INT_H

#include "ese/salvage.h"

#include "ese/ese_int.h"
#include "ese/rows.h"

struct salvage {
	struct salvage_source src;
	char rows[SEG_PATH_MAX]; /* folder of the rows that count */
	struct ese_db *db;       /* open on them, for looking */
	uint64_t id, applied;    /* of the source; 0: not known */
	uint32_t number;
	bool known;          /* id and applied are */
	int stm;             /* -1: none */
	int pages;           /* bytes that the log holds, at their place in the .stm; -1: none */
	unsigned char *have; /* a bit for each page of `pages` that was written whole or in part */
	uint64_t nhave;
};

/* Rows that were not readable, to be filled from the log. */
struct gap {
	struct buf last, next; /* as look_rows_gap */
};
struct gaps {
	struct gap *at;
	size_t n;
};

/* Rows of the log before `upto` that lie in a gap are put into `rows`, then everything from there on is applied. */
enum st salvage_log(struct salvage *s, struct pdb *rows, const struct gaps *gaps, struct err *err);

#endif
