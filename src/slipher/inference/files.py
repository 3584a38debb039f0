"""Trees of named arrays in netCDF4 files.

They are written and read by xarray through h5netcdf, so that any netCDF tool, xarray and ArviZ open them; what their
groups mean is the caller's matter. Files appear whole or not at all (`slipher.files`).
"""

from pathlib import Path

import xarray as xr

from slipher.errors import UnreadableFile
from slipher.files import write_atomically


def write_tree(tree: xr.DataTree, path: str | Path) -> None:
    """Write a tree of datasets as netCDF4 groups. Errors as for `write_atomically`."""
    with write_atomically(path) as temporary:
        tree.to_netcdf(temporary, engine="h5netcdf")


def read_tree(path: str | Path) -> xr.DataTree:
    """Read a netCDF4 file into memory.

    Raises
    ------
    UnreadableFile
        If it is missing, truncated, or not netCDF4.
    """
    path = Path(path)
    try:
        with xr.open_datatree(path, engine="h5netcdf") as tree:
            return tree.load()
    except (OSError, ValueError, KeyError) as error:
        raise UnreadableFile(
            f"{path}: {error}", expected="a whole netCDF4 file", mend="Write the file again, or look at the path."
        ) from error
