"""Style libraries of up to half a million works: opening, searching, choosing for a blend; and the speed of indexing.

    python benchmarks/libraries.py --library REAL --photo PHOTO --work FOLDER --out benchmarks/results/libraries
    python benchmarks/libraries.py --pictures FOLDER --work FOLDER --out benchmarks/results/indexing

Works are simulated: sketches are mixtures of two of a real library's with a little noise, tags and authors are drawn
from a hundred and a thousand. Every measurement is a fresh process, with the library in the cache of the disk; memory
is the process's peak, of which what is mapped from disk can be given back.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import impasto
from impasto.library.adding import add
from impasto.library.changes import WORKS_OF_A_SHARD, Change, commit, create_library
from impasto.library.choosing import choose
from impasto.library.searching import search
from impasto.library.store import open_library
from measures import table

COUNTS = (1_000, 10_000, 100_000, 500_000)
REPEATS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--library", type=Path)
    parser.add_argument("--photo", type=Path)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="where simulated libraries are made, and removed")
    parser.add_argument("--out", type=Path, required=True, help="path without suffix")
    parser.add_argument("--most", type=int, default=COUNTS[-1])
    options = parser.parse_args()
    if options.pictures is not None:
        rows = indexing(options.pictures, options.work)
    else:
        rows = [scaled(options, count) for count in COUNTS if count <= options.most]
    options.out.with_suffix(".json").write_text(json.dumps(rows, indent=1) + "\n")
    options.out.with_suffix(".md").write_text(table(rows))


def scaled(options: argparse.Namespace, count: int) -> dict[str, Any]:
    """Seconds and gigabytes for a library of so many works."""
    folder = options.work / f"{count}.library"
    shutil.rmtree(folder, ignore_errors=True)
    simulate(options.library, folder, count)
    row: dict[str, Any] = {
        "works": count,
        "GB on disk": round(sum(f.stat().st_size for f in folder.iterdir()) / 1e9, 2),
    }
    for name, act in (("open", opened), ("tag", by_tag), ("like", by_look), ("choose", chosen), ("tag + choose", both)):
        runs = [apart(act, folder, options.photo) for _ in range(REPEATS)]
        row[f"{name}, s"] = round(float(np.median([seconds for seconds, _, _ in runs])), 2)
        row[f"{name}, GB"] = round(max(peak for _, peak, _ in runs) / 1e9, 2)
        row |= runs[0][2]
    print(row, flush=True)
    shutil.rmtree(folder)
    return row


def simulate(real: Path, folder: Path, count: int) -> None:
    source = open_library(real)
    sketches = torch.cat(source.sketches()).float()
    units = source.manifest.units
    scale = torch.cat([torch.full((n,), units[layer]) for layer, n in source.manifest.layers.items()])
    library = create_library(folder, source.manifest.model_copy(update={"shards": (), "sources": (), "skipped": None}))
    draw = np.random.default_rng(0)
    for start in range(0, count, 4 * WORKS_OF_A_SHARD):
        size = min(4 * WORKS_OF_A_SHARD, count - start)
        pairs = torch.from_numpy(draw.integers(0, len(sketches), (2, size)))
        share = torch.from_numpy(draw.random((size, 1), dtype=np.float32))
        mixed = sketches[pairs[0]].lerp(sketches[pairs[1]], share)
        mixed += 0.02 * torch.from_numpy(draw.standard_normal(mixed.shape, dtype=np.float32)) / mixed.shape[1] ** 0.5
        rows = [row(start + n, draw) for n in range(size)]
        library = commit(library, Change(added=rows, sketches=[*(mixed * scale)]))


def row(number: int, draw: np.random.Generator) -> dict[str, Any]:
    tags = [f"tag {tag}" for tag in draw.integers(0, 100, 5)]
    return {
        "id": f"{number:064x}",
        "path": f"/pictures/{number % 1000}/work-{number}.jpg",
        "title": f"work {number}",
        "author": f"author {draw.integers(0, 1000)}",
        "tags": tags,
        "licence": "",
        "facts": "folders",
        "width": 800,
        "height": 600,
        "bytes": 100_000,
        "modified": 0,
        "thumbnail": draw.bytes(3000),
    }


Act = Callable[[Path, Path], dict[str, Any]]


def opened(folder: Path, _photo: Path) -> dict[str, Any]:
    library = open_library(folder)
    library.sketches()
    return {"works found": library.works("id").num_rows}


def by_tag(folder: Path, _photo: Path) -> dict[str, Any]:
    return {"with a tag": len(search(open_library(folder), tags=["tag 7"]))}


def by_look(folder: Path, photo: Path) -> dict[str, Any]:
    search(open_library(folder), like=impasto.read_picture(photo), limit=20)
    return {}


def chosen(folder: Path, photo: Path) -> dict[str, Any]:
    found = choose(search(open_library(folder)), impasto.read_picture(photo), shrinkage=0.01, preferred={})
    return {"chosen": len(found.places)}


def both(folder: Path, photo: Path) -> dict[str, Any]:
    choose(search(open_library(folder), tags=["tag 7"]), impasto.read_picture(photo), shrinkage=0.01, preferred={})
    return {}


def apart(act: Act, *arguments: Path) -> tuple[float, int, dict[str, Any]]:
    """Seconds, peak memory in bytes and what was found, in a process of its own; its start does not count."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        found: tuple[float, int, dict[str, Any]] = pool.apply(timed, (act, *arguments))
    return found


def timed(act: Act, *arguments: Path) -> tuple[float, int, dict[str, Any]]:
    began = time.perf_counter()
    found = act(*arguments)
    return time.perf_counter() - began, peak_of_this_process(), found


def peak_of_this_process() -> int:
    """In bytes; `getrusage` would count what its parent held."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def indexing(pictures: Path, work: Path) -> list[dict[str, Any]]:
    """Pictures a second by number of processes, their start included, and of a second look at the same folder."""
    rows = []
    for processes in (1, 2):
        folder = work / "indexed.library"
        shutil.rmtree(folder, ignore_errors=True)
        seconds, found = added(folder, pictures, processes)
        again, _ = added(folder, pictures, processes)
        rows.append(
            {"processes": processes, **found, "a second": round(found["works"] / seconds, 2), "again, s": again}
        )
        print(rows[-1], flush=True)
        shutil.rmtree(folder)
    return rows


def added(folder: Path, pictures: Path, processes: int) -> tuple[float, dict[str, Any]]:
    torch.set_num_threads(1)
    began = time.perf_counter()
    report = add(folder, [pictures], processes=processes)
    return round(time.perf_counter() - began, 2), {"works": report.added or report.known}


if __name__ == "__main__":
    main()
