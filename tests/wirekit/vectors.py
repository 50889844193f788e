"""Vectors of Rice coding as Safe Browsing v5 has it: (width, parameter, first value, deltas, data, values)."""

RICE = [
    (4, 30, 489866504, 2, "7400d2971bed497400", ["1d32c508", "291bc542", "f7a502e5"]),
    (
        8,
        62,
        2103960615330909784,
        2,
        "ea8dcda97300d297cb63717b1aed497400",
        ["1d32c5084a360e58", "291bc5421f1cd54d", "f7a502e56e8b01c6"],
    ),
    (
        16,
        126,
        2103960615330909784 << 64 | 17417795843993004048,
        2,
        "52f5d8db98b6ee4fe98dcda97300d2978308fd05faf6a213ca63717b1aed497400",
        [
            "1d32c5084a360e58f1b87109637a6810",
            "291bc5421f1cd54d99afcc55d166e2b9",
            "f7a502e56e8b01c6dc242b35122683c9",
        ],
    ),
    (
        32,
        254,
        2103960615330909784 << 192
        | 17417795843993004048 << 128
        | 12442768094943213214 << 64
        | 10311063094514325004,
        2,
        (
            "a0e3f706c0b3771da4cac3878f5929a352f5d8db98b6ee4fe98dcda97300d297"
            "3b396674979eb7b03d8d4ece571cd6a07e08fd05faf6a213ca63717b1aed497400"
        ),
        [
            "1d32c5084a360e58f1b87109637a6810acad97a861a7769e8f1841410d2a960c",
            "291bc5421f1cd54d99afcc55d166e2b9fe42447025895bf09dd41b2110a687dc",
            "f7a502e56e8b01c6dc242b35122683c9d25d07fb1f532d9853eb0ef3ff334f03",
        ],
    ),
    (4, 30, 0x1D7D1D75, 2, "f14e0833eb16a64100", ["1d7d1d75", "6a3f3131", "f273f40e"]),
    (4, 3, 0x30303030, 2, "22", ["30303030", "30303031", "30303032"]),
    (4, 7, 0x30303030, 2, "0202", ["30303030", "30303031", "30303032"]),
    (4, 8, 0x30303030, 2, "020400", ["30303030", "30303031", "30303032"]),
    (4, 26, 0, 1, "cf7d0000", ["00000000", "100003ee"]),
    (
        32,
        227,
        1 << 128 | 2,
        2,
        "02" + "00" * 27 + "40" + "00" * 28,
        [f"{1:032x}{2:032x}", f"{1:032x}{3:032x}", f"{1:032x}{5:032x}"],
    ),
]

# Raw differences of the tests of the protocol's version 4, whose bit stream is the same (k = 28).
DELTAS = [
    ([1777762129, 2093280223, 924369848], "bfa83ffbfcfb5e27e6c31dc638"),
    (
        [62763050, 1046523781, 192522171, 1800511020, 4442775, 582142548],
        "54607be70a5fc1dcee69defe583ca3d6a5f2108c4a595600",
    ),
]

SEARCH_REQUEST = "0a04291bc542"
SEARCH_RESPONSE = (
    "0a2d0a20291bc5421f1cd54d99afcc55d166e2b9fe42447025895bf09dd41b2110a687dc1202080212050801120101120308ac02"
)
SEARCH_NOTHING = "120308ac02"
BATCH_FULL = (
    "0a490a0573652d346212027631221508888acbe901101e180222097400d2971bed497400320308880e"
    "3a20d1099a04a9fd4f1ed0cd830fb388d03faa04cb1f0cb5819b9ecb84ec6e95bbbf"
)
BATCH_PARTIAL = (
    "0a400a0573652d3462120276321801220608ecf2b4910d2a020801320308880e"
    "3a2067c8618443a0a91f2af7f3a02e258fde8a31e0d754c2e9efa22c4a0c28dd88e2"
)
FIREFOX_REQUEST = "CgZ1d3MtNGISGwoNCAMQBhgBIgMwMDEwARDHyhEaAhgJuW4h-A=="
FIREFOX_VERSION = "0a0d0803100618012203303031300110c7ca111a021809b96e21f8"
CHROMIUM_REQUEST = "CgVzZS00YgoIbWNyeC0xNmIKBnV3cy00YgoGbXdiLTRiCgViaS00YgoFbXctNGIKCWNzZGRhLTMyYg=="
CHROMIUM_NAMES = ["se-4b", "mcrx-16b", "uws-4b", "mwb-4b", "bi-4b", "mw-4b", "csdda-32b"]
