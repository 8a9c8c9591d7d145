"""Encoders as safetensors files whose header states the configuration."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import get_args

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from impasto.encoders.vgg import (
    PICTURE,
    VGG,
    Configuration,
    LayerGeometry,
    Padding,
    Pooling,
    branching_point,
    layer_geometry,
)
from impasto.errors import WeightsError, near_file

HEADER = "impasto"
"""The key of the configuration, as JSON, in the file's metadata."""

BELOW = "below."
"""Begins the names of the weights of the second trunk."""


def save_encoder(encoder: VGG, path: str | Path, *, dtype: torch.dtype = torch.float16) -> None:
    """Write an encoder as safetensors: `conv1_1.weight` …, `readout2_1.weight` … and its configuration in the header.

    Appears whole or not at all. Raises `WeightsError` if a weight does not fit into `dtype` or the file cannot be
    written.
    """
    tensors = {name: t.detach().cpu().to(dtype).contiguous() for name, t in named_weights(encoder).items()}
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise WeightsError(f"{path}: {name} has values that do not fit into {_plain(dtype)}; not saved")
    path = Path(path)
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        scratch.write_bytes(save(tensors, metadata={HEADER: encoder.configuration.to_json()}))
        scratch.replace(path)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        scratch.unlink(missing_ok=True)


def read_encoder(path: Path) -> VGG:
    """Read what `save_encoder` wrote, as float32.

    Raises `WeightsError`, naming file and tensor, if the file is missing, damaged, without the header, or does not
    hold what its header says. Tensors that the header does not mention are ignored.
    """
    if not path.is_file():
        siblings = [p.name for p in path.parent.glob("*.safetensors")] if path.parent.is_dir() else []
        raise WeightsError(f"{path}: no such file{near_file(path.name, siblings)}")
    try:
        with safe_open(path, framework="pt") as file:
            configuration = _configuration(path, (file.metadata() or {}).get(HEADER))
            present = set(file.keys())
            tensors = {name: file.get_tensor(name) for name in expected_shapes(configuration) if name in present}
    except SafetensorError as error:
        raise WeightsError(f"{path}: not a whole safetensors file ({error})") from error
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or error})") from error
    return assemble(configuration, tensors, path)


def assemble(configuration: Configuration, tensors: Mapping[str, Tensor], path: Path) -> VGG:
    """A float32 trunk with these weights (`conv1_1.weight` …); raises `WeightsError` for those that do not fit.

    `path` is named in the errors. Leaves torch's random state alone.
    """
    for name, shape in expected_shapes(configuration).items():
        tensor = tensors.get(name)
        if tensor is None:
            raise WeightsError(f"{path}: {name} is missing")
        if tuple(tensor.shape) != shape:
            raise WeightsError(f"{path}: {name} has the shape {tuple(tensor.shape)}, expected {shape}")
        if not tensor.is_floating_point() or not tensor.float().isfinite().all():
            raise WeightsError(f"{path}: {name} has values that are no finite numbers")
    with torch.random.fork_rng(devices=[]):
        encoder = VGG(configuration)
    with torch.no_grad():
        for name, parameter in named_weights(encoder).items():
            parameter.copy_(tensors[name])
    return encoder


def named_weights(encoder: VGG) -> dict[str, Tensor]:
    """The parameters under the names that they have in a file."""
    readouts = encoder.readouts.state_dict(keep_vars=True)
    below = {} if encoder.below is None else named_weights(encoder.below)
    return {
        **encoder.convolutions.state_dict(keep_vars=True),
        **{name.replace("relu", "readout"): parameter for name, parameter in readouts.items()},
        **{f"{BELOW}{name}": parameter for name, parameter in below.items()},
    }


def expected_shapes(configuration: Configuration, before: LayerGeometry = PICTURE) -> dict[str, tuple[int, ...]]:
    """Names and shapes of an encoder's tensors, in order; or of a trunk that goes on after a layer."""
    shapes: dict[str, tuple[int, ...]] = {}
    channels = before.channels
    for layer, place in layer_geometry(configuration, before).items():
        name = layer.replace("relu", "conv")
        shapes[f"{name}.weight"] = (place.channels, channels, 3, 3)
        shapes[f"{name}.bias"] = (place.channels,)
        channels = place.channels
        if layer in configuration.readouts:
            name = layer.replace("relu", "readout")
            width = configuration.readouts[layer]
            shapes[f"{name}.weight"] = (width, channels, 1, 1)
            shapes[f"{name}.bias"] = (width,)
    if configuration.below is not None:
        below = expected_shapes(configuration.below, branching_point(configuration, configuration.below.first_block))
        shapes |= {f"{BELOW}{name}": shape for name, shape in below.items()}
    return shapes


def _configuration(path: Path, header: str | None) -> Configuration:
    if header is None:
        raise WeightsError(
            f'{path}: its header lacks "{HEADER}", the JSON of an impasto.encoders.Configuration (name, widths, '
            "convolutions, mean, std, channel_order, padding, pooling); write such files with save_encoder"
        )
    try:
        configuration = Configuration.from_json(header)
        wrong = _first_fault(configuration)
    except (ValueError, TypeError, RecursionError) as error:
        raise WeightsError(f'{path}: "{HEADER}" in its header is no configuration ({error})') from error
    if wrong:
        raise WeightsError(f'{path}: "{HEADER}" in its header has an impossible {wrong}')
    return configuration


def _first_fault(c: Configuration, is_below: bool = False) -> str | None:
    """The first field that no trunk can have; the header comes from a file, so the types prove nothing."""
    sound = {
        "name": isinstance(c.name, str),
        "widths": isinstance(c.widths, tuple) and bool(c.widths) and all(map(_width, c.widths)),
        "convolutions": _counts(c.convolutions) and _matches(c.convolutions, c.widths),
        "first_block": type(c.first_block) is int and (c.first_block == 1 or (is_below and c.first_block > 1)),
        "mean": _three_numbers(c.mean),
        "std": _three_numbers(c.std) and all(c.std),
        "channel_order": c.channel_order in ("RGB", "BGR"),
        "padding": c.padding in get_args(Padding),
        "pooling": c.pooling in get_args(Pooling),
        "readouts": isinstance(c.readouts, dict) and (c.readouts == {} or _widths_by_layer(c)),
        "below": c.below is None or _goes_on(c, c.below),
    }
    return next((f"{field} ({getattr(c, field)!r})" for field, good in sound.items() if not good), None)


def _counts(values: object) -> bool:
    return isinstance(values, tuple) and bool(values) and all(type(v) is int and 0 < v <= 1 << 16 for v in values)


def _width(value: object) -> bool:
    return _counts(value) or _counts((value,))


def _matches(convolutions: Sequence[int], widths: object) -> bool:
    return (
        isinstance(widths, tuple)
        and len(convolutions) == len(widths)
        and all(not isinstance(width, tuple) or len(width) == n for n, width in zip(convolutions, widths, strict=True))
    )


def _widths_by_layer(c: Configuration) -> bool:
    return _counts(tuple(c.readouts.values())) and _counts(c.convolutions) and set(c.readouts) <= set(c.layers)


def _three_numbers(values: object) -> bool:
    return (
        isinstance(values, tuple)
        and len(values) == 3
        and all(isinstance(v, int | float) and isfinite(v) for v in values)
    )


def _goes_on(c: Configuration, below: Configuration) -> bool:
    """Whether the second trunk is sound, and goes on where the first ends."""
    sound = isinstance(below, Configuration) and below.below is None and _first_fault(below, is_below=True) is None
    return sound and _counts(c.convolutions) and below.goes_on(c)


def _plain(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
