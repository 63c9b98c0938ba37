"""Keys in ascending order, kept in short chunks so that no operation touches more than a few thousand pointers."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

Key = TypeVar("Key", bound="tuple[Any, ...]")

CHUNK_LENGTH = 512


class SortedKeys(Generic[Key]):
    """An ordered set of tuples. Adding, removing and starting an iteration cost O(log n) plus one short chunk."""

    __slots__ = ("_chunks", "_lasts", "_length")

    def __init__(self) -> None:
        self._chunks: list[list[Key]] = []
        self._lasts: list[Key] = []  # the greatest key of each chunk
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Key]:
        for chunk in self._chunks:
            yield from chunk

    def first(self) -> Key | None:
        """Return the smallest key, None when there is none."""
        return self._chunks[0][0] if self._chunks else None

    def last(self) -> Key | None:
        """Return the greatest key, None when there is none."""
        return self._lasts[-1] if self._lasts else None

    def add(self, key: Key) -> None:
        """Insert a key that is not there yet."""
        self._length += 1
        if not self._chunks:
            self._chunks.append([key])
            self._lasts.append(key)
            return
        number = min(bisect_left(self._lasts, key), len(self._chunks) - 1)
        chunk = self._chunks[number]
        chunk.insert(bisect_left(chunk, key), key)
        self._lasts[number] = chunk[-1]
        if len(chunk) > 2 * CHUNK_LENGTH:
            self._split(number)

    def remove(self, key: Key) -> None:
        """Take out a key that is there."""
        number = bisect_left(self._lasts, key)
        chunk = self._chunks[number]
        del chunk[bisect_left(chunk, key)]
        self._length -= 1
        if chunk:
            self._lasts[number] = chunk[-1]
        else:
            del self._chunks[number], self._lasts[number]

    def since(self, bound: tuple[Any, ...]) -> Iterator[Key]:
        """Yield the keys from `bound` (a key or the beginning of one) upwards. The set must not change meanwhile."""
        number = bisect_left(self._lasts, bound)
        if number < len(self._chunks):
            chunk = self._chunks[number]
            yield from chunk[bisect_left(chunk, bound) :]
            for following in self._chunks[number + 1 :]:
                yield from following

    def _split(self, number: int) -> None:
        chunk = self._chunks[number]
        self._chunks[number : number + 1] = [chunk[:CHUNK_LENGTH], chunk[CHUNK_LENGTH:]]
        self._lasts[number : number + 1] = [chunk[CHUNK_LENGTH - 1], chunk[-1]]
