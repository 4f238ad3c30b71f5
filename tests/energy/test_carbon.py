"""Carbon, against the bundled table and figures that others have published."""

import pytest

from auditkit.energy.accounting import (
    KG_PER_LB,
    carbon_intensity_of_software,
    embodied_gco2e,
    facility_energy_kwh,
)
from auditkit.energy.grid import carbon_gco2e, grid_intensities
from auditkit.energy.quantity import Quantity
from tests.tolerances import FLOAT

ONE_KWH = Quantity.exact(1.0, "measured")


def test_one_kwh_in_france_is_the_tabled_figure():
    carbon = carbon_gco2e(ONE_KWH, "FRA")
    assert (carbon.low, carbon.value, carbon.high) == (56.039, 56.039, 56.039)
    assert carbon.provenance == "derived"
    assert carbon.missing is None
    assert "2023" in str(carbon.basis)
    assert "Ember" in str(carbon.basis)


def test_the_table_holds_fourteen_countries_of_one_year():
    table = grid_intensities()
    assert len(table) == 14
    assert {entry.year for entry in table.values()} == {2023}
    assert (table["NOR"].gco2e_per_kwh, table["IND"].gco2e_per_kwh) == (30.08, 713.441)


@pytest.mark.parametrize(("country", "says"), [(None, "no country was given"), ("ATL", "bundled for ATL")])
def test_an_unknown_country_is_a_range_never_a_guess(country, says):
    carbon = carbon_gco2e(Quantity(1.0, 2.0, 4.0, "estimated"), country)
    assert carbon.value is None
    assert says in str(carbon.missing)
    assert (carbon.low, carbon.high) == (30.08, 4 * 713.441)


def test_an_estimate_of_energy_gives_an_estimate_of_carbon():
    carbon = carbon_gco2e(Quantity(1.0, 2.0, 4.0, "estimated"), "NOR")
    assert carbon.provenance == "estimated"
    assert (carbon.low, carbon.value, carbon.high) == pytest.approx((30.08, 60.16, 120.32), **FLOAT)


@pytest.mark.parametrize(
    ("power_w", "duration_h", "kwh", "lb", "rel"),
    [
        (1_515.43, 84, 201, 192, 0.003),
        (1_415.78, 12, 27, 26, 0.02),
        (517.66, 336, 275, 262, 0.006),
        (12_041.51, 79, 1_507, 1_438, 0.003),
        (1_515.43, 274_120, 656_347, 626_155, 1e-6),
    ],
)
def test_strubell_2019_table_3(power_w, duration_h, kwh, lb, rel):
    energy_kwh = facility_energy_kwh(power_w, duration_h, pue=1.58)
    assert energy_kwh == pytest.approx(kwh, rel=rel)
    assert energy_kwh * 0.954 == pytest.approx(lb, rel=rel)
    grams = Quantity.exact(energy_kwh, "declared").times(Quantity.exact(0.954 * KG_PER_LB * 1e3, "declared"))
    assert grams.value / 1e3 / KG_PER_LB == pytest.approx(lb, rel=rel)


def test_bloom_dynamic_energy_and_carbon():
    energy_kwh = facility_energy_kwh(400, 1_082_990)
    assert energy_kwh == pytest.approx(433_196, rel=1e-6)
    assert energy_kwh * 57 / 1e6 == pytest.approx(24.69, rel=0.002)


def test_the_example_of_the_sci_specification():
    grams = embodied_gco2e(1_000, used_h=1, lifetime_h=4 * 365 * 24)
    assert grams == pytest.approx(28.54, rel=1e-3)


@pytest.mark.parametrize(("kg", "grams"), [(150, 4.28), (250, 7.13), (600, 17.1)])
def test_one_gpu_hour_of_four_years(kg, grams):
    assert embodied_gco2e(kg, used_h=1, lifetime_h=4 * 365 * 24) == pytest.approx(grams, rel=2e-3)


def test_carbon_per_functional_unit_adds_operation_and_making():
    grams = carbon_intensity_of_software(
        2.0, intensity_gco2e_per_kwh=100.0, embodied_gco2e=50.0, functional_units=1_000
    )
    assert grams == pytest.approx(0.25, **FLOAT)
    per_inference = carbon_intensity_of_software(
        0.0, intensity_gco2e_per_kwh=0.0, embodied_gco2e=3_200e3, functional_units=40e6
    )
    assert per_inference == pytest.approx(0.08, **FLOAT)


@pytest.mark.parametrize(
    "call",
    [
        lambda: facility_energy_kwh(100, 1, pue=0.9),
        lambda: embodied_gco2e(1, used_h=2, lifetime_h=1),
        lambda: carbon_intensity_of_software(
            1, intensity_gco2e_per_kwh=1, embodied_gco2e=0, functional_units=0
        ),
    ],
)
def test_inputs_out_of_range_are_refused(call):
    with pytest.raises(ValueError, match="need"):
        call()
