"""Bad records, generated from docs/protocol.md section 3: each with the detail that the page gives it.

The tables below are the page's, written once more; nothing here knows the program's parser.
"""

import json
from collections import namedtuple

# keys and headers are as records may have them; what they are makes no difference to the detail.
# rules: the number in force before it.
Bad = namedtuple("Bad", "name value detail key headers rules", defaults=(b"k", (), 1))

KEYED = "e787366c-4cc6-8000-b966-02a1b9e15d3c"
UNKEYED = "0190163d-8694-7000-b966-02a1b9e15d3c"
ELSEWHERE = "0190163d-8694-7001-b966-02a1b9e15d3c"
BEYOND = "0190163d-8694-7fff-b966-02a1b9e15d3c"
LOG_ID = "0123456789abcdef0123456789abcdef"
TIME_MAX = 2**53 - 1
TOPIC_MAX = 5_000_000  # bytes: what the topic lets in, five times Kafka's default

# member -> (kind, lowest, highest, a good value)
ID, ITEM, ORDER, LOG, ACTION, USERS, NUMBER = "id", "item", "order", "log", "action", "users", "number"


def number(low, high, good=None):
    return (NUMBER, low, high, low if good is None else good)


TYPES = {
    "genesis": {"log_id": (LOG, 0, 0, LOG_ID), "partitions": number(1, 4096, 2), "rules": number(1, 1000000)},
    "rules": {"rules": number(1, 1000000)},
    "sale": {
        "op_id": (ID, 0, 0, "op-1"),
        "item_id": (ITEM, 0, 0, "thing@0"),
        "action": (ACTION, 0, 0, "change"),
        "total": number(0, 1000000000),
        "limit": number(1, 1000),
        "hold_ms": number(1, 604800000),
        "opens_at": number(0, TIME_MAX),
        "closes_at": number(0, TIME_MAX),
        "price": number(0, 1000000000000),
    },
    "restock": {
        "op_id": (ID, 0, 0, "op-2"),
        "item_id": (ITEM, 0, 0, "thing@0"),
        "qty": number(1, 1000000000),
    },
    "order": {
        "order_id": (ORDER, 0, 0, KEYED),
        "item_id": (ITEM, 0, 0, "thing@0"),
        "user_id": (ID, 0, 0, "eve"),
        "qty": number(1, 1000),
        "not_after": number(0, TIME_MAX, TIME_MAX),
    },
    "pay": {
        "order_id": (ORDER, 0, 0, UNKEYED),
        "payment_id": (ID, 0, 0, "pay-1"),
        "user_id": (ID, 0, 0, "eve"),
    },
    "cancel": {"order_id": (ORDER, 0, 0, UNKEYED), "user_id": (ID, 0, 0, "eve")},
    "tick": {},
    "mark": {"run_id": (ID, 0, 0, "run-1")},
    "archive": {"op_id": (ID, 0, 0, "op-3"), "item_id": (ITEM, 0, 0, "thing@0")},
}
OPTIONAL = {"sale": ("total", "limit", "hold_ms", "opens_at", "closes_at", "price"), "pay": ("user_id",)}
TERMS = OPTIONAL["sale"]

NO_TEXT = [7, 1.5, None, True, [], {}]
BAD_VALUES = {
    ID: NO_TEXT + ["", "a" * 65, "a b", 'a"b', "a,b", "a;b", "a\\b", "\x01", "a\x7f", "é"],
    ITEM: NO_TEXT + ["", "a" * 65, "a b", "a/b", "é", "@0", "a@", "a@00", "a@-0", "a@0@0", "a@x", "a\n"],
    ORDER: NO_TEXT
    + ["", KEYED.upper(), KEYED[:-1], KEYED + "0", KEYED.replace("-", ""), "{" + KEYED + "}"]
    + [KEYED[:14] + "4" + KEYED[15:], KEYED[:19] + "7" + KEYED[20:], KEYED[:19] + "c" + KEYED[20:]],
    LOG: NO_TEXT + ["", LOG_ID[:-1], LOG_ID + "0", LOG_ID.upper(), LOG_ID[:-1] + "g"],
    ACTION: NO_TEXT + ["", "Open", "stop", "open ", "archive"],
    USERS: NO_TEXT
    + ["", ",", "a,", ",a", "a,,b", "a, b", "a;b", "a,é", "a" * 65]
    + [",".join("a" * 65), [*"ab"], "b," + "a" * 65],
}
# Numbers as they are written, for whatever is not an integer in range.
BAD_NUMBERS = ['"1"', "null", "true", "[]", "{}", "1.0", "1.5", "1e2", "-1", "9007199254740993"]
BAD_NUMBERS += ["9223372036854775807", "-9223372036854775808"]
NO_NUMBERS = ["NaN", "nan", "Infinity", "-Infinity", "1e999", "9223372036854775808", "18446744073709551616"]
NO_NUMBERS += ["01", "+1", ".5", "1.", "0x10", "1_000", "--1", "١"]


def text(members, **raw):
    """An object's JSON; raw values are put in as they stand."""
    parts = [f"{json.dumps(k)}:{raw[k] if k in raw else json.dumps(v)}" for k, v in members.items()]
    return ("{" + ",".join(parts) + "}").encode()


def good(kind):
    return {"type": kind} | {name: field[3] for name, field in TYPES[kind].items()}


def broken_fields():
    """Each member of each type, broken in each way its kind can be."""
    for kind, fields in TYPES.items():
        for name, (what, low, high, _) in fields.items():
            where = f"{kind}.{name}"
            if what == NUMBER:
                for raw in dict.fromkeys([*BAD_NUMBERS, str(low - 1), str(high + 1)]):
                    yield Bad(f"{where}={raw}", text(good(kind), **{name: raw}), "bad_field")
                for raw in NO_NUMBERS if name in ("qty", "price") else NO_NUMBERS[:1]:
                    yield Bad(f"{where}={raw}", text(good(kind), **{name: raw}), "not_json")
            else:
                for i, value in enumerate(BAD_VALUES[what]):
                    # Terms beside an action that there is not: the action is what is wrong.
                    yield Bad(f"{where}#{i}", text(good(kind) | {name: value}), "bad_field")
            if name not in OPTIONAL.get(kind, ()):
                rest = {k: v for k, v in good(kind).items() if k != name}
                yield Bad(f"{where} missing", text(rest), "missing_field")
                yield Bad(f"{where} missing, and one more", text(rest | {"x": 1}), "missing_field")
            twice = text(good(kind))[:-1] + b"," + text({name: good(kind)[name]})[1:]
            yield Bad(f"{where} twice", twice, "not_json")


def unknown_members():
    for kind in TYPES:
        for extra in ({"x": 1}, {"Type": kind}, {"": ""}, {"typé": 1}):
            yield Bad(f"{kind} with {extra}", text(good(kind) | extra), "unknown_field")
        foreign = next(n for n in ("run_id", "log_id") if n not in TYPES[kind])
        yield Bad(f"{kind} with {foreign}", text(good(kind) | {foreign: "a"}), "unknown_field")
    for action in ("pause", "resume", "close"):
        sale = {k: v for k, v in good("sale").items() if k not in TERMS} | {"action": action}
        for term in TERMS:
            yield Bad(f"{action} with {term}", text(sale | {term: 1}), "unknown_field")
    named = text(good("archive") | {"users": "a,b"})
    yield Bad("archive with users, rules 1", named, "unknown_field")
    # An unknown member is found before a bad one, and a bad one before the wrong partition.
    yield Bad("unknown and bad", text(good("restock") | {"qty": 0, "x": 1}), "unknown_field")
    yield Bad("bad and elsewhere", text(good("restock") | {"qty": 0, "item_id": "a@1"}), "bad_field")


def users_under_rules_2():
    for i, value in enumerate(BAD_VALUES[USERS]):
        yield Bad(f"archive.users#{i}", text(good("archive") | {"users": value}), "bad_field", rules=2)
    yield Bad("users and x", text(good("archive") | {"users": "", "x": 1}), "unknown_field", rules=2)
    users = text(good("archive") | {"users": "a,b", "item_id": "a@1"})
    yield Bad("users and elsewhere", users, "wrong_partition", rules=2)


def other_types():
    for i, value in enumerate(["Order", "", "orders", " order", "malformed", None, 1, True, [], {}]):
        yield Bad(f"type#{i}", text(good("order") | {"type": value}), "unknown_type")
    rest = {k: v for k, v in good("order").items() if k != "type"}
    yield Bad("no type", text(rest), "unknown_type")
    yield Bad("an empty object", b"{}", "unknown_type")
    yield Bad("only something else", b'{"x":1}', "unknown_type")


def elsewhere():
    """Of partition 0 these are not; an item without a suffix is where its name's hash says."""
    for kind, fields in TYPES.items():
        for name, (what, *_) in fields.items():
            for value in {ITEM: ["a@1", "a@2", "a@4096", "a@" + "9" * 60], ORDER: [ELSEWHERE, BEYOND]}.get(what, []):
                yield Bad(f"{kind}.{name}={value}", text(good(kind) | {name: value}), "wrong_partition")


def no_json():
    order = text(good("order"))
    for kind in TYPES:
        whole = text(good(kind))
        for cut in range(0, len(whole), 7):
            yield Bad(f"{kind} cut at {cut}", whole[:cut], "not_json")
    for i, value in enumerate(
        [b"{", b"}", b"[]", b"[" + order + b"]", b"null", b"true", b"1", b'"order"', b" ", b"\n", b"\0"]
        + [order + b"x", order + order, order + b"\0", order + b",", b"\xef\xbb\xbf" + order, b"//\n" + order]
        + [order.replace(b'"', b"'"), order[:-1] + b",}", order.replace(b'"type"', b"type"), b"\xff\xfe"]
        + [order.replace(b'":', b'"', 1), order.replace(b",", b";"), order.decode().encode("utf-16")]
        + [order.replace(b"eve", b"e\x00e"), order.replace(b"eve", b"e\ne"), order.replace(b"eve", b"\x1b[2J")]
        + [b"[" * 2000, b"[" * 2000 + b"]" * 2000, b'{"a":' * 600 + b"1" + b"}" * 600 + b"}"]
        + [b'{"type":"tick","typ\\u0065":"tick"}', b'{"type":"tick","x":{"a":1,"a":2}}']
    ):
        yield Bad(f"no json #{i}", value, "not_json")
    for bad in (b"\xff", b"\xc0\xaf", b"\xc3", b"\xe2\x82", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80"):
        yield Bad(f"no utf-8 {bad.hex()}", order.replace(b"eve", b"e" + bad), "not_json")
        yield Bad(f"no utf-8 {bad.hex()} in a name", order[:-1] + b',"' + bad + b'":1}', "not_json")
    for bad in (b"\\u0000", b"\\ud800", b"\\udc00", b"\\ud800x", b"\\udc00\\ud800", b"\\x41", b"\\u12g4", b"\\"):
        yield Bad(f"escape {bad}", order.replace(b"eve", b"e" + bad), "not_json")
    # Well-formed, and what it spells is not an id.
    for spelled in (b"\\u00e9", b"\\ud83d\\ude00", b"\\u0020", b"\\n", b"\\u009b2J"):
        yield Bad(f"escape {spelled}", order.replace(b"eve", b"e" + spelled), "bad_field")


def deep_and_large():
    for depth in (1, 50, 500, 1500):
        value = b'{"type":"tick","x":' + b"[" * depth + b"]" * depth + b"}"
        yield Bad(f"{depth} deep", value, "unknown_field")
    nested = b'{"a":' * 500 + b"{}" + b"}" * 500
    yield Bad("nested objects", nested, "unknown_type")
    order = text(good("order"))
    for size in (4097, 5000, 8191, 8192, 8193, 65536, 900_000, TOPIC_MAX - 10_000):
        yield Bad(f"{size} bytes", b"x" * size, "too_large")
        yield Bad(f"{size} bytes of json", order.ljust(size), "too_large")
    yield Bad("4096 bytes that are none", b"{".ljust(4096), "not_json")
    many = b'{"type":"tick",' + b",".join(b'"m%d":%d' % (i, i) for i in range(300)) + b"}"
    yield Bad("300 members", many, "unknown_field")


ODD_KEYS = [None, b"\0", b"\xff" * 10, b"k" * 1024, b"k" * 1025, b"k" * 500_000, b"\x1b]0;x\x07", b"a b"]
ODD_HEADERS = [
    [("reason", b"ok"), ("topic", b"mine"), ("partition", b"9"), ("offset", b"-1")],
    [("traceparent", b"\xff" * 55)],
    [("h" * 1000, b"v" * 10_000)],
    [(f"h{i}", bytes([i])) for i in range(200)],
    [("twice", b"1"), ("twice", b"2"), ("null", None)],
]


def odd_envelopes():
    """The same few bad values with keys and headers of all kinds."""
    values = [(None, "null_value"), (b"{", "not_json"), (text(good("mark") | {"run_id": ""}), "bad_field")]
    for i, (value, detail) in enumerate(values):
        for j, key in enumerate(ODD_KEYS):
            yield Bad(f"value {i}, key {j}", value, detail, key)
        for j, some in enumerate(ODD_HEADERS):
            yield Bad(f"value {i}, headers {j}", value, detail, b"k", tuple(some))


def battery():
    """All of them, those of rules 1 first; no two are the same record."""
    makers = (broken_fields, unknown_members, other_types, elsewhere, no_json, deep_and_large, odd_envelopes)
    found = {}
    for bad in (b for maker in (*makers, users_under_rules_2) for b in maker()):
        found.setdefault((bad.key, bad.value, bad.headers), bad)
    return list(found.values())


def escaped(value):
    return "".join(f"\\u{ord(c):04x}" for c in value)


def look_alikes(order):
    """The records of a good order, as (value, key, headers), in which it is as good as in the plainest."""
    plain, key = text(order), order["item_id"].encode()
    yield plain, key, []
    yield plain.ljust(4096), key, []
    yield plain.rjust(4096, b"\n"), key, []
    yield json.dumps(order, indent=3).replace("\n", "\r\n\t").encode(), key, []
    yield text(dict(reversed(order.items()))), key, []
    spelled = ",".join(
        f'"{escaped(k)}":' + (f'"{escaped(v)}"' if isinstance(v, str) else str(v)) for k, v in order.items()
    )
    yield b"{" + spelled.encode() + b"}", key, []
    for odd in ODD_KEYS:
        yield plain, odd, []
    for some in ODD_HEADERS:
        yield plain, key, some
