/* clock.h - time and randomness, behind one seam so that tests can set them. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

#define NS_PER_MS   1000000LL
#define NS_PER_SEC  1000000000LL
#define NO_DEADLINE INT64_MAX

int64_t clock_mono(void); /* nanoseconds, CLOCK_MONOTONIC: deadlines */
int64_t clock_real(void); /* nanoseconds since 1970, UTC: what goes into messages and files */
static inline int64_t deadline_in_ms(int64_t ms)
{
	return clock_mono() + ms * NS_PER_MS;
}

/* len bytes from getrandom(2); never fails (a machine without it panics). */
void random_bytes(void *out, size_t len);
uint64_t random_u64(void);

/* Tests replace both; NULL restores the real ones.  Not thread-safe: set before threads start. */
struct clock_seam {
	int64_t (*mono)(void);
	int64_t (*real)(void);
	void (*random)(void *out, size_t len);
};
void clock_set_seam(const struct clock_seam *seam);

#endif
