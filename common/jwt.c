#include "common/jwt.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "common/base64url.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/ids.h"

/* Appends bytes in base64url. */
static void put_base64url(struct buf *b, struct slice bytes)
{
    char *room = buf_reserve(b, BASE64URL_CHARS(bytes.len) + 1);

    if (room != NULL) {
        buf_commit(b, base64url_encode(bytes.ptr, bytes.len, room));
    }
}

bool jwt_mint(struct slice secret, struct slice user_id, int64_t ttl_s, char *out, size_t size,
              struct err *err)
{
    int64_t now_s = clock_wall_ms() / 1000;
    char storage[256];
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned mac_len = 0;
    struct buf claims;
    struct buf token;

    if (secret.len == 0) {
        return err_set(err, ERR_REJECT,
                       "no jwt-secret: give jwt-secret-file or SECKILL_JWT_SECRET");
    }
    if (!ids_is_id(user_id)) {
        return err_set(err, ERR_REJECT,
                       "a user_id has 1..64 printable characters without blanks \" , ; \\");
    }
    buf_init_fixed(&claims, storage, sizeof(storage));
    buf_puts(&claims, "{\"sub\":");
    buf_json_string(&claims, user_id);
    buf_printf(&claims, ",\"iat\":%" PRId64 ",\"exp\":%" PRId64 "}", now_s, now_s + ttl_s);
    buf_init_fixed(&token, out, size);
    put_base64url(&token, slice_str("{\"alg\":\"HS256\",\"typ\":\"JWT\"}"));
    buf_putc(&token, '.');
    put_base64url(&token, buf_slice(&claims));
    if (HMAC(EVP_sha256(), secret.ptr, (int)secret.len, (const unsigned char *)token.ptr, token.len,
             mac, &mac_len) == NULL) {
        return err_set(err, ERR_FATAL, "no HMAC-SHA256");
    }
    buf_putc(&token, '.');
    put_base64url(&token, (struct slice){(const char *)mac, mac_len});
    if (!buf_ok(&claims) || !buf_ok(&token)) {
        return err_set(err, ERR_REJECT, "the token does not fit in %zu bytes", size);
    }
    return true;
}
