/* tls.c - OpenSSL contexts and the first certificate; see tls.h. */
#include "loop/tls_private.h"

#include "base/clock.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TEN_YEARS_DAYS 3652

enum st tls_fail(struct err *err, enum st st, const char *what)
{
	char words[160] = "no reason given";
	unsigned long code = ERR_peek_error();

	if (code)
		ERR_error_string_n(code, words, sizeof(words));
	ERR_clear_error();
	return fail(err, st, "%s: %s", what, words);
}

/* ---- contexts ---- */

/* OpenSSL would ask the terminal for the password of an encrypted key. */
static int no_password(char *buf, int size, int writing, void *arg)
{
	(void)buf;
	(void)size;
	(void)writing;
	(void)arg;
	return 0;
}

static SSL_CTX *context_new(void)
{
	static const unsigned char id[] = "mailroot";
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	if (!ctx)
		return NULL;
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	/* Many mail clients end without close_notify.  That is an end like any other: our protocols say
	 * themselves whether something was cut off. */
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
					 SSL_OP_CIPHER_SERVER_PREFERENCE |
					 SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
				      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	/* One read(2) for a record, not one for its header and one for its body. */
	SSL_CTX_set_read_ahead(ctx, 1);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_session_id_context(ctx, id, sizeof(id) - 1);
	SSL_CTX_set_num_tickets(ctx, 1);
	SSL_CTX_set_default_passwd_cb(ctx, no_password);
	return ctx;
}

static enum st must_be_readable(const char *path, struct err *err)
{
	if (access(path, R_OK) == 0)
		return ST_OK;
	if (errno == ENOENT || errno == ENOTDIR)
		return fail(err, ST_NOTFOUND, "%s: no such file", path);
	return fail_errno(err, "%s", path);
}

static enum st load_files(SSL_CTX *ctx, const char *cert_file, const char *key_file,
			  struct err *err)
{
	enum st st = must_be_readable(cert_file, err);

	if (st == ST_OK)
		st = must_be_readable(key_file, err);
	if (st != ST_OK)
		return st;
	ERR_clear_error();
	if (SSL_CTX_use_certificate_chain_file(ctx, cert_file) != 1)
		return tls_fail(err, ST_BAD, cert_file);
	/* A key that belongs to another certificate is refused here already. */
	if (SSL_CTX_use_PrivateKey_file(ctx, key_file, SSL_FILETYPE_PEM) != 1 ||
	    SSL_CTX_check_private_key(ctx) != 1)
		return tls_fail(err, ST_BAD, key_file);
	return ST_OK;
}

enum st tls_server_new(const char *cert_file, const char *key_file, struct tls **out,
		       struct err *err)
{
	struct tls *tls = calloc(1, sizeof(*tls));

	if (tls)
		tls->ctx = context_new();
	if (!tls || !tls->ctx) {
		free(tls);
		return tls_fail(err, ST_NOMEM, "TLS context");
	}
	enum st st = load_files(tls->ctx, cert_file, key_file, err);
	if (st != ST_OK) {
		tls_free(tls);
		return st;
	}
	*out = tls;
	return ST_OK;
}

void tls_free(struct tls *tls)
{
	if (!tls)
		return;
	SSL_CTX_free(tls->ctx);
	free(tls);
}

/* ---- a self-signed certificate ---- */

static bool add_extension(X509 *cert, int nid, const char *value)
{
	X509V3_CTX ctx;

	X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
	X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	bool ok = ext && X509_add_ext(cert, ext, -1);
	X509_EXTENSION_free(ext);
	return ok;
}

static bool set_names(X509 *cert, const char *host)
{
	char alternatives[320];
	X509_NAME *name = X509_get_subject_name(cert);

	snprintf(alternatives, sizeof(alternatives), "DNS:%s,DNS:localhost,IP:127.0.0.1", host);
	/* The common name has 64 characters; the alternative names are what clients look at. */
	if (strlen(host) <= 64 &&
	    !X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)host, -1,
					-1, 0))
		return false;
	return X509_set_issuer_name(cert, name) &&
	       add_extension(cert, NID_subject_alt_name, alternatives) &&
	       add_extension(cert, NID_basic_constraints, "critical,CA:FALSE") &&
	       add_extension(cert, NID_ext_key_usage, "serverAuth");
}

static bool fill_certificate(X509 *cert, EVP_PKEY *key, const char *host)
{
	uint64_t serial = random_u64() >> 1;

	return X509_set_version(cert, X509_VERSION_3) &&
	       ASN1_INTEGER_set_uint64(X509_get_serialNumber(cert), serial) &&
	       X509_gmtime_adj(X509_getm_notBefore(cert), -3600) &&
	       X509_time_adj_ex(X509_getm_notAfter(cert), TEN_YEARS_DAYS, 0, NULL) &&
	       X509_set_pubkey(cert, key) && set_names(cert, host) &&
	       X509_sign(cert, key, EVP_sha256());
}

static enum st create(const char *path, mode_t mode, FILE **out, struct err *err)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);

	if (fd < 0 && errno == EEXIST)
		return fail(err, ST_EXISTS, "%s: exists already", path);
	if (fd < 0)
		return fail_errno(err, "%s", path);
	*out = fdopen(fd, "w");
	if (*out)
		return ST_OK;
	enum st st = fail_errno(err, "%s", path);
	close(fd);
	unlink(path);
	return st;
}

/* Closes both and keeps them only when every byte has reached them. */
static enum st write_pair(FILE *cert_out, FILE *key_out, X509 *cert, EVP_PKEY *key, struct err *err)
{
	bool ok = PEM_write_X509(cert_out, cert) &&
		  PEM_write_PrivateKey(key_out, key, NULL, NULL, 0, NULL, NULL) &&
		  fflush(cert_out) == 0 && fflush(key_out) == 0 && fsync(fileno(cert_out)) == 0 &&
		  fsync(fileno(key_out)) == 0;
	enum st st = ok ? ST_OK : fail_errno(err, "write the self-signed certificate");

	fclose(cert_out);
	fclose(key_out);
	return st;
}

static enum st write_files(const char *cert_file, const char *key_file, X509 *cert, EVP_PKEY *key,
			   struct err *err)
{
	FILE *cert_out, *key_out;
	enum st st = create(cert_file, 0644, &cert_out, err);

	if (st != ST_OK)
		return st;
	st = create(key_file, 0600, &key_out, err);
	if (st != ST_OK) {
		fclose(cert_out);
		unlink(cert_file);
		return st;
	}
	st = write_pair(cert_out, key_out, cert, key, err);
	if (st != ST_OK) {
		unlink(cert_file);
		unlink(key_file);
	}
	return st;
}

enum st tls_self_signed(const char *cert_file, const char *key_file, const char *host,
			struct err *err)
{
	if (strlen(host) > 253 || strpbrk(host, ",:= \n"))
		return fail(err, ST_BAD, "'%s' is no host name", host);
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = X509_new();
	enum st st;

	ERR_clear_error();
	if (!key || !cert || !fill_certificate(cert, key, host))
		st = tls_fail(err, ST_NOMEM, "make a certificate");
	else
		st = write_files(cert_file, key_file, cert, key, err);
	X509_free(cert);
	EVP_PKEY_free(key);
	return st;
}
