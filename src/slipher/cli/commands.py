"""The commands and their arguments. Heavy libraries are imported where they are used: help answers at once."""

from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup

from slipher import __version__
from slipher.cli import catalogues, compiled, terminal
from slipher.cli.declared import declarations
from slipher.cli.targets import answers, attempt, read_targets
from slipher.data.bundled import bundled_spectrum
from slipher.data.checks import ebv_value, redshift_value
from slipher.errors import InputError, ModelFileError, SlipherError, UnreadableFile

WRONG_USAGE, NOT_ANSWERED = 2, 3
DEMO = "NGC 3073: a dwarf S0 galaxy with young stars and ionised gas, as SDSS observed it (DR18, 0945-52652-0470)."
DEMO_FIGURE = "slipher-demo.png"
TABLES = ("answers", "provabgs")  # `slipher.report.answers` and `slipher.report.provabgs`
SAMPLERS = ("amortised", "refined", "nuts", "nested", "tempered")  # `slipher.inference.methods`, which help does not wait for


class _Slipher(TyperGroup):
    """Says errors in one line: wrong arguments end in status 2, unreadable files and full disks in status 3."""

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # `slipher fit --json ... | head`: typer ends in silence
            raise
        except (UnreadableFile, ModelFileError, OSError) as error:
            terminal.complain(terminal.one_line(error))
            raise typer.Exit(NOT_ANSWERED) from error
        except SlipherError as error:
            terminal.complain(terminal.one_line(error))
            raise typer.Exit(WRONG_USAGE) from error


app = typer.Typer(
    cls=_Slipher,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
models_app = typer.Typer(help="The trained models that ship with slipher.", no_args_is_help=True)
app.add_typer(models_app, name="models")

Model = Annotated[str, typer.Option(help="Galaxy model: `slipher models list` names them.")]
ModelName = Annotated[str, typer.Argument(metavar="MODEL", help="Name of a model: `slipher models list` names them.")]
Samples = Annotated[int, typer.Option(min=1, max=100_000, help="Draws from each posterior.")]
Refine = Annotated[bool, typer.Option(help="Correct the network's draws by the exact likelihood.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the random numbers.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
Out = Annotated[Path, typer.Option("--out", file_okay=False, help="Folder for the results, made if missing.")]
OutIfGiven = Annotated[Path | None, typer.Option("--out", file_okay=False, help="Folder for the results.")]


def _print_version(wanted: bool) -> bool:
    if wanted:
        typer.echo(f"slipher {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def slipher(
    version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")] = False,
) -> None:
    """Galaxy physics from spectra, in calibrated posteriors."""


PHOTOMETRY = "Catalogues of photometry"
POPULATIONS = "Stellar populations"


@app.command()
def fit(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="SDSS, BOSS and DESI files, tables; with --bands, catalogues.")],
    redshift: Annotated[
        str | None, typer.Option(metavar="Z", help="Heliocentric redshift, in place of the file's; of a catalogue also its column.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Galaxy model: `slipher models list` names them.")] = None,
    samples: Annotated[int | None, typer.Option(min=1, max=100_000, help="Draws from each posterior: 1000; of catalogues 300.")] = None,
    refine: Annotated[
        bool | None, typer.Option("--refine/--no-refine", help="Correct the network's draws by the exact likelihood.")
    ] = None,
    sampler: Annotated[str | None, typer.Option(help=f"How to draw: {', '.join(SAMPLERS)}.")] = None,
    out: OutIfGiven = None,
    as_json: Json = False,
    seed: Seed = 0,
    ebv: Annotated[
        str | None, typer.Option(metavar="MAG", help="Galactic E(B-V), in place of the file's; of a catalogue also its column.")
    ] = None,
    survey: Annotated[str | None, typer.Option(help="For tables: sdss, boss, desi or custom.")] = None,
    resolving_power: Annotated[float | None, typer.Option(help="For tables: wavelength / FWHM.")] = None,
    wave_unit: Annotated[str | None, typer.Option(help="For tables: unit of the wavelengths, such as nm.")] = None,
    flux_unit: Annotated[str | None, typer.Option(help="For tables: unit of the fluxes, such as Jy.")] = None,
    wave_medium: Annotated[str | None, typer.Option(help="For tables: vacuum or air.")] = None,
    bands: Annotated[
        str | None, typer.Option(rich_help_panel=PHOTOMETRY, help="FILTER=FLUX:ERROR[:LIMIT] of each band, with commas between.")
    ] = None,
    unit: Annotated[str | None, typer.Option(rich_help_panel=PHOTOMETRY, help="ABmag, nanomaggy, uJy or another of f_nu.")] = None,
    id_column: Annotated[str | None, typer.Option(rich_help_panel=PHOTOMETRY, help="Column of the objects' names.")] = None,
    missing: Annotated[
        str | None, typer.Option(rich_help_panel=PHOTOMETRY, help="Numbers that mean that there is no value: -99,99.")
    ] = None,
    errors: Annotated[str, typer.Option(rich_help_panel=PHOTOMETRY, help="sigma or ivar.")] = "sigma",
    default_error: Annotated[
        float | None, typer.Option(rich_help_panel=PHOTOMETRY, help="Fractional error of bands without a column of errors.")
    ] = None,
    error_floor: Annotated[
        str, typer.Option(rich_help_panel=PHOTOMETRY, help="Added to errors, as a fraction of the flux: 0.05, or 0.1,0.05,... by band.")
    ] = "0",
    limit_sigma: Annotated[float, typer.Option(rich_help_panel=PHOTOMETRY, help="How many sigma upper limits are.")] = 3.0,
    negative_errors_are_limits: Annotated[
        bool, typer.Option("--negative-errors-are-limits", rich_help_panel=PHOTOMETRY, help="As in LePhare's catalogues.")
    ] = False,
    column_names: Annotated[
        str | None, typer.Option(rich_help_panel=PHOTOMETRY, help="Names of the columns of a file without a line of them.")
    ] = None,
    table: Annotated[str, typer.Option(rich_help_panel=PHOTOMETRY, help=f"Columns to write: {' or '.join(TABLES)}.")] = "answers",
    keep_draws: Annotated[
        str | None, typer.Option(rich_help_panel=PHOTOMETRY, help="Quantities of which to keep all draws: redshift,log_mstar.")
    ] = None,
) -> None:
    """Fit spectra or photometry: a posterior of each galaxy's physics.

    Spectra, with --out DIR: ID.posterior.nc, ID.summary.ecsv and ID.png for each. Catalogues need --bands and --unit, are answered by
    the network alone unless --refine or --sampler says otherwise, infer redshifts that are not given, and with --out DIR write
    NAME.answers.parquet with a row for each of theirs, or with --table provabgs NAME.provabgs.fits.
    Status 0: all answered; 2: wrong usage; 3: something could not be read, fitted or written, and is named on stderr.
    """
    from slipher import models

    compiled.keep()
    chosen = _sampler(sampler, refine, usual="refined" if bands is None else "amortised")
    how = {"model": model, "samples": samples, "seed": seed, "sampler": chosen}
    models.card(model or ("galaxy" if bands is None else "photometry"))  # one mistake, not a failure of every galaxy
    folder = None if out is None else _made(out)
    of_spectra = {"resolving_power": resolving_power, "wave_unit": wave_unit, "flux_unit": flux_unit, "wave_medium": wave_medium}
    of_catalogues = {
        "unit": unit, "id_column": id_column, "missing": missing, "default_error": default_error, "column_names": column_names,
    }  # fmt: skip
    if bands is None:
        _refuse("without", **of_catalogues, keep_draws=keep_draws)
        _one_file(files, {"--redshift": redshift, "--ebv": ebv})
        given = {"redshift": redshift_value(_number("--redshift", redshift)), "ebv": ebv_value(_number("--ebv", ebv))}
        complete = _fit_spectra(files, given | declarations(survey=survey, **of_spectra), how, folder, as_json=as_json)
    else:
        _refuse("with", **of_spectra)
        _refuse_table(table, folder)
        declared = of_catalogues | {
            "bands": bands, "missing": tuple(missing.split(",")) if missing else (), "errors": errors,
            "error_floor": _fractions(error_floor), "limit_sigma": limit_sigma, "negative_error_is_limit": negative_errors_are_limits,
            **({} if survey is None else {"survey": survey}),
            **catalogues.number_or_column("redshift", redshift), **catalogues.number_or_column("ebv", ebv),
        }  # fmt: skip
        how |= {"keep": keep_draws.split(",") if keep_draws else [], "table": table}
        answered = [catalogues.answer(path, declared, how, folder, as_json=as_json) for path in files]
        complete = all(answered)
    raise typer.Exit(0 if complete else NOT_ANSWERED)


def _fit_spectra(files: list[Path], declared: dict, how: dict, folder: Path | None, *, as_json: bool) -> bool:
    """Fit, print and write all spectra of files; whether all were answered."""
    from slipher import models

    targets, complete = read_targets(files, declared)
    names = _names_in(folder, [target.id for target in targets])

    def fit_one(spectrum):
        return models.fit(spectrum, **how | {"samples": how["samples"] or 1000})

    for target, name, posterior in zip(targets, names, answers(targets, fit_one)):
        if posterior is None:
            complete = False
            continue
        complete &= _written(posterior, folder, name, target.path)
        (terminal.print_json_line if as_json else terminal.print_table)(posterior)
    return complete


def _sampler(sampler: str | None, refine: bool | None, *, usual: str) -> str:
    """The sampler that is meant; --refine and --no-refine are short for two of them."""
    by_refine = {None: None, True: "refined", False: "amortised"}[refine]
    if sampler is not None and sampler not in SAMPLERS:
        raise InputError(f"--sampler {sampler}", expected=f"one of {', '.join(SAMPLERS)}", mend="Choose one of those.")
    if sampler is not None and by_refine is not None and sampler != by_refine:
        came = f"--sampler {sampler} with --{'' if refine else 'no-'}refine"
        raise InputError(came, expected="one of the two", mend="Leave out --refine and --no-refine.")
    return sampler or by_refine or usual


def _fractions(text: str) -> list[float]:
    """Numbers with commas between. Raises InputError where they are none."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise InputError(f"--error-floor {text}", expected="numbers with commas between", mend="Write 0.05 for five per cent.") from error


def _refuse_table(table: str, folder: Path | None) -> None:
    """Columns that there are not, or that are for a file, without a folder to write it in."""
    if table not in TABLES:
        raise InputError(f"--table {table}", expected=f"one of {', '.join(TABLES)}", mend="Choose one of those.")
    if table != "answers" and folder is None:
        raise InputError(f"--table {table} without --out", expected="a folder for the file", mend="Add --out DIR.")


def _refuse(how: str, **given: object) -> None:
    """Options of the other kind of data, with or without --bands."""
    named = [f"--{name.replace('_', '-')}" for name, value in given.items() if value is not None]
    if named:
        came = f"{', '.join(named)} {how} --bands"
        raise InputError(came, expected="options of one kind of data", mend="--bands says that the files are catalogues of photometry.")


def _number(option: str, text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError as error:
        raise InputError(f"{option} {text}", expected="a number", mend="Columns can be named for catalogues only (--bands).") from error


@app.command()
def demo(out: Out = Path(), model: Model = "galaxy", samples: Samples = 1000, seed: Seed = 0) -> None:
    """Fit the galaxy that ships with slipher, print its table and write its figure, slipher-demo.png."""
    from slipher import models
    from slipher.report.figure import save_figure

    compiled.keep()
    path = _made(out) / DEMO_FIGURE
    typer.echo(DEMO)
    with terminal.waiting("fitting NGC 3073"):
        posterior = models.fit(bundled_spectrum(), model=model, samples=samples, seed=seed)
    terminal.print_table(posterior)
    save_figure(posterior, path)
    typer.echo(f"Masses, rates and fluxes are those inside the 3 arcsec fibre. Figure: {path}")


@app.command()
def simulate(
    out: Out,
    n: Annotated[int, typer.Option("-n", min=1, help="Number of galaxies.")] = 10,
    model: Model = "galaxy",
    survey: Annotated[str, typer.Option(help="sdss, boss or desi.")] = "sdss",
    seed: Seed = 0,
    redshift: Annotated[float | None, typer.Option(help="One redshift for all; drawn where left out.")] = None,
    median_sn: Annotated[float | None, typer.Option(help="Median S/N a pixel; drawn where left out.")] = None,
) -> None:
    """Draw galaxies from the prior and write what a survey would record of them, with their truth.ecsv.

    Of a generative model (spectrum_latents) galaxies are drawn from its latents and written as the survey's own files: spec-*.fits of SDSS
    and BOSS, a coadd-*.fits with its redrock-*.fits of DESI. Of others each is a FITS table that slipher reads. The same call again
    replaces its files; a folder that holds the mocks of another call is refused.
    """
    from slipher import models
    from slipher.cli import mocks as written

    compiled.keep()
    folder = _made(out)
    call = {"slipher": __version__, "model": model, "survey": survey, "seed": seed, "n": n, "redshift": redshift, "median_sn": median_sn}
    written.refuse_other(folder, call)
    with terminal.waiting(f"simulating {n} galaxies"):
        mocks = models.simulate(n, model=model, survey=survey, seed=seed, redshift=redshift, median_sn=median_sn)
    written.write(mocks, folder, call, own=models.card(model).get("kind") == "latents")
    typer.echo(f"{n} spectra and their {written.TRUTH} in {folder}")


@app.command(name="outliers")
def find_outliers(
    files: Annotated[list[Path], typer.Argument(metavar="SPECTRA", help="SDSS, BOSS and DESI files, tables.")],
    model: Annotated[str, typer.Option(help="A generative model, or a folder of `slipher train`.")] = "spectrum_latents",
    redshift: Annotated[str | None, typer.Option(metavar="Z", help="Heliocentric redshift, in place of the file's.")] = None,
    ebv: Annotated[str | None, typer.Option(metavar="MAG", help="Galactic E(B-V), in place of the file's.")] = None,
    survey: Annotated[str | None, typer.Option(help="For tables: sdss, boss, desi or custom.")] = None,
    resolving_power: Annotated[float | None, typer.Option(help="For tables: wavelength / FWHM.")] = None,
    wave_unit: Annotated[str | None, typer.Option(help="For tables: unit of the wavelengths, such as nm.")] = None,
    flux_unit: Annotated[str | None, typer.Option(help="For tables: unit of the fluxes, such as Jy.")] = None,
    wave_medium: Annotated[str | None, typer.Option(help="For tables: vacuum or air.")] = None,
    out: OutIfGiven = None,
    as_json: Json = False,
) -> None:
    """Find unusual spectra: latent coordinates, false-alarm rates, and what makes each unusual.

    With --out DIR: outliers.ecsv, and ID.outlier.png for each. The most unusual come first. Status as for `fit`.
    """
    from slipher import models
    from slipher.cli import outliers

    compiled.keep()
    models.card(model)
    _one_file(files, {"--redshift": redshift, "--ebv": ebv})
    given = {"redshift": redshift_value(_number("--redshift", redshift)), "ebv": ebv_value(_number("--ebv", ebv))}
    given |= declarations(survey=survey, resolving_power=resolving_power, wave_unit=wave_unit, flux_unit=flux_unit, wave_medium=wave_medium)
    complete = outliers.answer(files, given, model, None if out is None else _made(out), as_json=as_json)
    raise typer.Exit(0 if complete else NOT_ANSWERED)


@app.command()
def deblend(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE", help="FITS images or cubes, or archives of arrays (.npz).")],
    catalog: Annotated[
        Path | None, typer.Option(help="Detections: a table with x and y (of the first image), or ra and dec. Found where left out.")
    ] = None,
    psf: Annotated[
        list[str] | None, typer.Option(metavar="FILE", help="FITS image of the point-spread function, one or one a band.")
    ] = None,
    psf_fwhm: Annotated[
        list[str] | None, typer.Option(metavar="PIXELS", help="Its full width at half maximum, where there is no image of it.")
    ] = None,
    bands: Annotated[list[str] | None, typer.Option(metavar="NAMES", help="Of the bands, with commas, where the file has none.")] = None,
    saturation: Annotated[list[str] | None, typer.Option(metavar="FLUX", help="From which a pixel is saturated.")] = None,
    gain: Annotated[
        list[str] | None,
        typer.Option(metavar="ELECTRONS", help="For a flux of one, by band: adds sources' shot noise to a variance without it."),
    ] = None,
    zero_point: Annotated[
        list[str] | None, typer.Option(metavar="MAG", help="AB magnitude of a flux of one: 27, or 27,26,... by band.")
    ] = None,
    prior: Annotated[
        str, typer.Option(metavar="NAME", help="What bright galaxies look like: profiles (with texture), or learned.")
    ] = "profiles",
    astrometry: Annotated[
        float | None, typer.Option(metavar="PIXELS", help="Of the first image, by which coordinates of others may be off: 0.3, one sd.")
    ] = None,
    filters: Annotated[
        list[str] | None,
        typer.Option(metavar="NAMES", rich_help_panel=POPULATIONS, help="Filter of each band, in their order: hsc2017-g,hsc2017-r,..."),
    ] = None,
    redshift: Annotated[
        str | None, typer.Option(rich_help_panel=POPULATIONS, metavar="Z", help="Of all sources, or the column of --catalog with each.")
    ] = None,
    ebv: Annotated[float | None, typer.Option(rich_help_panel=POPULATIONS, metavar="MAG", help="Galactic E(B-V).")] = None,
    populations: Annotated[
        bool | None,
        typer.Option("--populations/--no-populations", rich_help_panel=POPULATIONS, help="Fit them: done where --filters are given."),
    ] = None,
    refine: Annotated[bool, typer.Option(rich_help_panel=POPULATIONS, help="Correct the network's draws by the exact likelihood.")] = True,
    seed: Seed = 0,
    out: OutIfGiven = None,
) -> None:
    """Take a blend of sources apart: fluxes, places, sizes and shapes, with errors; with --filters their stellar populations too.

    Several images of one sky, with coordinates, are fitted together, where they show the sky of the first, of which the pixels of the
    catalogue are; files that share their pixels are bands of one image. What is said of images (--psf, --psf-fwhm, --bands,
    --saturation, --gain, --zero-point, --filters) is said once for all of them, or once for each, in their order:
    --psf HSC.psf.fits --psf HST.psf.fits; a hyphen leaves it to the file.
    With --out DIR: catalogue.ecsv, model.fits (model, residual and each source; of the second image with EXTVER 2), scene.png and
    scene-2.png; of populations medians and percentiles are columns of the catalogue, and populations/ID.posterior.nc, ID.summary.ecsv
    and ID.png the posteriors.
    """
    from slipher.cli import deblending
    from slipher.cli.of_images import declarations

    compiled.keep()
    said = {"bands": bands, "saturation": saturation, "zero_point": zero_point, "gain": gain}
    declared = declarations(len(images), psf=psf, psf_fwhm=psf_fwhm, **said)
    physics = _physics(filters, redshift, ebv, wanted=populations)
    if physics is not None:
        physics |= {"sampler": _sampler(None, refine, usual="refined")}
    deblending.run(images, catalog, None if out is None else _made(out), declared, physics, prior=prior, seed=seed, astrometry=astrometry)


def _physics(filters: list[str] | None, redshift: str | None, ebv: float | None, *, wanted: bool | None) -> dict | None:
    """What is said of sources as galaxies, or None where nothing is to be made of it."""
    if not filters and (wanted or (wanted is None and (redshift, ebv) != (None, None))):
        mend = "Add --filters hsc2017-g,hsc2017-r,... with the filter of each band."
        raise InputError("stellar populations without filters", expected="the filter of each band", mend=mend)
    if not filters or wanted is False:
        return None
    return {"filters": filters, "redshift": redshift, "ebv": ebv_value(ebv)}


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe, such as recipes/galaxy.toml.")],
    out: Out,
    resume: Annotated[bool, typer.Option(help="Go on where a run that was stopped left off.")] = True,
) -> None:
    """Train a model by a recipe."""
    from slipher import models

    folder = _made(out)
    with terminal.progress_bar(f"training by {recipe.name}") as progress:
        models.train(recipe, folder, resume=resume, progress=progress)
    typer.echo(f"trained by {recipe} into {folder}")


@app.command()
def calibrate(
    model: ModelName,
    mocks: Annotated[int, typer.Option(min=2, help="Galaxies to simulate and fit.")] = 1000,
    refine: Refine = True,
    known_redshift: Annotated[bool, typer.Option(help="Of photometry: give the redshift, or infer and test it too.")] = True,
    seed: Seed = 1,
    as_json: Json = False,
) -> None:
    """Test a model's posteriors on fresh mocks: ranks, TARP and coverage."""
    from slipher import models

    compiled.keep()
    with terminal.waiting(f"fitting {mocks} mocks"):
        report = models.calibrate(model, mocks=mocks, seed=seed, refine=refine, known_redshift=known_redshift)
    terminal.print_document(report, indent=None if as_json else 2)


@models_app.command("list")
def list_models() -> None:
    """Name the models that ship with slipher, one a line."""
    from slipher import models

    for name in models.names():
        typer.echo(name)


@models_app.command("show")
def show_model(name: ModelName) -> None:
    """Print a model's card, JSON: what made it, what it has seen, its calibration and its limits."""
    from slipher import models

    terminal.print_document(models.card(name))


def _one_file(files: list[Path], given: dict[str, str | None]) -> None:
    """One redshift or E(B-V) belongs to one galaxy."""
    for option, value in given.items():
        if value is not None and len(files) > 1:
            mend = "Fit them one by one, or write it into the files."
            raise InputError(f"one {option} for {len(files)} files", expected="one file", mend=mend)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _names_in(folder: Path | None, ids: list[str]) -> list[str]:
    """A file name for each galaxy; says so where files of an earlier run will be replaced."""
    if folder is None:
        return ids
    from slipher.report.folder import answer_files, distinct_names

    names = distinct_names(ids)
    terminal.say_replaced([path for name in names for path in answer_files(folder, name)], folder)
    return names


def _written(posterior, folder: Path | None, name: str, path: Path) -> bool:
    """Whether the galaxy's files are written, or none were asked for."""
    if folder is None:
        return True
    from slipher.report.folder import write_answer

    return attempt(lambda: write_answer(posterior, folder, name), path=path, id=posterior.id) is not None
