/* cmd_init.c - make a new home. */
#include "admin/cli.h"
#include "admin/storelink.h"
#include "base/config.h"
#include "inet/services.h"
#include "loop/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define SERVICES_MAX 32

/* Other users may pass through what has a folder for one of the daemons below it. */
static enum st make_folder(const char *home, const char *name, mode_t mode, struct err *err)
{
	char path[4300];

	snprintf(path, sizeof path, "%s%s%s", home, name[0] ? "/" : "", name);
	if (mkdir(path, mode) < 0 && errno != EEXIST)
		return fail_errno(err, "make the folder %s", path);
	return ST_OK;
}

static enum st make_folders(const char *home, struct err *err)
{
	static const struct {
		const char *name;
		mode_t mode;
	} rows[] = {
		{ "", 0711 },    { "run", 0711 },    { "Mailroot", 0711 },     { "tls", 0700 },
		{ "log", 0700 }, { "groups", 0700 }, { "groups/first", 0700 },
	};
	enum st st = ST_OK;

	for (size_t i = 0; st == ST_OK && i < sizeof rows / sizeof rows[0]; i++)
		st = make_folder(home, rows[i].name, rows[i].mode, err);
	return st;
}

/* mailroot.conf with what the options say; the ports are base + standard port. */
static enum st write_config(struct cli *c, uint32_t base, struct err *err)
{
	const char *overrides[2 * (SERVICES_MAX + 3)];
	char ports[SERVICES_MAX][8], path[4300];
	struct buf text = BUF_MAX(1024 * 1024);
	struct config *defaults;
	enum st st = config_defaults(c->home, &defaults, err);
	size_t n = 0;
	int fd;

	if (st != ST_OK)
		return st;
	if (c->options[0]) {
		overrides[n++] = "domain";
		overrides[n++] = c->options[0];
	}
	if (c->options[1]) {
		overrides[n++] = "hostname";
		overrides[n++] = c->options[1];
	}
	for (size_t i = 0; base > 0 && i < nservices && i < SERVICES_MAX; i++) {
		snprintf(ports[i], sizeof ports[i], "%u",
			 (unsigned)(base + (uint32_t)config_int(defaults, services[i].port_key)) &
				 0xffff);
		overrides[n++] = services[i].port_key;
		overrides[n++] = ports[i];
	}
	overrides[n] = NULL;
	config_write(&text, overrides);
	config_free(defaults);
	snprintf(path, sizeof path, "%s/mailroot.conf", c->home);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0) {
		st = errno == EEXIST
			     ? fail(err, ST_EXISTS, "%s is already the home of a server", c->home)
			     : fail_errno(err, "make %s", path);
	} else {
		if (write(fd, text.at, text.len) != (ssize_t)text.len || fsync(fd) < 0)
			st = fail_errno(err, "write %s", path);
		close(fd);
	}
	buf_free(&text);
	return st;
}

static enum st make_certificate(const char *home, struct err *err)
{
	char cert[4300], key[4300];
	struct config *config;
	const char *host;
	char name[256] = "localhost";
	enum st st = config_read(home, &config, err);

	if (st != ST_OK)
		return st;
	host = config_str(config, "hostname");
	if (!host[0] && gethostname(name, sizeof name - 1) == 0)
		host = name;
	snprintf(cert, sizeof cert, "%s/tls/cert.pem", home);
	snprintf(key, sizeof key, "%s/tls/key.pem", home);
	st = tls_self_signed(cert, key, host[0] ? host : name, err);
	config_free(config);
	return st == ST_EXISTS ? ST_OK : st;
}

int cmd_init(struct cli *c)
{
	uint32_t base = 0;
	struct err err;
	enum st st;

	if (c->options[2] && (!span_u32(span_str(c->options[2]), &base) || base > 60000)) {
		return cli_misuse("--port-base takes a number up to 60000, not '%s'",
				  c->options[2]);
	}
	st = make_folders(c->home, &err);
	if (st == ST_OK)
		st = write_config(c, base, &err);
	if (st == ST_OK)
		st = make_certificate(c->home, &err);
	if (st != ST_OK)
		return cli_fail(&err);
	printf("made the home %s; its settings are in %s/mailroot.conf\n", c->home, c->home);
	if (!c->options[0])
		return 0;
	return cli_add_domain(c, c->options[0]);
}
