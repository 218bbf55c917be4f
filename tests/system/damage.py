"""Damage to a file, as disks and people do it."""

from collections.abc import Callable, Iterator
from pathlib import Path

Damage = Callable[[Path], object]


def _flip(share: float) -> Damage:
    def flip(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[int(share * (len(data) - 1))] ^= 4
        path.write_bytes(data)

    return flip


def flipped_bits(whole: bytes, *, stop: int, step: int = 1) -> Iterator[bytes]:
    """A file with one bit flipped, for every `step`th bit of its first `stop` bytes."""
    for place in range(0, 8 * stop, step):
        data = bytearray(whole)
        data[place // 8] ^= 1 << place % 8
        yield bytes(data)


#: Truncated, empty, and one bit flipped at five places.
DAMAGES: dict[str, Damage] = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3]),
    "empty": lambda path: path.write_bytes(b""),
    **{f"bit at {share:.0%}": _flip(share) for share in (0.0, 0.1, 0.5, 0.8, 0.99)},
}
