#include "common/sql.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <sys/socket.h>

enum {
    PROBES = 3,
};

/*
 * A host that is gone says nothing, and some answers are waited for long: the kernel asks now and
 * then.  A connection for which that cannot be set is as good as any other.
 */
static void keep_alive(MYSQL *my, int timeout_s)
{
    const int on = 1;
    const int idle_s = timeout_s / 2 + 1;
    const int pause_s = timeout_s / (2 * PROBES) + 1;
    const int probes = PROBES;
    const int fd = mysql_get_socket(my);

    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &pause_s, sizeof(pause_s));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
}

bool sql_connect(MYSQL *my, const struct sql_address *where)
{
    const unsigned timeout_s = (unsigned)((where->timeout_ms + 999) / 1000);
    const unsigned tcp = MYSQL_PROTOCOL_TCP; /* "localhost" would mean a socket file */
    const my_bool on = 1;
    const my_bool off = 0;

    /* In spite of its name SSL_ENFORCE asks for TLS and does without if the server has none. */
    const bool ok = mysql_optionsv(my, MYSQL_OPT_CONNECT_TIMEOUT, &timeout_s) == 0 &&
                    mysql_optionsv(my, MYSQL_OPT_READ_TIMEOUT, &timeout_s) == 0 &&
                    mysql_optionsv(my, MYSQL_OPT_WRITE_TIMEOUT, &timeout_s) == 0 &&
                    mysql_optionsv(my, MYSQL_OPT_PROTOCOL, &tcp) == 0 &&
                    mysql_optionsv(my, MYSQL_OPT_RECONNECT, &off) == 0 &&
                    mysql_optionsv(my, MYSQL_OPT_SSL_ENFORCE, &on) == 0 &&
                    mysql_optionsv(my, MYSQL_SET_CHARSET_NAME, "utf8mb4") == 0 &&
                    mysql_real_connect(my, where->host, where->user, where->password,
                                       where->database, (unsigned)where->port, NULL, 0) != NULL;

    if (ok) {
        keep_alive(my, (int)timeout_s);
    }
    return ok;
}
