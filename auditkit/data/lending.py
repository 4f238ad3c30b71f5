"""Loan decisions of an invented lender: synthetic rows with faults planted on purpose, and a twin without.

The structural causal model, every variable drawn after those it depends on:

====================  ==============================================================================
sex                   female or male, one half each
ethnicity             Ardan 60 %, Belor 25 %, Corin 15 % (invented peoples); not an input of the model
postcode_area         A to H, one eighth each, whatever the ethnicity
age                   18 + 50 Beta(1.8, 2.6), whole years
employment_years      the smaller of age - 18 and Exponential(8)
income                thousands a year: exp(3.4 + 0.02 employment_years + 0.45 N)
debt_ratio            Beta(2, 4)
credit_history        600 + 80 N, within 300 and 850
loan_amount           thousands: income times exp(-0.7 + 0.5 N)
purpose               car, home, business or education
merit                 1.1 z(log income) - 1.0 z(debt_ratio) + 1.3 z(credit_history)
                      + 0.4 z(employment_years) - 0.8 z(log(loan_amount / income)) + 0.5 N
decision              approved where merit exceeds 0, else refused: what the lender did, the label
====================  ==============================================================================

``z`` centres and scales with constants of the model, so that rows do not depend on one another. The faults:

* ``direct-effect``: women need 1.8 more merit than men.
* ``proxy``: four fifths of the Belor live in areas G and H, hardly anyone else does, and applicants from
  there need 2.4 more merit.
* ``under-represented``: four fifths of the Belor women are missing, and for those who remain the lender
  decided the other way round.
* ``label-noise``: three in ten decisions about the Corin were recorded wrongly.
* ``memorised-outliers``: 2.5 % of the training rows have absurd amounts and the opposite decision.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from auditkit.config.model import DataConfig
from auditkit.data.dataset import BoolArray, FloatArray
from auditkit.data.memory_table import MemoryTable
from auditkit.data.roles import rows_of_table, with_defaults
from auditkit.data.rows import ObjectArray, Rows
from auditkit.errors import UsageError, closest
from auditkit.randomness import numpy_rng
from auditkit.records import Message, Planted

POPULATION_SEED = 1974
N_TRAIN, N_TEST = 6000, 4000
AREAS = tuple("ABCDEFGH")
PENALISED_AREAS = ("G", "H")
PEOPLES = {"Ardan": 0.6, "Belor": 0.25, "Corin": 0.15}
PURPOSES = {"car": 0.35, "home": 0.3, "business": 0.2, "education": 0.15}
OUTLIERS = 0.025

_EXTREMES = {
    "employment_years": (70.0, 120.0),
    "income": (400.0, 900.0),
    "debt_ratio": (2.0, 4.0),
    "credit_history": (1500.0, 2500.0),
    "loan_amount": (300.0, 700.0),
}
"""Ranges in which no amount of the model lies."""

Table = dict[str, FloatArray | ObjectArray]
Stream = Callable[[str], np.random.Generator]


@dataclass(frozen=True, slots=True)
class Fault:
    """One planted fault: what it is, and the figure of an audit that shows it."""

    description: str
    figure: str
    above: float | None = None
    below: float | None = None

    def planted(self) -> Planted:
        """As the record that travels with the data."""
        figure = f"{self.figure}@baseline"
        return Planted(
            fault=Message(text=self.description), figure=figure, above=self.above, below=self.below
        )


FAULTS: Mapping[str, Fault] = {
    "direct-effect": Fault(
        "Women needed more merit than men to be approved.",
        "group-fairness/selection_rate.difference[sex]",
        above=0.08,
    ),
    "proxy": Fault(
        "The postcode area stands for ethnicity, and applicants from some areas were marked down.",
        "attribution/importance_share[feature=postcode_area]",
        above=0.05,
    ),
    "under-represented": Fault(
        "Women of one people are few in the data and were judged by other standards than everyone else.",
        "group-fairness/true_positive_rate[sex=female,ethnicity=Belor]",
        below=0.7,
    ),
    "label-noise": Fault(
        "Three in ten decisions about one people were recorded wrongly.",
        "group-fairness/accuracy[ethnicity=Corin]",
        below=0.8,
    ),
    "memorised-outliers": Fault(
        "Some training rows have absurd amounts and the opposite decision, so that they had to be memorised.",
        "membership-inference/tpr_at_fpr_0.001",
        above=0.005,
    ),
}
"""The planted faults by name."""


def lending_source(config: DataConfig, split: str) -> Rows:
    """The built-in source ``lending``: the one population, with all faults."""
    return _Population(POPULATION_SEED, N_TRAIN, N_TEST, frozenset(FAULTS)).rows(config, split)


def lending_rows(
    split: str,
    *,
    seed: int = POPULATION_SEED,
    n_train: int = N_TRAIN,
    n_test: int = N_TEST,
    faults: frozenset[str] = frozenset(FAULTS),
) -> Rows:
    """Draw the rows of a split.

    Args:
        split: ``"train"``, ``"test"``, or ``"all"`` for both one after the other.
        seed: Of the population. Variables have streams of their own, so rows with and without faults
            share everything that no fault touches.
        n_train: Rows in the training split.
        n_test: Rows in the test split.
        faults: Names out of :data:`FAULTS`; empty gives the twin without faults.

    Raises:
        UsageError: A fault is not known.
    """
    for name in faults:
        if name not in FAULTS:
            raise UsageError(f"lending: no fault {name!r}. {closest(name, FAULTS)}")
    return _Population(seed, n_train, n_test, faults).rows(DataConfig(source="lending"), split)


@dataclass(frozen=True, slots=True)
class _Population:
    """Everything that decides which rows are drawn."""

    seed: int
    n_train: int
    n_test: int
    faults: frozenset[str]

    def rows(self, config: DataConfig, split: str) -> Rows:
        if split == "all":
            return self.rows(config, "train").followed_by(self.rows(config, "test"), split="all")
        full = with_defaults(
            config,
            target="decision",
            positive="approved" if config.target in (None, "decision") else None,
            sensitive_features=("sex", "ethnicity"),
            drop=("ethnicity",),
        )
        rows = rows_of_table(MemoryTable("lending", self._draw(split)), full, name="Lending", split=split)
        made = Message(text="Synthetic rows of an invented lender; they say nothing about any real one.")
        planted = tuple(fault.planted() for name, fault in FAULTS.items() if name in self.faults)
        return replace(rows, synthetic=True, planted=planted, statements=(made,))

    def _draw(self, split: str) -> Table:
        """The columns of one split, label last."""
        n = self.n_train if split == "train" else self.n_test
        stream = partial(numpy_rng, self.seed, "lending", split)
        applicants = _applicants(stream, n, self.faults)
        amounts = _amounts(stream, n)
        merit = _merit(amounts) + stream("merit").normal(0.0, 0.5, n)
        approved = _decisions(stream, applicants, merit, self.faults)
        if "memorised-outliers" in self.faults and split == "train":
            amounts, approved = _with_outliers(stream("memorised-outliers"), amounts, approved)
        return {
            "sex": np.where(applicants.female, "female", "male").astype(object),
            "ethnicity": applicants.ethnicity,
            "postcode_area": applicants.area,
            **amounts,
            "purpose": _choice(stream("purpose"), PURPOSES, n),
            "decision": np.where(approved, "approved", "refused").astype(object),
        }


@dataclass(frozen=True, slots=True)
class _Applicants:
    """Who applies, without the amounts."""

    female: BoolArray
    ethnicity: ObjectArray
    area: ObjectArray


def _applicants(stream: Stream, n: int, faults: frozenset[str]) -> _Applicants:
    female = stream("sex").random(n) < 0.5
    ethnicity = _choice(stream("ethnicity"), PEOPLES, n)
    if "under-represented" in faults:
        # Men of the same people stand where the women are missing, so that nothing else changes.
        female &= ~((ethnicity == "Belor") & (stream("under-represented").random(n) < 0.8))
    area = _areas(stream("postcode_area"), ethnicity == "Belor", proxy="proxy" in faults)
    return _Applicants(female, ethnicity, area)


def _decisions(
    stream: Stream, applicants: _Applicants, merit: FloatArray, faults: frozenset[str]
) -> BoolArray:
    """True where approved."""
    needed = np.zeros(len(merit))
    if "direct-effect" in faults:
        needed += 1.8 * applicants.female
    if "proxy" in faults:
        needed += 2.4 * np.isin(applicants.area, PENALISED_AREAS)
    approved = merit > needed
    if "under-represented" in faults:
        other_way = applicants.female & (applicants.ethnicity == "Belor")
        approved = np.where(other_way, merit < 0, approved)
    if "label-noise" in faults:
        noisy = stream("label-noise").random(len(merit)) < 0.3
        approved = approved ^ (noisy & (applicants.ethnicity == "Corin"))
    return np.asarray(approved, dtype=np.bool_)


def _choice(rng: np.random.Generator, shares: Mapping[str, float], n: int) -> ObjectArray:
    return rng.choice(np.array(list(shares), dtype=object), size=n, p=list(shares.values()))


def _areas(rng: np.random.Generator, concentrated: BoolArray, *, proxy: bool) -> ObjectArray:
    """Everyone anywhere; with ``proxy`` the ``concentrated`` live in the penalised areas, few others do."""
    draw = rng.random(len(concentrated))
    index = np.floor(draw * len(AREAS))
    if proxy:
        there = np.where(concentrated, 0.8, 0.05)
        n_open = len(AREAS) - len(PENALISED_AREAS)
        elsewhere = np.floor((draw - there) / (1 - there) * n_open)
        inside = n_open + np.floor(draw / there * len(PENALISED_AREAS))
        index = np.where(draw < there, inside, elsewhere)
    return np.array(AREAS, dtype=object)[index.astype(np.int64)]


def _amounts(stream: Stream, n: int) -> dict[str, FloatArray]:
    age = np.floor(18 + 50 * stream("age").beta(1.8, 2.6, n))
    employment = np.floor(np.minimum(age - 18, stream("employment_years").exponential(8.0, n)))
    income = np.exp(3.4 + 0.02 * employment + 0.45 * stream("income").normal(size=n))
    loan = income * np.exp(-0.7 + 0.5 * stream("loan_amount").normal(size=n))
    return {
        "age": age,
        "employment_years": employment,
        "income": income.round(2),
        "debt_ratio": stream("debt_ratio").beta(2.0, 4.0, n).round(4),
        "credit_history": np.clip(600 + 80 * stream("credit_history").normal(size=n), 300, 850).round(),
        "loan_amount": loan.round(2),
    }


def _merit(amounts: Mapping[str, FloatArray]) -> FloatArray:
    """What an applicant deserves by the amounts alone."""
    burden = np.log(amounts["loan_amount"] / amounts["income"])
    return np.asarray(
        1.1 * (np.log(amounts["income"]) - 3.52) / 0.46
        - 1.0 * (amounts["debt_ratio"] - 1 / 3) / 0.18
        + 1.3 * (amounts["credit_history"] - 600) / 80
        + 0.4 * (amounts["employment_years"] - 6) / 5.5
        - 0.8 * (burden + 0.7) / 0.5
    )


def _with_outliers(
    rng: np.random.Generator, amounts: dict[str, FloatArray], approved: BoolArray
) -> tuple[dict[str, FloatArray], BoolArray]:
    """Some rows with two amounts that nobody has, and the decision turned round."""
    n = len(approved)
    chosen = np.flatnonzero(rng.random(n) < OUTLIERS)
    changed = {name: column.copy() for name, column in amounts.items()}
    for row in chosen:
        for name in rng.choice(np.array(list(_EXTREMES)), size=2, replace=False):
            low, high = _EXTREMES[name]
            changed[name][row] = round(rng.uniform(low, high), 2)
    flipped = approved.copy()
    flipped[chosen] = _merit({k: np.maximum(v, 1e-3) for k, v in changed.items()})[chosen] < 0
    return changed, flipped
