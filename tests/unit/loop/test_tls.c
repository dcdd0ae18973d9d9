/* TLS contexts and the self-signed certificate. */
#include "loop/tls.h"
#include "run.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/mailroot-test-XXXXXX";
static char cert[64], key[64], other_cert[64], other_key[64];

static int make_folder(void **state)
{
	(void)state;
	must(mkdtemp(dir) != NULL);
	snprintf(cert, sizeof(cert), "%s/cert.pem", dir);
	snprintf(key, sizeof(key), "%s/key.pem", dir);
	snprintf(other_cert, sizeof(other_cert), "%s/other-cert.pem", dir);
	snprintf(other_key, sizeof(other_key), "%s/other-key.pem", dir);
	return 0;
}

static int remove_folder(void **state)
{
	(void)state;
	unlink(cert);
	unlink(key);
	unlink(other_cert);
	unlink(other_key);
	rmdir(dir);
	return 0;
}

static void a_certificate_is_made_once(void **state)
{
	struct err err = { 0 };
	struct stat st;

	(void)state;
	assert_int_equal(tls_self_signed(cert, key, "mx.example", &err), ST_OK);
	assert_int_equal(stat(key, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(tls_self_signed(cert, key, "mx.example", &err), ST_EXISTS);
	assert_non_null(strstr(err.text, cert));
	/* Only the key is there: neither file may be touched or left behind. */
	assert_int_equal(tls_self_signed(other_cert, key, "mx.example", &err), ST_EXISTS);
	assert_int_equal(access(other_cert, F_OK), -1);
	assert_int_equal(tls_self_signed("/nowhere/c", "/nowhere/k", "mx.example", &err), ST_IO);
	assert_int_equal(tls_self_signed(other_cert, other_key, "a,DNS:b", &err), ST_BAD);
	assert_int_equal(access(other_cert, F_OK), -1);
}

static void the_certificate_names_the_host(void **state)
{
	FILE *f = fopen(cert, "r");

	(void)state;
	assert_non_null(f);
	X509 *x = PEM_read_X509(f, NULL, NULL, NULL);
	fclose(f);
	assert_non_null(x);
	assert_int_equal(X509_check_host(x, "mx.example", 0, 0, NULL), 1);
	assert_int_equal(X509_check_host(x, "localhost", 0, 0, NULL), 1);
	assert_int_equal(X509_check_ip_asc(x, "127.0.0.1", 0), 1);
	assert_int_equal(X509_check_host(x, "other.example", 0, 0, NULL), 0);
	int days, seconds;
	assert_int_equal(ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(x)), 1);
	assert_in_range(days, 3650, 3653);
	X509_free(x);
}

static void write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	must(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

static void wrong_files_are_named(void **state)
{
	struct err err = { 0 };
	struct tls *tls = NULL;

	(void)state;
	assert_int_equal(tls_server_new(cert, key, &tls, &err), ST_OK);
	tls_free(tls);
	tls_free(NULL);
	tls = NULL;
	assert_int_equal(tls_server_new(other_cert, key, &tls, &err), ST_NOTFOUND);
	assert_non_null(strstr(err.text, other_cert));
	assert_int_equal(tls_server_new(cert, other_key, &tls, &err), ST_NOTFOUND);
	assert_non_null(strstr(err.text, other_key));
	write_text(other_cert, "not a certificate\n");
	assert_int_equal(tls_server_new(other_cert, key, &tls, &err), ST_BAD);
	assert_non_null(strstr(err.text, other_cert));
	unlink(other_cert);
	assert_int_equal(tls_self_signed(other_cert, other_key, "x.example", &err), ST_OK);
	assert_int_equal(tls_server_new(cert, other_key, &tls, &err), ST_BAD);
	assert_non_null(strstr(err.text, other_key));
	assert_null(tls);
}

static void a_key_with_a_password_asks_nobody(void **state)
{
	EVP_PKEY *pkey = EVP_EC_gen("P-256");
	FILE *f = fopen(other_key, "w");
	struct err err = { 0 };
	struct tls *tls = NULL;

	(void)state;
	assert_int_equal(PEM_write_PrivateKey(f, pkey, EVP_aes_128_cbc(),
					      (const unsigned char *)"secret", 6, NULL, NULL),
			 1);
	fclose(f);
	EVP_PKEY_free(pkey);
	assert_int_equal(tls_server_new(cert, other_key, &tls, &err), ST_BAD);
	assert_non_null(strstr(err.text, other_key));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_certificate_is_made_once),
		cmocka_unit_test(the_certificate_names_the_host),
		cmocka_unit_test(wrong_files_are_named),
		cmocka_unit_test(a_key_with_a_password_asks_nobody),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
