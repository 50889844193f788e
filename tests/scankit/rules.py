"""YARA rules as public collections have them: metadata, text and hex strings, regular expressions, modules."""

from random import Random

_WORDS = ("Loader", "Stealer", "Ransom", "Backdoor", "Dropper", "Miner", "Rootkit", "Webshell", "Beacon")


def public_style(count: int, *, seed: int = 1) -> str:
    """Write so many rules; none of them fits anything that a test makes."""
    draw = Random(seed)
    return 'import "pe"\nimport "hash"\nimport "math"\n\n' + "\n".join(
        _rule(draw, number) for number in range(count)
    )


def _rule(draw: Random, number: int) -> str:
    word = draw.choice(_WORDS)

    def text(size: int) -> str:
        return "".join(
            draw.choices("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_", k=size)
        )

    def code(size: int) -> str:
        return " ".join(
            f"{draw.randrange(256):02x}" if draw.random() < 0.9 else "??" for _ in range(size)
        )  # fmt: skip

    return f"""rule MAL_{word}_{number:05d} : {word.lower()} windows {{
  meta:
    description = "Detects {word} {text(12)}"
    author = "nobody"
    reference = "https://example.org/{text(16)}"
    date = "2026-01-{draw.randrange(1, 29):02d}"
    score = {draw.randrange(40, 100)}
    hash = "{draw.randbytes(32).hex()}"
  strings:
    $s1 = "{text(18)}" ascii wide
    $s2 = "{text(14)}" fullword nocase
    $s3 = "\\\\{text(10)}\\\\{text(6)}.exe" ascii
    $x1 = {{ {draw.randbytes(4).hex(" ")} {code(8)} [2-6] {code(6)} {draw.randbytes(2).hex(" ")} }}
    $r1 = /{text(6)}[a-z0-9]{{4,12}}\\.{text(5)}/ ascii
  condition:
    (uint16(0) == 0x5a4d and filesize < {draw.randrange(1, 20)}MB and (all of ($s*) or $x1 or
      (pe.number_of_sections > {draw.randrange(3, 9)} and $r1 and math.entropy(0, 512) > 7.0)))
    or hash.sha256(0, filesize) == "{draw.randbytes(32).hex()}"
}}
"""
