/* settings.c - every setting of mailroot.conf, one row each; see config.h.
 *
 * A new setting is a new row here and nothing else: file, manual page and checks follow.  A default
 * must be good for a server of 50 people on a small machine. */
#include "base/settings.h"

#define KIB 1024LL
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

/* clang-format off */
#define GROUP(title)                      { .type = SET_GROUP, .meaning = title }
#define INT(k, def, lo, hi, u, m)         { .key = k, .type = SET_INT, .number = def, .min = lo, .max = hi, .unit = u, .meaning = m }
#define BOOL(k, def, m)                   { .key = k, .type = SET_BOOL, .number = def, .meaning = m }
#define STR(k, def, m)                    { .key = k, .type = SET_STR, .text = def, .meaning = m }
#define PATH(k, def, m)                   { .key = k, .type = SET_PATH, .text = def, .meaning = m }
#define CHOICE(k, def, words, m)          { .key = k, .type = SET_CHOICE, .text = def, .choices = words, .meaning = m }
#define PORT(k, def, m)                   INT(k, def, 0, 65535, "port", m " 0 turns it off.")

const struct setting settings[] = {
	GROUP("Who we are"),
	STR("domain", "",
	    "The mail domain that is created when the home is made. More are added with 'mailroot domain add'."),
	STR("hostname", "",
	    "Our own name in greetings, Received lines and reports. Empty: what gethostname(2) says."),
	INT("loops", 0, 0, 256, "", "Event loops (threads) in each program. 0: one per core, at most 4."),
	INT("work_threads", 16, 1, 256, "",
	    "Threads in each program for what blocks: syncs of queue files, cold file reads, password hashes. Syncs that run at the same time share the disk's work."),
	STR("user_store", "", "User that mailroot-store runs as when mailrootd starts as root. Empty: no change."),
	STR("user_inet", "", "User that mailroot-inet runs as when mailrootd starts as root. Empty: no change."),

	GROUP("Where we listen"),
	STR("listen_address", "127.0.0.1", "IPv4 or IPv6 address to listen on; '0.0.0.0' or '::' for all of them."),
	PORT("port_smtp", 25, "Incoming mail."),
	PORT("port_submission", 587, "Mail from our own users, after STARTTLS and AUTH."),
	PORT("port_submissions", 465, "Mail from our own users, TLS from the first byte."),
	PORT("port_imap", 143, "IMAP, TLS by STARTTLS."),
	PORT("port_imaps", 993, "IMAP, TLS from the first byte."),
	PORT("port_pop3", 110, "POP3, TLS by STLS."),
	PORT("port_pop3s", 995, "POP3, TLS from the first byte."),

	GROUP("TLS and passwords"),
	PATH("tls_cert", "tls/cert.pem", "Certificate chain, PEM, our own certificate first."),
	PATH("tls_key", "tls/key.pem", "Private key of the certificate, PEM."),
	BOOL("auth_without_tls", 0,
	     "Take passwords in the clear on connections without TLS. Only for a server that nobody else can listen to."),
	CHOICE("password_hash", "argon2id", "argon2id yescrypt", "How new passwords are kept."),
	INT("auth_failures_per_minute", 10, 0, 100000, "",
	    "Wrong passwords that one address may try in a minute before further ones are refused unlooked. 0: no limit."),
	INT("auth_failure_delay_ms", 1500, 0, 60000, "milliseconds", "How long the answer to a wrong password waits."),

	GROUP("Limits on messages"),
	INT("message_size_max", 100 * MIB, KIB, 1024 * GIB, "bytes", "Largest message we take, announced as SIZE."),
	INT("recipients_max", 1000, 100, 1000000, "", "Recipients of one message. RFC 5321 wants at least 100."),
	INT("hops_max", 50, 10, 1000, "", "Received lines that a message may carry before it counts as a loop."),

	GROUP("Limits on connections"),
	INT("connections_max", 20000, 1, 10000000, "", "Connections at a time, all protocols together."),
	INT("connections_per_ip_max", 500, 0, 10000000, "", "Connections at a time from one address. 0: no limit."),
	INT("connects_per_minute_per_ip", 0, 0, 10000000, "", "New connections from one address in a minute. 0: no limit."),
	INT("messages_per_minute_per_ip", 0, 0, 10000000, "",
	    "Messages that one address may hand in by SMTP in a minute. 0: no limit."),
	INT("recipients_per_minute_per_ip", 0, 0, 10000000, "",
	    "Recipients that one address may name by SMTP in a minute. 0: no limit."),
	INT("errors_max", 20, 1, 100000, "", "Wrong commands in one connection before we end it."),
	INT("line_max", 64 * KIB, 8 * KIB, MIB, "bytes", "Longest command line, literals aside."),

	GROUP("Limits on time"),
	INT("smtp_timeout_s", 300, 1, 86400, "seconds", "Silence after which an SMTP connection ends."),
	INT("imap_timeout_s", 1860, 1, 86400, "seconds",
	    "Silence after which an IMAP connection ends. RFC 3501 wants at least 30 minutes."),
	INT("pop3_timeout_s", 660, 1, 86400, "seconds",
	    "Silence after which a POP3 connection ends. RFC 1939 wants at least 10 minutes."),
	INT("login_timeout_s", 120, 1, 86400, "seconds", "Silence after which a connection ends before its login."),
	INT("tls_timeout_s", 60, 1, 86400, "seconds", "How long a TLS handshake may take."),
	INT("write_timeout_s", 300, 1, 86400, "seconds", "How long a peer may take none of our bytes."),
	INT("data_rate_min", 100, 0, 1000000000, "bytes per second",
	    "Slowest peer that may hand in a message, over any minute. 0: no limit."),

	GROUP("The queue"),
	PATH("queue_dir", "Mailroot/Vsi 1", "Folder of the virtual server: Queue, Pickup, Badmail, Filter."),
	BOOL("through_delivery", 1,
	     "Put a message for our own mailboxes straight into the store before it is acknowledged, without a queue file, where nothing is in the way."),
	INT("queue_messages_max", 1000000, 100, 100000000, "",
	    "Messages that may wait in the queue. With more, new ones are refused for now."),
	INT("queue_fibers", 256, 4, 2048, "", "Messages of one queue that are worked on at a time."),
	INT("queue_glitch_retry_s", 60, 1, 86400, "seconds",
	    "Wait before another attempt after each of the first three failures of a message."),
	INT("queue_retry_s", 900, 1, 86400, "seconds", "Wait before every attempt after those."),
	INT("queue_expire_s", 172800, 60, 863913600, "seconds",
	    "Age at which a message that could not be delivered is given up and reported to its sender."),

	GROUP("The directory's cache"),
	INT("directory_ttl_s", 60, 1, 86400, "seconds", "How long an address that was looked up is remembered."),
	INT("directory_negative_ttl_s", 5, 1, 86400, "seconds", "How long it is remembered that an address does not exist."),
	INT("directory_entries_max", 20000, 100, 10000000, "", "Addresses remembered by each event loop."),

	GROUP("The store"),
	INT("log_segment_bytes", 5 * MIB, MIB, GIB, "bytes", "Size of one transaction log file."),
	INT("checkpoint_bytes", 64 * MIB, MIB, 64 * GIB, "bytes",
	    "Log that may wait for a checkpoint. More is faster; recovery after a crash reads at most this much."),
	INT("disk_reserve_bytes", 64 * MIB, 0, 1024 * GIB, "bytes",
	    "Room that must stay free on the disk: below it new mail is refused for now."),
	INT("dismount_wait_s", 10, 1, 3600, "s",
	    "How long a dismount waits for requests to end, and for replies that clients still read; so long waits a mount for those, too."),
	INT("ship_keep_bytes", GIB, MIB, 1024 * GIB, "bytes",
	    "Log that is kept for a standby that has not got it yet. One that falls behind further must begin again from a backup."),
	INT("disk_warn_bytes", GIB, 0, 1024 * GIB, "bytes",
	    "Free room on a disk below which a warning is written down and shown by 'mailroot status'. Below half of it, log files that are only kept for a roll-forward are given up, and a full backup is due. 0: see the next."),
	INT("disk_warn_percent", 3, 0, 100, "percent",
	    "The same as a part of the disk; the larger of the two counts, but no more than half of the disk. Both 0: no warning."),
	INT("cache_bytes", 64 * MIB, MIB, 1024 * GIB, "bytes", "Memory for blocks of the property database."),
	INT("scrub_mb_per_s", 4, 0, 100000, "MB/s",
	    "Pace at which stored messages are read again in the background and compared with their checksums. 0: never."),
	INT("scrub_interval_days", 7, 0, 3650, "days",
	    "From the end of one such pass over a database to the beginning of the next. 0: only by 'mailroot ese scrub start'."),

	GROUP("How much a mailbox may hold"),
	INT("quota_warn_bytes", 0, 0, 1024 * 1024 * GIB, "bytes",
	    "Size of a mailbox from which its owner is warned, once a day at most. 0: never. 'mailroot user quota' sets other limits for one user."),
	INT("quota_send_bytes", 0, 0, 1024 * 1024 * GIB, "bytes",
	    "Size of a mailbox from which its owner can't hand in mail. 0: no limit."),
	INT("quota_receive_bytes", 0, 0, 1024 * 1024 * GIB, "bytes",
	    "Size that a mailbox can't grow over: what does not fit is refused for now, so that the sender's server tries again. 0: no limit."),

	GROUP("What is kept after it was deleted"),
	INT("deleted_items_days", 14, 0, 36500, "days",
	    "How long messages that a user deleted for good can be brought back with 'mailroot deleted restore'. 0: not at all."),
	BOOL("deleted_items_until_backup", 0,
	     "Keep them, and the mailboxes of removed users, also beyond their days until a backup holds them."),
	INT("deleted_mailboxes_days", 30, 0, 36500, "days",
	    "How long the mailbox of a user who was removed can be given to a user again with 'mailroot mailbox reconnect'. 0: not at all."),

	GROUP("What we write down"),
	CHOICE("log_level", "info", "debug info notice warn error", "Least important events that are written."),
};
/* clang-format on */

const size_t settings_count = sizeof(settings) / sizeof(settings[0]);
