"""Values that break what was not made for them."""

DEEP = '{"a":' * 400 + "1" + "}" * 400
WORDS = [
    *(
        "",
        " ",
        "a",
        "\x00",
        "a\x00b",
        "é",
        "\u202eabc",
        "😀",
        "\ud800",
        "\udfff",
        "\n",
        "\r\n\r\n",
        "\x7f",
        "%",
        "%00",
        "%zz",
    ),
    *("../../etc/passwd", "..", "/", "//", "a/b", "?", "#", "'; DROP TABLE keys; --", "<script>", "{{7*7}}", "${x}"),
    *("null", "true", "NaN", "Infinity", "-1", "1e999", "0x10", "١٢", "x" * 70, "x" * 300, "é" * 5_000),
    *(
        "00000000-0000-0000-0000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
        "{00000000-0000-0000-0000-000000000000}",
    ),
    *(
        "0001-01-01T00:00:00Z",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "2026-02-30T00:00:00Z",
        "2026-01-01",
    ),
    *("a@b", "a@0", "a@99999999999999999999", "@", "a@", "@a", "a@b@c", "[", "(", "\\", "*", "%_%"),
]
NUMBERS = [
    0,
    1,
    -1,
    2,
    99,
    101,
    501,
    2**15,
    2**31 - 1,
    2**31,
    2**32,
    2**53,
    2**63 - 1,
    2**63,
    -(2**63) - 1,
    2**64,
    10**30,
]
FLOATS = [0.0, -0.0, 0.5, 1.5, -1.5, 1e-300, 1e18, 1e308, 5e-324]
TYPES = [
    "application/json",
    "text/plain",
    "application/jsonl",
    "",
    "application/json; charset=utf-16",
    "a" * 300,
    "multipart/form-data",
]
HEADERS = [
    "idempotency-key",
    "x-charkha-workspace",
    "x-charkha-unit",
    "x-charkha-episode",
    "accept",
    "content-encoding",
]
HEADERS += [
    "traceparent",
    "cookie",
    "anthropic-version",
    "x-forwarded-for",
    "range",
    "if-none-match",
    "expect",
    "x-api-key",
]
