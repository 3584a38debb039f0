"""A catalogue's rate and memory: `python benchmarks/catalogue_speed.py [--rows 100000] [--samples 100]`.

Simulated galaxies of five bands (SDSS ugriz, redshifts given) written to Parquet and answered by `slipher fit` as a user would, in a
process of its own: galaxies a second from the file to the file, and its memory, which must not grow with the number of rows. A quarter
of an hour.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sedflow import BANDS, catalogue_of
from tables import machine, markdown_table, write_section


def written(path: Path, n: int, model: str) -> None:
    """A catalogue of n galaxies as Parquet."""
    catalogue, _ = catalogue_of(model, n)
    columns = {"id": pa.array(catalogue.id.astype(str)), "z": pa.array(catalogue.redshift)}
    for i, band in enumerate("ugriz"):
        columns[band] = pa.array(catalogue.flux[:, i])
        columns["e" + band] = pa.array(1.0 / np.sqrt(catalogue.ivar[:, i]))
    pq.write_table(pa.table(columns), path)


def answered(path: Path, folder: Path, model: str, samples: int) -> tuple[float, float]:
    """Seconds and peak memory in MiB of one `slipher fit`."""
    bands = ",".join(f"{name}={band}:e{band}" for name, band in zip(BANDS, "ugriz", strict=True))
    command = [str(Path(sys.executable).with_name("slipher")), "fit", str(path), "--bands", bands, "--unit", "nanomaggy"]
    command += ["--redshift", "z", "--ebv", "0", "--model", model, "--samples", str(samples), "--id-column", "id", "--out", str(folder)]
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--model", default="photometry")
    options = parser.parse_args()
    here, rows = machine("slipher", "jax", "pyarrow"), []
    with tempfile.TemporaryDirectory() as folder:
        # Ever more rows: the peak of all children so far is that of the last.
        for n in (options.rows // 100, options.rows // 10, options.rows):
            path = Path(folder) / f"{n}.parquet"
            written(path, n, "provabgs")
            seconds, memory = answered(path, Path(folder), options.model, options.samples)
            size = (Path(folder) / f"{n}.answers.parquet").stat().st_size / 1e6
            rows.append([f"{n:,}", f"{seconds:.0f}", f"{n / seconds:.0f}", f"{memory:.0f}", f"{size:.1f}"])
            print(rows[-1], flush=True)
    text = ["## Catalogues: rate and memory", f"`python benchmarks/catalogue_speed.py`. {here}"]
    text.append(
        f"Five bands, {options.samples} samples, model `{options.model}`, by the network alone; from Parquet to Parquet, with start and "
        "compilation."
    )
    text.append(markdown_table(["rows", "s", "galaxies a second", "peak memory, MiB", "answers, MB"], rows))
    write_section("catalogue-speed", "\n\n".join(text))


if __name__ == "__main__":
    main()
