/* drive.h - run a workload once for every n, with a fault at its n-th operation, and check what is left.
 *
 * The workload's program has three verbs:
 *
 *	PROGRAM work DIR ACKS SEED WORD...     the workload, under powercut.so
 *	PROGRAM check DIR ACKS SEED WORD...    open what is left, compare it with the model
 *	PROGRAM drive LIB [--full] [--faults] [--seed N] [--jobs N] [WORD...]
 *
 * ACKS is a shared file outside DIR that survives the cut: what was handed in, what was acknowledged.
 * Exit status of work and check: 0 done; WORK_ENDED it gave up in order (only a fault may lead there);
 * anything else is a violation, a signal and a minute without an end included.
 *
 * The power cuts take turns with the modes of powercut.h; every third time the first recovery is cut as well.
 * --faults: instead of cuts the n-th operation fails once: EIO, ENOSPC, a short write, and the n-th read.
 * --full: every n in every mode, several seeds for the choices of what is torn. */
#ifndef CRASH_DRIVE_H
#define CRASH_DRIVE_H

#include <stddef.h>
#include <stdint.h>

#define WORK_ENDED 2

struct workload {
	const char *name;
	size_t acks;       /* bytes of ACKS, zeros at first */
	unsigned seeds;    /* workloads that take turns: SEED is the drive's + n % seeds */
	unsigned full;     /* rounds of --full */
	unsigned recovery; /* operations of a recovery, about: where the second cut may be */
	const char *usage; /* of the words */
};

/* What `PROGRAM drive ...` does: prints one line of counts, returns the exit status: 0 without violations. */
int drive_main(const struct workload *w, int argc, char **argv);

/* Map ACKS.  Ends the program when that fails. */
void *drive_acks(const char *path, size_t bytes);

#endif
