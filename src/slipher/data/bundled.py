"""The galaxy that ships with slipher, for demonstrations and for tests without survey files.

NGC 3073 (Mrk 131): a dwarf S0 with a young population (strong Balmer absorption) and H II emission, S/N of 52 a pixel,
as SDSS observed it (Data Release 18, plate 945, MJD 52652, fibre 470). SDSS spectra are public; see NOTICE. Two things
differ from SDSS's file. Its pipeline fits an A star: CLASS stays STAR in `labels`, but the flag NOT_A_GALAXY is taken
away, since the object is a catalogued galaxy. And the redshift is the one of the pipeline's emission lines (0.00386),
since the star's (0.00376) is 30 km/s off. E(B-V) is the plate's median. At this distance a redshift says little about
luminosity: masses scale with the distance that is assumed.

To build the file again from SDSS's own: `python -m slipher.data.bundled spec-0945-52652-0470.fits`.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import as_file, files
from pathlib import Path

from slipher.data import read, write_spectrum
from slipher.data.checks import redshift_value
from slipher.data.observation import Spectrum
from slipher.errors import Flag

FILE = "ngc3073_sdss.fits"
LINE = "H_alpha"
COMMENTS = (
    "NGC 3073 from SDSS Data Release 18, plate 945, MJD 52652, fibre 470.",
    "Wavelength, flux, ivar and line-spread sigma as slipher reads them from",
    "spec-0945-52652-0470.fits; ivar is 0 under bright sky lines (BRIGHTSKY)",
    "and within 7 A of [O I] 5577.",
    "The redshift is that of the emission lines (SPZLINE); SPECOBJ's is of",
    "an A-star template, whose class STAR is kept in the labels only.",
    "E(B-V) is the plate's median, from REDDEN in the header (SFD98 scale).",
    "Please acknowledge SDSS: www.sdss.org/collaboration/citing-sdss",
)


def bundled_spectrum() -> Spectrum:
    """NGC 3073 as SDSS observed it; id 0945-52652-0470."""
    with as_file(files("slipher.data") / FILE) as path:
        return read(path)[0]


def build(source: str | Path, destination: str | Path) -> Path:
    """Writes the bundled file from SDSS's `spec-0945-52652-0470.fits`. Raises what `slipher.data.read` raises."""
    spectrum = read(source)[0]
    kept = replace(
        spectrum,
        redshift=redshift_value(spectrum.labels["LINES"][LINE]["z"]),
        flags=spectrum.flags & ~Flag.NOT_A_GALAXY,
        source="spec-0945-52652-0470.fits",
    )
    return write_spectrum(kept, destination, comments=COMMENTS)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line of the builder."""
    parser = argparse.ArgumentParser(description="Build slipher's bundled spectrum from SDSS's file.")
    parser.add_argument("source", type=Path, help="spec-0945-52652-0470.fits")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / FILE)
    options = parser.parse_args(arguments)
    build(options.source, options.out)


if __name__ == "__main__":
    main()
