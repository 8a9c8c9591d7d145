"""The encoder of a library: the one it was made with, for good."""

from __future__ import annotations

from pathlib import Path

from impasto.encoders import load_encoder, weights_checksum
from impasto.encoders.catalogue import encoder_path
from impasto.encoders.vgg import VGG
from impasto.errors import LibraryError
from impasto.library.changes import Change, commit, create_library
from impasto.library.sketch import plan
from impasto.library.store import Library, Manifest, as_text, is_library, open_library


def open_or_create(folder: Path, encoder: str | None) -> Library:
    """The library, made if need be, if it is one of the encoder; where it has moved with its pictures, it is told so.

    Raises `LibraryError` and, for an encoder that cannot be had, `UsageError` and `WeightsError`.
    """
    encoder = None if encoder is None else _whole_name(encoder)
    if not is_library(folder):
        network = load_encoder(encoder or "lite")
        manifest = Manifest(encoder=encoder or "lite", encoder_checksum=weights_checksum(network), layers=plan(network))
        create_library(folder, manifest)
    library = open_library(folder)
    if encoder not in (None, library.now_at(library.manifest.encoder)):
        raise LibraryError(
            f"{folder}: is made with {library.manifest.encoder}, and encoders do not mix: leave --encoder out, or make "
            f"it anew with impasto library rebuild {folder} --encoder {encoder}"
        )
    encoder_of(library)
    return commit(library, Change()) if library.has_moved else library


def _whole_name(encoder: str) -> str:
    """The name of an encoder, as good from any folder."""
    path = encoder_path(encoder)
    return encoder if path is None else as_text(path)


def encoder_of(library: Library) -> VGG:
    """The encoder that a library is made with; raises `LibraryError` if it is another one now, or gone."""
    name = library.now_at(library.manifest.encoder)
    path = encoder_path(name)
    if path is not None and not path.is_file():
        raise LibraryError(
            f"{name}: no such file any more, and {library.folder} is made with it: put it back, or impasto library "
            f"rebuild {library.folder} --encoder lite"
        )
    network = load_encoder(name)
    if weights_checksum(network) != library.manifest.encoder_checksum:
        raise LibraryError(
            f"{library.folder}: the encoder {name} has changed since it was made: "
            f"impasto library rebuild {library.folder}"
        )
    return network
