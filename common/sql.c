#include "common/sql.h"

#include <stddef.h>

bool sql_connect(MYSQL *my, const struct sql_address *where)
{
    const unsigned timeout_s = (unsigned)((where->timeout_ms + 999) / 1000);
    const unsigned tcp = MYSQL_PROTOCOL_TCP; /* "localhost" would mean a socket file */
    const my_bool on = 1;
    const my_bool off = 0;

    /* In spite of its name SSL_ENFORCE asks for TLS and does without if the server has none. */
    return mysql_optionsv(my, MYSQL_OPT_CONNECT_TIMEOUT, &timeout_s) == 0 &&
           mysql_optionsv(my, MYSQL_OPT_READ_TIMEOUT, &timeout_s) == 0 &&
           mysql_optionsv(my, MYSQL_OPT_WRITE_TIMEOUT, &timeout_s) == 0 &&
           mysql_optionsv(my, MYSQL_OPT_PROTOCOL, &tcp) == 0 &&
           mysql_optionsv(my, MYSQL_OPT_RECONNECT, &off) == 0 &&
           mysql_optionsv(my, MYSQL_OPT_SSL_ENFORCE, &on) == 0 &&
           mysql_optionsv(my, MYSQL_SET_CHARSET_NAME, "utf8mb4") == 0 &&
           mysql_real_connect(my, where->host, where->user, where->password, where->database,
                              (unsigned)where->port, NULL, 0) != NULL;
}
