/* privileges.c - a program that root starts goes on as a user of its own. */
#include "main/privileges.h"

#include <errno.h>
#include <ftw.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDERS_OPEN_MAX 16

static bool is_wanted(const char *user)
{
	return user[0] && geteuid() == 0;
}

static enum st find(const char *user, const struct passwd **out, struct err *err)
{
	errno = 0;
	*out = getpwnam(user);
	if (*out)
		return ST_OK;
	return errno ? fail_errno(err, "look up the user '%s'", user)
		     : fail(err, ST_NOTFOUND, "there is no user '%s' (mailroot.conf names it)",
			    user);
}

/* nftw(3) hands nothing through. */
static const struct passwd *receiver;

static int give_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	(void)st;
	(void)kind;
	(void)at;
	return lchown(path, receiver->pw_uid, receiver->pw_gid);
}

enum st privileges_give_folder(const char *path, const char *user, struct err *err)
{
	const struct passwd *pw;
	struct stat now;
	enum st st;

	if (!is_wanted(user))
		return ST_OK;
	st = find(user, &pw, err);
	if (st != ST_OK)
		return st;
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return fail_errno(err, "make the folder %s", path);
	if (lstat(path, &now) < 0)
		return fail_errno(err, "look at %s", path);
	if (now.st_uid == pw->pw_uid)
		return ST_OK;
	receiver = pw;
	/* Depth first: the folder itself comes last, so that a walk that was cut is begun again. */
	if (nftw(path, give_one, FOLDERS_OPEN_MAX, FTW_PHYS | FTW_DEPTH) != 0)
		return fail_errno(err, "give %s to %s", path, user);
	return ST_OK;
}

enum st privileges_give_file(const char *path, const char *user, struct err *err)
{
	const struct passwd *pw;
	enum st st;

	if (!is_wanted(user))
		return ST_OK;
	st = find(user, &pw, err);
	if (st == ST_OK && lchown(path, pw->pw_uid, pw->pw_gid) < 0)
		st = fail_errno(err, "give %s to %s", path, user);
	return st;
}

enum st privileges_drop(const char *user, const char *home, struct err *err)
{
	const struct passwd *pw;
	pid_t parent = getppid();
	enum st st;

	if (!is_wanted(user))
		return ST_OK;
	st = find(user, &pw, err);
	if (st != ST_OK)
		return st;
	if (initgroups(user, pw->pw_gid) < 0 || setgid(pw->pw_gid) < 0 || setuid(pw->pw_uid) < 0)
		return fail_errno(err, "become the user '%s'", user);
	/* The kernel forgot it when the user changed; and our parent may have died just then. */
	if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0)
		return fail_errno(err, "become the user '%s'", user);
	if (getppid() != parent)
		return fail(err, ST_GONE, "who started us is gone");
	if (access(home, X_OK) < 0)
		return fail(err, ST_DENIED, "the user '%s' may not enter %s (it needs mode 0711)",
			    user, home);
	return ST_OK;
}
