/*
 * The listener: where it listens, whom it lets in.  One connection too many is answered before it
 * is closed, since a client that is only cut off comes back at once.
 */
#include <errno.h>
#include <event2/listener.h>
#include <event2/util.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"
#include "producer/http_internal.h"

enum {
    ACCEPT_PAUSE_US = 100 * 1000, /* out of descriptors: trying again at once would only spin */
};

static void read_peer(const struct sockaddr *address, struct http_peer *peer)
{
    *peer = (struct http_peer){.port = 0};
    if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)address;
        memcpy(peer->address, &in6->sin6_addr, sizeof(peer->address));
        peer->port = ntohs(in6->sin6_port);
    } else if (address->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)address;
        peer->address[10] = peer->address[11] = 0xff;
        memcpy(peer->address + 12, &in->sin_addr, 4);
        peer->port = ntohs(in->sin_port);
    }
}

/* Says why, as far as the socket takes it; reading first, since unread input would turn into RST. */
static void turn_away(struct http *h, int fd)
{
    static const char text[] = "HTTP/1.1 503 Service Unavailable\r\n"
                               "Content-Type: application/problem+json\r\n"
                               "Retry-After: 1\r\n"
                               "Connection: close\r\n"
                               "\r\n"
                               "{\"type\":\"urn:seckill:problem:connections\","
                               "\"title\":\"Service Unavailable\",\"status\":503,"
                               "\"detail\":\"Too many connections; come again in a moment.\","
                               "\"reason\":\"connections\"}";
    ssize_t n = recv(fd, h->input, h->input_bytes, MSG_DONTWAIT);
    if (n != 0) {
        n = send(fd, text, sizeof(text) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    (void)n; /* best effort: this client is refused either way */
    (void)shutdown(fd, SHUT_WR);
    (void)close(fd);
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address,
                      int len, void *arg)
{
    struct http *h = arg;
    struct http_peer peer;
    (void)listener;
    (void)len;
    read_peer(address, &peer);
    /* First: nobody gives way to one who may not come in. */
    if (peers_is_full(h->peers, peer.address)) {
        http_count(h, STAT_HTTP_REFUSED_IP, 1);
        turn_away(h, fd);
        return;
    }
    if ((h->connections >= h->settings.connections_max && !http_conn_evict(h)) ||
        !peers_enter(h->peers, peer.address)) {
        http_count(h, STAT_HTTP_REFUSED_FULL, 1);
        turn_away(h, fd);
        return;
    }
    http_conn_add(h, fd, &peer);
}

static void on_accept_error(struct evconnlistener *listener, void *arg)
{
    struct http *h = arg;
    static const struct timeval pause = {0, ACCEPT_PAUSE_US};
    int error = EVUTIL_SOCKET_ERROR();
    http_count(h, STAT_HTTP_ACCEPT_ERRORS, 1);
    log_limited(LOG_LEVEL_ERROR, "http.accept_failed", LOG_ERRNO(error));
    (void)evconnlistener_disable(listener);
    (void)event_add(&h->accept_event, &pause); /* a timer's memory was reserved */
}

static void on_accept_again(evutil_socket_t fd, short what, void *arg)
{
    struct http *h = arg;
    (void)fd;
    (void)what;
    if (h->listener != NULL) {
        (void)evconnlistener_enable(h->listener);
    }
}

/* Reads "HOST:PORT", "[IPV6]:PORT" or ":PORT"; evutil_parse_sockaddr_port() refuses port 0. */
static bool resolve(const char *text, struct sockaddr_storage *address, int *len, struct err *err)
{
    char host[256] = "";
    struct slice name = slice_str(text);
    const char *colon = text == NULL ? NULL : strrchr(text, ':');
    const struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV,
                                   .ai_family = AF_UNSPEC,
                                   .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;

    if (colon == NULL || colon[1] < '0' || colon[1] > '9') {
        return err_set(err, ERR_REJECT, "listen address \"%s\" is not HOST:PORT",
                       text == NULL ? "" : text);
    }
    name.len = (size_t)(colon - text);
    if (name.len >= 2 && name.ptr[0] == '[' && colon[-1] == ']') {
        name = (struct slice){name.ptr + 1, name.len - 2};
    }
    if (!slice_copy(name, host, sizeof(host))) {
        return err_set(err, ERR_REJECT, "listen address \"%s\" is too long", text);
    }
    int rc = getaddrinfo(host[0] == '\0' ? NULL : host, colon + 1, &hints, &found);
    if (rc != 0) {
        return err_set(err, ERR_REJECT, "listen address \"%s\": %s", text, gai_strerror(rc));
    }
    memcpy(address, found->ai_addr, found->ai_addrlen);
    *len = (int)found->ai_addrlen;
    freeaddrinfo(found);
    return true;
}

static void set_port(struct sockaddr_storage *address, uint16_t port)
{
    if (address->ss_family == AF_INET6) {
        ((struct sockaddr_in6 *)(void *)address)->sin6_port = htons(port);
    } else {
        ((struct sockaddr_in *)(void *)address)->sin_port = htons(port);
    }
}

bool http_listen(struct http *h, struct err *err)
{
    struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
    int len = 0;
    const char *text = h->settings.listen;
    (void)event_assign(&h->accept_event, h->base, -1, 0, on_accept_again, h);
    if (!resolve(text, &address, &len, err)) {
        return false;
    }
    if (h->settings.port != 0) {
        set_port(&address, h->settings.port);
    }
    unsigned int flags = LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_REUSEABLE;
    if (h->settings.is_port_shared) {
        flags |= LEV_OPT_REUSEABLE_PORT;
    }
    h->listener = evconnlistener_new_bind(h->base, on_accept, h, flags, h->settings.backlog,
                                          (struct sockaddr *)&address, len);
    if (h->listener == NULL) {
        int error = EVUTIL_SOCKET_ERROR();
        return err_set(err, ERR_FATAL, "listen %s: %s", text, strerror(error));
    }
    evconnlistener_set_error_cb(h->listener, on_accept_error);

    socklen_t size = sizeof(address);
    struct http_peer self;
    if (getsockname(evconnlistener_get_fd(h->listener), (struct sockaddr *)&address, &size) != 0) {
        return err_set(err, ERR_FATAL, "getsockname: %s", strerror(errno));
    }
    read_peer((struct sockaddr *)&address, &self);
    h->port = self.port;
    return true;
}

void http_listen_drain(struct http *h)
{
    /*
     * Closing the listener resets what waits in its queue, which with a shared port no other
     * listener inherits: take it first.
     */
    (void)evconnlistener_disable(h->listener);
    while (true) {
        struct sockaddr_storage address = {0};
        socklen_t len = sizeof(address);
        int fd = accept4(evconnlistener_get_fd(h->listener), (struct sockaddr *)&address, &len,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            break;
        }
        on_accept(h->listener, fd, (struct sockaddr *)&address, (int)len, h);
    }
    evconnlistener_free(h->listener);
    h->listener = NULL;
}

void http_listen_end(struct http *h)
{
    (void)event_del(&h->accept_event);
    if (h->listener != NULL) {
        evconnlistener_free(h->listener);
        h->listener = NULL;
    }
}
