"""Near matches: what people meant, and nothing else."""

from __future__ import annotations

from impasto.errors import near_file, near_match


def test_dashes_are_not_what_makes_options_alike() -> None:
    assert near_match("--size", ["--tile", "--scale"]) == ""
    assert near_match("--steps", ["--step", "--strength"]) == " (did you mean --step?)"


def test_suffixes_are_not_what_makes_files_alike() -> None:
    assert near_file("nope.jpg", ["udnie.jpg", "barn.jpg"]) == ""
    assert near_file("HARBOR.JPG", ["harbour.jpg", "hat.jpg"]) == " (did you mean harbour.jpg?)"
    assert near_file("wave.jpg", ["wave.png", "brave.jpg"]) == " (did you mean wave.png?)"
    assert near_file("wave.jpeg", ["wave.png", "wave.jpg"]) == " (did you mean wave.jpg?)"
