/* clock.c - time and randomness behind a seam; see clock.h. */
#include "base/clock.h"

#include "base/st.h"

#include <errno.h>
#include <sys/random.h>
#include <time.h>

static struct clock_seam seam;

void clock_set_seam(const struct clock_seam *s)
{
	seam = s ? *s : (struct clock_seam){ 0 };
}

static int64_t read_clock(clockid_t id)
{
	struct timespec ts;

	if (clock_gettime(id, &ts) < 0)
		panic("clock_gettime(%d): errno %d", (int)id, errno);
	return (int64_t)ts.tv_sec * NS_PER_SEC + ts.tv_nsec;
}

int64_t clock_mono(void)
{
	return seam.mono ? seam.mono() : read_clock(CLOCK_MONOTONIC);
}

int64_t clock_real(void)
{
	return seam.real ? seam.real() : read_clock(CLOCK_REALTIME);
}

void random_bytes(void *out, size_t len)
{
	if (seam.random) {
		seam.random(out, len);
		return;
	}
	for (char *at = out; len;) {
		ssize_t n = getrandom(at, len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			panic("getrandom: errno %d", errno);
		at += n;
		len -= (size_t)n;
	}
}

uint64_t random_u64(void)
{
	uint64_t n;

	random_bytes(&n, sizeof(n));
	return n;
}
