"""The loops of ``clusters`` compiled by numba; each equals the Python function of the same name there."""

from __future__ import annotations

from typing import Any

import numpy as np

from llemma.corpus.minhash_numba import compiled

_U64 = np.uint64
_SEVENS, _ONES = _U64(0x7F7F7F7F7F7F7F7F), _U64(0x0101010101010101)
_7, _56, _STEP, _32 = _U64(7), _U64(56), _U64(0xD6E8FEB86659FD93), _U64(32)


@compiled
def root(parent: Any, number: Any) -> Any:
    """The lowest number that ``number`` is tied to; the way there becomes shorter."""
    while parent[number] != number:
        parent[number] = parent[parent[number]]
        number = parent[number]
    return number


@compiled
def unite(parent: Any, numbers: Any, same: Any) -> None:
    """Tie ``numbers[i]`` to ``numbers[i - 1]`` wherever ``same[i]``."""
    for i in range(1, len(numbers)):
        if same[i]:
            a, b = root(parent, numbers[i - 1]), root(parent, numbers[i])
            if a < b:
                parent[b] = a
            elif b < a:
                parent[a] = b


@compiled
def flatten(parent: Any, skip: Any) -> None:
    """Every number that is not skipped points to the lowest of its component."""
    for number in range(len(parent)):
        if not skip[number]:
            parent[number] = parent[parent[number]]  # lower numbers are flat already


@compiled
def equal_bytes(rows: Any, a: Any, b: Any, first: Any) -> Any:
    """In how many bytes two rows are equal from column ``first`` on."""
    count: Any = 0
    for column in range(first, rows.shape[1]):
        x = rows[a, column] ^ rows[b, column]
        zero = ~(((x & _SEVENS) + _SEVENS) | x | _SEVENS)
        count += np.int64(((zero >> _7) * _ONES) >> _56)
    return count


@compiled
def _holds(ordered: Any, code: Any) -> Any:
    low, high = 0, len(ordered)
    while low < high:
        middle = (low + high) // 2
        if ordered[middle] < code:
            low = middle + 1
        else:
            high = middle
    return low < len(ordered) and ordered[low] == code


@compiled
def common(sets: Any, starts: Any, ends: Any, left: Any, right: Any, out: Any) -> None:
    """How many elements the sorted sets ``left[k]`` and ``right[k]`` have in common."""
    for k in range(len(left)):
        a, b, count = starts[left[k]], starts[right[k]], 0
        while a < ends[left[k]] and b < ends[right[k]]:
            if sets[a] == sets[b]:
                count += 1
            step = sets[a] <= sets[b]
            b += sets[b] <= sets[a]
            a += step
        out[k] = count


@compiled
def resolve(
    rows: Any, numbers: Any, bands: Any, needed: Any, limit: Any, banned: Any, survivor: Any, equal: Any
) -> None:  # fmt: skip
    """See ``clusters.resolve``."""
    count = len(rows)
    size = 16
    while size < 2 * bands * count:
        size *= 2
    keys = np.zeros(size, dtype=np.uint64)
    heads = np.full(size, -1, dtype=np.int32)
    tails = np.full(size, -1, dtype=np.int32)
    who = np.empty(bands * count, dtype=np.int32)
    after = np.empty(bands * count, dtype=np.int32)
    slots = np.zeros(bands, dtype=np.int64)
    used = 0
    mask = _U64(size - 1)
    for i in range(count):
        best, best_equal = i, 0
        for band in range(bands):
            key = rows[i, 2 + band]
            if key == 0:
                slots[band] = -1
                continue
            key = key * _STEP + _U64(band)
            key = max(key ^ (key >> _32), _U64(1))
            slot = np.int64(key & mask)
            while keys[slot] != 0 and keys[slot] != key:
                slot = (slot + 1) & np.int64(mask)
            keys[slot] = key
            slots[band] = slot
            entry, looked = heads[slot], 0
            while entry >= 0 and who[entry] < best and looked < limit:
                found = equal_bytes(rows, i, who[entry], 2 + bands)
                pair = (_U64(numbers[i]) << _32) | _U64(numbers[who[entry]])
                if found >= needed and not _holds(banned, pair):
                    best, best_equal = who[entry], found
                    break
                entry = after[entry]
                looked += 1
        survivor[i], equal[i] = best, best_equal
        if best == i:
            for band in range(bands):
                slot = slots[band]
                if slot >= 0:
                    who[used], after[used] = i, -1
                    if heads[slot] < 0:
                        heads[slot] = used
                    else:
                        after[tails[slot]] = used
                    tails[slot] = used
                    used += 1
