/*
 * refusal.h - every way in which the door says no: status, reason, and what to do about it.
 *
 * docs/protocol.md section 7 lists the reasons; clients may rely on them.  The detail here is used
 * where the place that refuses has nothing more exact to say.
 */
#ifndef PRODUCER_REFUSAL_H
#define PRODUCER_REFUSAL_H

/* X(id, status, reason, title, detail). */
#define REFUSALS(X)                                                                                \
    X(BAD_REQUEST, 400, "bad_request", "Bad request",                                              \
      "Correct the request before sending it again.")                                              \
    X(BAD_JSON, 400, "bad_json", "Not a JSON object",                                              \
      "Send one JSON object in UTF-8, each name once, nothing after it.")                          \
    X(BAD_FIELD, 400, "bad_field", "A field has a bad value",                                      \
      "Correct the field's type or range.")                                                        \
    X(UNKNOWN_FIELD, 400, "unknown_field", "Unknown field",                                        \
      "Leave out what this call does not define; see docs/protocol.md section 7.")                 \
    X(BAD_KEY, 400, "bad_key", "Bad Idempotency-Key",                                              \
      "Send one Idempotency-Key of 1 to 255 printable ASCII characters, bare or quoted.")          \
    X(LEFT, 400, "bad_request", "Connection closed too early",                                     \
      "Your side was closed before the order was placed, so nothing was.")                         \
    X(UNAUTHENTICATED, 401, "unauthenticated", "No token",                                         \
      "Send the header Authorization: Bearer <token>.")                                            \
    X(INVALID_TOKEN, 401, "invalid_token", "Invalid token", "Get a new token and send it.")        \
    X(UNKNOWN_ORDER, 404, "unknown_order", "Unknown order",                                        \
      "You have no such order here. If it was accepted moments ago it may still be in line: ask "  \
      "with the address in Location, or again shortly.")                                           \
    X(UNKNOWN_ITEM, 404, "unknown_item", "Unknown item", "No sale of this item was opened.")       \
    X(NOT_FOUND, 404, "not_found", "Not found",                                                    \
      "There is nothing at this address; see docs/protocol.md section 7.")                         \
    X(METHOD, 405, "method_not_allowed", "Method not allowed", "Use a method that Allow lists.")   \
    X(MEDIA_TYPE, 415, "unsupported_media_type", "Unsupported media type",                         \
      "Send the body as application/json.")                                                        \
    X(SOLD_OUT, 409, "sold_out", "Sold out",                                                       \
      "Not enough units are left. Some may come back when reservations lapse: try again later.")   \
    X(LIMIT_REACHED, 409, "limit_reached", "Limit reached",                                        \
      "The quantity is more than one user may have of this item.")                                 \
    X(NOT_OPEN, 409, "not_open", "Not open yet",                                                   \
      "The sale has not begun; see opens_at of the item.")                                         \
    X(CLOSED, 409, "closed", "Sale closed", "The sale is over.")                                   \
    X(PAUSED, 409, "paused", "Sale paused", "The sale is paused: try again later.")                \
    X(KEY_REUSED, 422, "key_reused", "Key used for another order",                                 \
      "This Idempotency-Key already names an order with other content. Use a new key for a new "   \
      "order.")                                                                                    \
    X(RATE_USER, 429, "rate_user", "Too many requests of this user",                               \
      "Slow down, and come again after Retry-After seconds.")                                      \
    X(RATE_IP, 429, "rate_ip", "Too many requests from this address",                              \
      "Slow down, and come again after Retry-After seconds.")                                      \
    X(RATE_GLOBAL, 503, "rate_global", "Busy",                                                     \
      "Too many orders at once: come again after Retry-After seconds.")                            \
    X(RATE_ITEM, 503, "rate_item", "Busy with this item",                                          \
      "Too many orders for this item at once: come again after Retry-After seconds.")              \
    X(QUEUE_FULL, 503, "queue_full", "Queue full",                                                 \
      "This request changed nothing. Come again after Retry-After seconds.")                       \
    X(WAITERS_FULL, 503, "queue_full", "Too many are waiting",                                     \
      "This request changed nothing. Come again after Retry-After seconds, or without Prefer: "    \
      "wait.")                                                                                     \
    X(LAGGING, 503, "lagging", "The line is too long",                                             \
      "This request placed nothing. Come again after Retry-After seconds.")                        \
    X(SLOW, 503, "slow", "Slower than it should be",                                               \
      "This request placed nothing. Come again after Retry-After seconds.")                        \
    X(RECOVERING, 503, "recovering", "Recovering",                                                 \
      "The store is being brought up to date. Come again after Retry-After seconds.")              \
    X(NOT_READY, 503, "not_ready", "Not ready",                                                    \
      "A part of the service cannot be reached. Come again after Retry-After seconds.")            \
    X(NOT_PLACED, 503, "not_ready", "Not placed",                                                  \
      "The log did not take it: this request changed nothing. Come again after Retry-After "       \
      "seconds.")                                                                                  \
    X(DRAINING, 503, "draining", "Shutting down",                                                  \
      "This server is about to stop. Connect again after Retry-After seconds.")                    \
    X(UNKNOWN_FATE, 504, "unknown", "Nobody knows yet",                                            \
      "It may have been placed or not. Ask for the order by its id; do not place it anew.")

#define REFUSAL_ENUM(id, status, reason, title, detail) REFUSAL_##id,
enum refusal {
    REFUSAL_NONE,
    REFUSALS(REFUSAL_ENUM) REFUSAL_COUNT,
};
#undef REFUSAL_ENUM

struct refusal_text {
    int status;
    const char *reason;
    const char *title;
    const char *detail;
};

/* Never for REFUSAL_NONE. */
const struct refusal_text *refusal_text(enum refusal refusal);

#endif /* PRODUCER_REFUSAL_H */
