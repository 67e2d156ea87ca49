"""Fixed tables of randomness, the same in every scene: noise for textures and clouds, and chances by whole numbers."""

import cv2
import numpy as np

TILE_BITS = 9
TILE = 1 << TILE_BITS
MASK = TILE - 1


def _make_tile(octaves: tuple[tuple[int, float], ...]) -> np.ndarray:
    """Noise ``[TILE, TILE]``, about -1 to 1, that wraps around: weighted layers of so many cells across."""
    rng = np.random.default_rng(20220619)
    total = np.zeros((TILE, TILE), np.float32)
    for cells, weight in octaves:
        k = TILE // cells
        grid = np.pad(rng.standard_normal((cells, cells)).astype(np.float32), 3, mode="wrap")
        grown = cv2.resize(grid, None, fx=k, fy=k, interpolation=cv2.INTER_CUBIC)
        total += weight * grown[3 * k : 3 * k + TILE, 3 * k : 3 * k + TILE]
    return np.clip(total / (1.7 * total.std()), -1.6, 1.6)


TILES: np.ndarray = np.stack(
    [_make_tile(((64, 0.8), (32, 0.5), (16, 0.4))), _make_tile(((256, 0.8), (128, 0.7)))]
).reshape(2, -1)
"""float32 ``[2, TILE * TILE]``: patches some 8 texels wide, and grain some 2 texels wide.

Both are smooth from texel to texel, so that picking the nearest one does not show squares."""

CLOUDS: np.ndarray = _make_tile(((64, 0.3), (32, 0.6), (16, 0.8)))
"""float32 ``[TILE, TILE]``: the shape of clouds."""

_CHANCES = np.random.default_rng(20220620).random((2, 1 << 14), dtype=np.float32)


def chance(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two numbers in [0, 1) that depend on three whole numbers (``a`` and ``b`` may be floats)."""
    index = (a.astype(np.int32) * 1907 + b.astype(np.int32) * 7103 + c.astype(np.int32) * 4229) & (
        _CHANCES.shape[1] - 1
    )
    return _CHANCES[0].take(index), _CHANCES[1].take(index)
