"""The style that many works share: a mixture of them, the one nearest to the photograph.

Ikuta, Ogaki & Odagiri, "Blending Texture Features from Multiple Reference Images for Style Transfer" (SIGGRAPH Asia
2016): the Gram matrix of a picture that is joined from works is the mean of theirs, so that a style is a simplex with
the works at its corners. Its point nearest to the content's own Gram matrix is what is transferred: the texture is the
works', the colours, as far as works have them, the content's. What differs here: the nearest point is exact, features
are those of `lite` or whichever encoder is asked for, and the transfer is the one of `transfer`, with all its options.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Self

import numpy as np
from pydantic import Field, model_validator

from impasto.encoders import load_encoder
from impasto.encoders.vgg import VGG
from impasto.errors import counted
from impasto.library.signature import Products, Signature, products, signature
from impasto.library.simplex import Nearest, Vector, nearest
from impasto.machine import Machine
from impasto.methods.settings import setting
from impasto.methods.transfer import TransferSettings, transfer
from impasto.methods.work import Work
from impasto.pictures.picture import Picture

MOST_NAMED = 6
"""Works, when those that take part are told."""


class BlendSettings(TransferSettings):
    """Settings of `blend`. `style_weights` say which works are to be preferred."""

    character: Annotated[float, Field(ge=0, le=1)] = setting(
        0.0, "style", "From the style nearest to the photograph (0) to the mean of all works (1).", common=True
    )
    shrinkage: Annotated[float, Field(ge=0, le=1000)] = setting(
        0.01, "style", "How much more works than the nearest take part (0 … 1000; 1: nearly all).", common=True
    )
    max_works: Annotated[int, Field(ge=1)] | None = setting(None, "style", "Most works that take part (1 …).")
    per_layer: bool = setting(False, "style", "Weights of their own for every layer, fine or coarse.")

    @model_validator(mode="after")
    def _is_one_style(self) -> Self:
        if self.has_regions:
            raise ValueError("masks and segmentation: blend paints the whole picture in one style; use transfer")
        if self.per_layer and self.mix == "losses":
            raise ValueError("per_layer: mixes targets layer by layer, and mix=losses has none")
        return self


def blend(
    content: Picture,
    styles: Sequence[Picture],
    settings: BlendSettings,
    machine: Machine,
    pictures: Mapping[str, Picture] | None = None,
    known: dict[Any, Any] | None = None,
) -> Work:
    """Repaint `content` in the style that `styles` share, as near to itself as that can be.

    Raises `UsageError` as `transfer` does.
    """
    known = {} if known is None else known
    encoder = load_encoder(settings.encoder, pooling=settings.pooling, device=machine.device)
    weights = weights_of_works(encoder, content, styles, settings, known)
    used = np.flatnonzero(sum(weights.values()) > 0).tolist()
    by_layer = {layer: own[used].tolist() for layer, own in weights.items()}
    shares = by_layer if settings.per_layer else next(iter(by_layer.values()))
    work = transfer(content, [styles[k] for k in used], settings, machine, pictures, known, shares)
    return replace(work, remarks=(_in_words(styles, weights),))


def _in_words(works: Sequence[Picture], weights: Mapping[str, Vector]) -> str:
    """`6 of 39 works: irises.jpg 44%, the-night-cafe.jpg 20%, … and 3 more`."""
    mean = np.mean([*weights.values()], 0)
    order = [k for k in np.argsort(-mean, kind="stable").tolist() if mean[k] > 0]
    shown = ", ".join(f"{works[k].name} {mean[k]:.0%}" for k in order[:MOST_NAMED])
    more = f" and {len(order) - MOST_NAMED} more" if len(order) > MOST_NAMED else ""
    return f"{len(order)} of {counted(len(works), 'work')}: {shown}{more}"


def weights_of_works(
    encoder: VGG,
    content: Picture,
    works: Sequence[Picture],
    settings: BlendSettings,
    known: dict[Any, Any],
) -> dict[str, Vector]:
    """Weights `(K,)`, of sum 1, of the works, by layer."""
    layers = tuple(encoder.check_layers(settings.style_layer_weights))
    own, *others = (_signature(encoder, one, settings, known) for one in (content, *works))
    by_layer = products(others, own)
    prior = np.array(settings.shares(len(works)))
    if settings.per_layer:
        found = {layer: _weights(one, prior, settings) for layer, one in by_layer.items()}
    else:
        first, *rest = by_layer.values()
        found = dict.fromkeys(layers, _weights(sum(rest, start=first), prior, settings))
    return {layer: (1 - settings.character) * own + settings.character * prior for layer, own in found.items()}


def _weights(one: Products, prior: Vector, settings: BlendSettings) -> Vector:
    """The weights of the mixture nearest to the content, of no more works than wanted."""
    best = _nearest(one, prior, settings, np.arange(len(prior)))
    weights = best.weights
    if settings.max_works is None or np.count_nonzero(weights) <= settings.max_works:
        return weights
    chosen = np.argsort(-weights)[: settings.max_works]
    few = np.zeros_like(weights)
    few[chosen] = _nearest(one, prior, settings, chosen).weights
    return few


def _nearest(one: Products, prior: Vector, settings: BlendSettings, chosen: np.ndarray) -> Nearest:
    prior = prior[chosen]
    prior = prior / prior.sum() if prior.any() else np.full(len(chosen), 1 / len(chosen))
    return nearest(
        one.works[np.ix_(chosen, chosen)],
        one.with_content[chosen],
        one.content,
        shrinkage=settings.shrinkage,
        prior=prior,
    )


def _signature(encoder: VGG, picture: Picture, settings: BlendSettings, known: dict[Any, Any]) -> Signature:
    layers = sorted(settings.style_layer_weights)
    key = ("signature", picture.sha256 or picture, settings.encoder, settings.pooling, *layers)
    if key not in known:
        known[key] = signature(encoder, picture, layers)
    found: Signature = known[key]
    return found
