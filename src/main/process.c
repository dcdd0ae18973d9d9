/* process.c - what every daemon does first. */
#include "main/process.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

static sigset_t ours(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	return set;
}

void process_begin(void)
{
	struct rlimit files;
	sigset_t set = ours();

	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	/* A shell's 1024 are for programs that use select(2). */
	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
		files.rlim_cur = files.rlim_max;
		(void)!setrlimit(RLIMIT_NOFILE, &files);
	}
}

uint64_t process_files_max(void)
{
	struct rlimit files;

	return getrlimit(RLIMIT_NOFILE, &files) == 0 ? files.rlim_cur : 1024;
}

static void signalled(void *arg, unsigned events)
{
	struct signals *s = arg;
	struct signalfd_siginfo info;

	(void)events;
	while (read(s->watch.fd, &info, sizeof info) == sizeof info)
		s->stop((int)info.ssi_signo);
}

enum st signals_watch(struct signals *s, void (*stop)(int number), struct err *err)
{
	sigset_t set = ours();
	int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	enum st st;

	if (fd < 0)
		return fail_errno(err, "signalfd");
	s->stop = stop;
	st = loop_watch(&s->watch, fd, EPOLLIN, signalled, s, err);
	if (st != ST_OK)
		close(fd);
	return st;
}
