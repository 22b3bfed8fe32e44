"""Which publications can a method section of a report cite? Each as the fields of BibTeX."""

from __future__ import annotations

from collections.abc import Iterable

_ARTICLE = ("author", "title", "journal", "year", "volume", "pages")
_CONFERENCE = ("author", "title", "booktitle", "year", "pages")
_SOURCES: dict[str, tuple[str, ...]] = {
    "brier1950": (
        "Brier, Glenn W.",
        "Verification of forecasts expressed in terms of probability",
        "Monthly Weather Review",
        "1950",
        "78",
        "1--3",
    ),
    "bonett2012": (
        "Bonett, Douglas G. and Price, Robert M.",
        "Adjusted {W}ald confidence interval for a difference of binomial proportions based on paired data",
        "Journal of Educational and Behavioral Statistics",
        "2012",
        "37",
        "479--488",
    ),
    "cochran1954": (
        "Cochran, William G.",
        "The combination of estimates from different experiments",
        "Biometrics",
        "1954",
        "10",
        "101--129",
    ),
    "cohen1968": (
        "Cohen, Jacob",
        "Weighted kappa: nominal scale agreement with provision for scaled disagreement or partial credit",
        "Psychological Bulletin",
        "1968",
        "70",
        "213--220",
    ),
    "delong1988": (
        "DeLong, Elizabeth R. and DeLong, David M. and Clarke-Pearson, Daniel L.",
        "Comparing the areas under two or more correlated receiver operating characteristic curves: "
        "a nonparametric approach",
        "Biometrics",
        "1988",
        "44",
        "837--845",
    ),
    "efron1981": (
        "Efron, Bradley and Stein, Charles",
        "The jackknife estimate of variance",
        "The Annals of Statistics",
        "1981",
        "9",
        "586--596",
    ),
    "hampel1974": (
        "Hampel, Frank R.",
        "The influence curve and its role in robust estimation",
        "Journal of the American Statistical Association",
        "1974",
        "69",
        "383--393",
    ),
    "higgins2002": (
        "Higgins, Julian P. T. and Thompson, Simon G.",
        "Quantifying heterogeneity in a meta-analysis",
        "Statistics in Medicine",
        "2002",
        "21",
        "1539--1558",
    ),
    "holm1979": (
        "Holm, Sture",
        "A simple sequentially rejective multiple test procedure",
        "Scandinavian Journal of Statistics",
        "1979",
        "6",
        "65--70",
    ),
    "jennison1989": (
        "Jennison, Christopher and Turnbull, Bruce W.",
        "Interim analyses: the repeated confidence interval approach",
        "Journal of the Royal Statistical Society: Series B",
        "1989",
        "51",
        "305--361",
    ),
    "satterthwaite1946": (
        "Satterthwaite, Franklin E.",
        "An approximate distribution of estimates of variance components",
        "Biometrics Bulletin",
        "1946",
        "2",
        "110--114",
    ),
    "schuirmann1987": (
        "Schuirmann, Donald J.",
        "A comparison of the two one-sided tests procedure and the power approach for assessing the equivalence of "
        "average bioavailability",
        "Journal of Pharmacokinetics and Biopharmaceutics",
        "1987",
        "15",
        "657--680",
    ),
    "welch1951": (
        "Welch, Bernard L.",
        "On the comparison of several mean values: an alternative approach",
        "Biometrika",
        "1951",
        "38",
        "330--336",
    ),
    "guo2017": (
        "Guo, Chuan and Pleiss, Geoff and Sun, Yu and Weinberger, Kilian Q.",
        "On calibration of modern neural networks",
        "International Conference on Machine Learning",
        "2017",
        "1321--1330",
    ),
    "kingma2015": (
        "Kingma, Diederik P. and Ba, Jimmy",
        "Adam: a method for stochastic optimization",
        "International Conference on Learning Representations",
        "2015",
    ),
    "loshchilov2017": (
        "Loshchilov, Ilya and Hutter, Frank",
        "{SGDR}: stochastic gradient descent with warm restarts",
        "International Conference on Learning Representations",
        "2017",
    ),
    "loshchilov2019": (
        "Loshchilov, Ilya and Hutter, Frank",
        "Decoupled weight decay regularization",
        "International Conference on Learning Representations",
        "2019",
    ),
    "paszke2019": (
        "Paszke, Adam and Gross, Sam and Massa, Francisco and Lerer, Adam and Bradbury, James and others",
        "{PyTorch}: an imperative style, high-performance deep learning library",
        "Advances in Neural Information Processing Systems",
        "2019",
    ),
}
_PROCEEDINGS = ("guo2017", "kingma2015", "loshchilov2017", "loshchilov2019", "paszke2019")


def bibtex(keys: Iterable[str]) -> str:
    """The entries of these keys in their alphabetical order, each once."""
    return "\n".join(map(_entry, sorted(set(keys))))


def _entry(key: str) -> str:
    kind, names = ("inproceedings", _CONFERENCE) if key in _PROCEEDINGS else ("article", _ARTICLE)
    fields = [f"  {name} = {{{value}}},\n" for name, value in zip(names, _SOURCES[key], strict=False)]
    return f"@{kind}{{{key},\n{''.join(fields)}}}\n"
