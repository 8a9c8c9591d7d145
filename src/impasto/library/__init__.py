"""Style libraries: works with their tags and sketches, searched and blended by the thousand.

    from impasto import library

    library.add("art.library", ["paintings"])
    found = library.search(library.open_library("art.library"), tags=["ink"])
    impasto.blend("harbour.jpg", found)

Names are imported when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from impasto.lazy import lazily

if TYPE_CHECKING:
    from impasto.library.adding import add
    from impasto.library.report import Report
    from impasto.library.searching import Selection, search
    from impasto.library.store import Library, open_library
    from impasto.library.upkeep import rebuild, remove

__all__ = ["Library", "Report", "Selection", "add", "open_library", "rebuild", "remove", "search"]

__getattr__ = lazily(
    __name__,
    {
        "impasto.library.adding": ("add",),
        "impasto.library.report": ("Report",),
        "impasto.library.searching": ("Selection", "search"),
        "impasto.library.store": ("Library", "open_library"),
        "impasto.library.upkeep": ("rebuild", "remove"),
    },
)


def __dir__() -> list[str]:
    return sorted(__all__)
