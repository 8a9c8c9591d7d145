"""Maps of pictures that nobody has painted: what looks alike in all of them is one part.

The deep features of all pictures are clustered together (k-means), each picture's own average and contrast taken out
first, so that a photograph and a painting of the same things are not told apart as such. Borders follow the pictures'
edges (guided filter).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from impasto.encoders.vgg import VGG
from impasto.errors import UsageError
from impasto.pictures.color import to_space
from impasto.pictures.local_affine import guided
from impasto.pictures.picture import Picture
from impasto.pictures.resize import equal_area, fit, resize
from impasto.synthesis.objective import encode

LAYERS = ("relu3_1", "relu4_1", "relu4_2", "relu5_1")
GRID = "relu4_1"
"""The layer whose positions are clustered."""
SIDE, LONGEST = 384, 512
"""Of the square in pixels as large as which pictures are looked at, and the longest side of maps."""
DIMENSIONS, DETAIL = 24, 0.1
"""Principal components of the features; contrasts below that share of the mean one are not stretched."""
POSITION, COLOUR = 1.0, 0.5
"""What being above or below, and in the middle or aside, and colours count beside features."""
SOFTNESS = 0.15
"""Of borders, in units of a mean square distance within a part."""
RADIUS, EPS = 8, 1e-3
"""Of the guided filter, in pixels of the map."""
FEWEST, MOST = 2, 8
"""Parts of a map."""
RESTARTS, REFERENCES = 4, 4
SEEDS = 2**32
"""As many different ones has k-means."""
RAREST = 0.02
"""Share of each picture; what is rarer in one of them is no part."""
COLOURS = torch.tensor(
    [
        (230, 60, 50),
        (60, 160, 230),
        (70, 190, 80),
        (250, 220, 60),
        (160, 80, 200),
        (240, 150, 40),
        (90, 220, 210),
        (240, 130, 190),
    ]
)
"""Of the parts."""

Points = NDArray[np.float64]


def joint_maps(encoder: VGG, pictures: Sequence[Picture], count: int | None = None, seed: int = 0) -> list[Picture]:
    """A map of each of several pictures, parts of equal colours being alike; `count` is how many, or as many as stand
    out.

    Longest sides are 512 pixels at most. Raises `UsageError` as `check_maps` does.
    """
    check_maps(len(pictures), count, seed)
    grids = [_features(encoder, picture) for picture in pictures]
    points = _points([values for values, _ in grids])
    sizes = [values.shape[1] * values.shape[2] for values, _ in grids]
    beside = np.concatenate([extra for _, extra in grids])
    points = np.concatenate((points, beside), 1)
    centres = _centres(points, _number_of_parts(points, seed) if count is None else count, seed)
    distances = _frequent(_distances(points, centres), sizes)
    softness = SOFTNESS * max(distances.min(1).mean(), 1e-12)
    shares = np.exp((distances.min(1, keepdims=True) - distances) / softness)
    shares /= shares.sum(1, keepdims=True)
    parts = np.split(shares, np.cumsum(sizes)[:-1])
    return [
        _map(picture, torch.from_numpy(own.T.reshape(-1, *values.shape[1:])))
        for picture, own, (values, _) in zip(pictures, parts, grids, strict=True)
    ]


def check_maps(pictures: int, count: int | None, seed: int) -> None:
    """Raise `UsageError` for no pictures, for a number of parts that maps cannot have, and for an impossible seed."""
    if not pictures:
        raise UsageError("maps takes one or more pictures, none was given")
    if count is not None and (not isinstance(count, int) or not FEWEST <= count <= MOST):
        raise UsageError(f"parts {count}: must be a whole number of {FEWEST} to {MOST}")
    if not isinstance(seed, int) or seed < 0:
        raise UsageError(f"seed {seed}: must be a whole number, 0 or more")


@torch.no_grad()
def _features(encoder: VGG, picture: Picture) -> tuple[Tensor, Points]:
    """Features `(C, H, W)`, and beside them places and colours `(H·W, 5)`; nothing of it depends on the border."""
    pixels = resize(picture.pixels, *equal_area(picture.height, picture.width, SIDE**2))
    found = encode(encoder, pixels.to(next(encoder.parameters()).device), LAYERS)
    size = found[GRID].shape[-2:]
    layers = [F.interpolate(values.float(), size, mode="area").cpu() for values in found.values()]
    values = torch.cat([one / one.square().mean().sqrt().clamp(min=1e-12) for one in layers], 1)
    inner = values[..., 1:-1, 1:-1] if min(size) > 2 else values
    around = (values.shape[-1] - inner.shape[-1]) // 2 + 1
    smooth = F.avg_pool2d(F.pad(inner, (around,) * 4, mode="replicate"), 3, 1)[0]
    rows = torch.linspace(-1, 1, size[0])[:, None].expand(*size)
    columns = torch.linspace(-1, 1, size[1]).abs().expand(*size)
    colours = F.interpolate(to_space(pixels, "oklab"), size, mode="area")[0]
    colours = (colours - colours.mean((1, 2), keepdim=True)) / colours.std().clamp(min=1e-6)
    places = POSITION * torch.stack((rows, columns))
    beside = torch.cat((places, COLOUR / 3**0.5 * colours)).flatten(1).T
    return smooth, beside.double().numpy()


def _points(grids: Sequence[Tensor]) -> Points:
    """Principal components `(N, D)` of all pictures' features, each in units of its own contrasts, of mean square 1."""
    alike = []
    for values in grids:
        rows = values.flatten(1).T.double()
        alike.append((rows - rows.mean(0)) / (rows.std(0) + DETAIL * rows.std()).clamp(min=1e-12))
    rows = torch.cat(alike)
    _, vectors = torch.linalg.eigh(rows.T @ rows)
    found = rows @ vectors[:, -DIMENSIONS:]
    points: Points = (found / found.square().sum(1).mean().sqrt().clamp(min=1e-12)).numpy()
    return points


def _number_of_parts(points: Points, seed: int) -> int:
    """As many as stand out: the first for which one more would explain less than it would of points without parts.

    Tibshirani, Walther & Hastie, "Estimating the number of clusters in a data set via the gap statistic" (2001).
    """
    draw = np.random.default_rng(seed)
    lowest, highest = points.min(0), points.max(0)
    references = [draw.uniform(lowest, highest, points.shape) for _ in range(REFERENCES)]
    gaps, errors = [], []
    for count in range(FEWEST, MOST + 1):
        spreads = [np.log(_spread(one, count, seed)) for one in references]
        gaps.append(np.mean(spreads) - np.log(_spread(points, count, seed)))
        errors.append(np.std(spreads) * (1 + 1 / REFERENCES) ** 0.5)
        if len(gaps) > 1 and gaps[-2] >= gaps[-1] - errors[-1]:
            return count - 1
    return MOST


def _spread(points: Points, count: int, seed: int) -> float:
    return float(_distances(points, _centres(points, count, seed)).min(1).mean())


def _centres(points: Points, count: int, seed: int) -> Points:
    """Of the best of some attempts at k-means."""
    from scipy.cluster.vq import kmeans2

    seeds = [(seed + n) % SEEDS for n in range(RESTARTS)]
    attempts: list[Points] = [kmeans2(points, count, minit="++", seed=one)[0] for one in seeds]
    return min(attempts, key=lambda centres: float(_distances(points, centres).min(1).sum()))


def _distances(points: Points, centres: Points) -> Points:
    """Squared ones `(N, K)`."""
    found: Points = np.square(points[:, None] - centres[None]).sum(2)
    return found


def _frequent(distances: Points, sizes: Sequence[int]) -> Points:
    """Without the parts that are rare in one of the pictures, the rarest first, as long as there are two."""
    while distances.shape[1] > FEWEST:
        nearest = np.split(distances.argmin(1), np.cumsum(sizes)[:-1])
        shares = np.min([np.bincount(one, minlength=distances.shape[1]) / len(one) for one in nearest], 0)
        if shares.min() >= RAREST:
            break
        distances = np.delete(distances, shares.argmin(), 1)
    return distances


def _map(picture: Picture, shares: Tensor) -> Picture:
    """The part with the largest of the shares `(K, H, W)` everywhere, along the edges of the picture, as a colour."""
    height, width = fit(picture.height, picture.width, min(LONGEST, max(picture.height, picture.width)))
    wanted = F.interpolate(shares[None], (height, width), mode="bilinear")[0]
    pixels = resize(picture.pixels, height, width)[0].double()
    best = guided(wanted, pixels, RADIUS, EPS).argmax(0)
    colours = COLOURS[best].permute(2, 0, 1)[None] / 255
    return Picture(colours.contiguous(), picture.alpha, name=f"map of {picture.name}")
