# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulated scans obey the symmetries, the conventions and the statistics that they claim."""

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from scipy.ndimage import affine_transform

from py4dstem_rrvae import simulate
from py4dstem_rrvae.simulate import CASES, Case, Microscope, Scan, counts, intensities, vacuum
from py4dstem_rrvae.simulate import __main__ as command

BOND = 2.46 / math.sqrt(3)
# An odd detector with its centre on a pixel, so that a quarter turn only permutes pixels.
SMALL = Case(
    partial(simulate.graphene, rotation=0.3),
    radius=12.0,
    microscope=Microscope(60e3, 32.0, detector_pixels=63, max_angle=48.0, phonon_configurations=2),
    scan=Scan(shape=(1, 1), step=0.3),
    electrons=1e4,
)
STILL = replace(SMALL, microscope=replace(SMALL.microscope, phonon_sigma=0.0))


def turned(pattern, angle, center):
    """Pattern turned about its centre from the row axis towards the column axis."""
    cos, sin = math.cos(angle), math.sin(angle)
    back = np.array([[cos, sin], [-sin, cos]])
    return affine_transform(pattern, back, offset=center - back @ center, order=3)


def turn_error(simulation, degrees):
    """Disagreement of the first pattern's inner disc with itself turned, relative to its detail."""
    center = np.array(simulation.center)
    pattern = simulation.patterns[0, 0].astype(float)
    row, col = np.indices(pattern.shape) - center[:, None, None]
    # The edge of the aperture is fixed to the pixels; 0.8 of its radius is well inside.
    microscope = simulation.microscope
    aperture = microscope.detector_pixels / 2 * microscope.semiangle / microscope.max_angle
    inside = np.hypot(row, col) < 0.8 * aperture
    other = turned(pattern, math.radians(degrees), center)
    return np.std((other - pattern)[inside]) / np.std(pattern[inside])


def at(case, place, **options):
    """Simulation of a single pattern at a place of the specimen."""
    return intensities(case, scan=replace(case.scan, center=tuple(place)), **options)


def site(case, sublattice):
    """Place of the atom of a sublattice next to the origin, from the specimen function's doc."""
    angle = case.specimen.keywords["rotation"] + math.radians(30 if sublattice == 1 else 90)
    return BOND * math.cos(angle), BOND * math.sin(angle)


def disc_signal(simulation, lowest):
    """Map of the electrons scattered beyond `lowest` times the aperture."""
    row, col = (
        np.indices(simulation.patterns.shape[2:]) - np.array(simulation.center)[:, None, None]
    )
    microscope = simulation.microscope
    aperture = microscope.detector_pixels / 2 * microscope.semiangle / microscope.max_angle
    return simulation.patterns[..., np.hypot(row, col) > lowest * aperture].sum(-1)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(CASES))
def test_vacuum_is_one_electron_about_the_stated_centre(name):
    pattern = vacuum(name).astype(float)
    assert pattern.sum() == pytest.approx(1, abs=1e-5)
    detector = simulate.multislice.WaveDetector.of(CASES[name])
    found = [(pattern * index).sum() for index in np.indices(pattern.shape)]
    np.testing.assert_allclose(found, detector.center, atol=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(CASES))
def test_aperture_has_its_angle_on_the_detector(name):
    microscope = CASES[name].microscope
    disc = (vacuum(name) > vacuum(name).max() / 2).sum()
    pixel = 2 * microscope.max_angle / microscope.detector_pixels
    assert math.sqrt(disc / math.pi) * pixel == pytest.approx(microscope.semiangle, rel=0.02)


@pytest.mark.slow
def test_q_per_pixel_is_the_angle_over_the_wavelength():
    simulation = at(STILL, (0.0, 0.0))
    # 0.0486616 A is the relativistic wavelength at 60 kV.
    expected = 2 * 48e-3 / 0.0486616 / 63
    assert simulation.q_per_pixel == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("sublattice", [1, 2])
def test_atom_is_threefold_and_not_sixfold(sublattice):
    simulation = at(STILL, site(STILL, sublattice))
    assert turn_error(simulation, 120) < 0.2 * turn_error(simulation, 60)


def test_hexagon_centre_is_sixfold_and_not_twelvefold():
    simulation = at(STILL, (0.0, 0.0))
    assert turn_error(simulation, 60) < 0.3 * turn_error(simulation, 30)


def test_quarter_turn_of_the_specimen_turns_the_pattern_from_rows_to_columns():
    place = (0.4, 0.9)
    start = at(SMALL, place, random_state=3)
    turn = at(SMALL, place, random_state=3, turn=math.pi / 2)
    assert start.center == turn.center == (31.0, 31.0)
    pattern, after = start.patterns[0, 0], turn.patterns[0, 0]
    detail = np.abs(pattern - np.rot90(pattern, 2)).max()
    assert np.abs(after - np.rot90(pattern)).max() < 1e-3 * detail
    assert np.abs(after - np.rot90(pattern, -1)).max() > 0.5 * detail


def test_other_thermal_displacements_are_no_turn():
    """The agreement above rests on the displacements being the same."""
    place = (0.4, 0.9)
    pattern = at(SMALL, place, random_state=3).patterns[0, 0]
    other = at(SMALL, place, random_state=4, turn=math.pi / 2).patterns[0, 0]
    detail = np.abs(pattern - np.rot90(pattern, 2)).max()
    assert np.abs(other - np.rot90(pattern)).max() > 1e-2 * detail


def test_turn_by_any_angle_turns_the_pattern_by_it():
    place = (0.4, 0.9)
    pattern = at(SMALL, place).patterns[0, 0].astype(float)
    after = at(SMALL, place, turn=math.radians(17)).patterns[0, 0]
    center = np.array([31.0, 31.0])
    inside = np.hypot(*(np.indices(pattern.shape) - 31)) < 17
    errors = {
        degrees: np.std((turned(pattern, math.radians(degrees), center) - after)[inside])
        for degrees in (-17, 0, 14, 17, 20)
    }
    assert min(errors, key=errors.get) == 17
    assert errors[17] < 0.3 * min(errors[14], errors[20])


def test_probe_positions_keep_their_place_on_the_turned_specimen():
    """A map that ignores direction, the dark field, does not change with the turn."""
    scan = Scan(shape=(5, 6), step=0.4, center=(0.3, -0.5))
    first, second = (
        disc_signal(intensities(SMALL, scan=scan, turn=turn), 1.1) for turn in (0.0, math.pi / 2)
    )
    assert np.ptp(first) > 0.2 * first.mean()
    np.testing.assert_allclose(first, second, rtol=1e-3)


def test_field_of_an_atom_deflects_towards_it():
    """Electrons are drawn to the nuclei: beside an atom the beam leans to the atom's side."""
    x, y = site(STILL, 1)
    pattern = at(STILL, (x, y - 0.3)).patterns[0, 0].astype(float)
    row, col = ((pattern * index).sum() / pattern.sum() - 31 for index in np.indices(pattern.shape))
    assert col > 5 * abs(row)


@pytest.mark.slow
def test_dark_field_finds_the_defects_where_the_truth_puts_them():
    case = CASES["graphene"]
    quick = replace(case.microscope, source_fwhm=0.0, phonon_configurations=1)
    case = replace(case, microscope=quick)
    symbols = np.array(intensities(case, scan=Scan((1, 1), 0.5)).symbols)
    assert (symbols == "Si").sum() == 1
    everywhere = intensities(case, scan=replace(case.scan, shape=(22, 22), step=0.5))
    signal = disc_signal(everywhere, 1.25)
    (silicon,) = everywhere.positions[symbols == "Si"]
    (vacancy,) = everywhere.vacancies
    brightest = np.unravel_index(signal.argmax(), signal.shape)
    assert np.hypot(*(brightest - silicon)) <= 1.0
    inside = ((everywhere.positions > 0) & (everywhere.positions < 21)).all(1)
    at_atoms = signal[tuple(np.rint(everywhere.positions[inside & (symbols == "C")]).astype(int).T)]
    assert signal[tuple(np.rint(vacancy).astype(int))] < at_atoms.min()


def test_defects_stand_inside_the_scan_and_apart():
    case = CASES["graphene"]
    atoms = case.specimen(case.radius)
    silicon = atoms.positions[atoms.symbols == "Si", :2][0]
    vacancy = atoms.info["vacancies"][0]
    half = (np.array(case.scan.shape) - 1) / 2 * case.scan.step
    assert (half - np.abs([silicon, vacancy])).min() >= 4
    assert np.hypot(*(silicon - vacancy)) >= 6
    bonds = np.sort(np.linalg.norm(atoms.positions - [*silicon, 0], axis=1))[1:4]
    np.testing.assert_allclose(bonds, 1.77)


@pytest.mark.parametrize(
    ("specimen", "symbol", "missing"),
    [(simulate.graphene, "C", 1), (simulate.mos2, "S", 2), (simulate.hbn, "B", 1)],
)
def test_vacancy_is_a_missing_column_next_to_its_place(specimen, symbol, missing):
    whole, lacking = specimen(8.0), specimen(8.0, vacancy=(0.7, 0.2))
    assert len(whole) - len(lacking) == missing
    assert (whole.symbols == symbol).sum() - (lacking.symbols == symbol).sum() == missing
    (gap,) = lacking.info["vacancies"]
    assert np.hypot(*(gap - (0.7, 0.2))) < 2
    assert np.hypot(*(lacking.positions[:, :2] - gap).T).min() > 1.4


def test_source_blur_is_the_weighted_mean_of_neighbouring_patterns():
    scan = Scan(shape=(1, 2), step=0.5)
    blurred_case = replace(SMALL, microscope=replace(SMALL.microscope, source_fwhm=0.6))
    blurred = intensities(blurred_case, scan=scan).patterns
    sigma = 0.6 / math.sqrt(8 * math.log(2)) / scan.step
    margin = math.ceil(3 * sigma)
    wide = Scan(shape=(1 + 2 * margin, 2 + 2 * margin), step=scan.step)
    sharp = intensities(SMALL, scan=wide).patterns
    weight = np.exp(-0.5 * (np.arange(-margin, margin + 1) / sigma) ** 2)
    weight /= weight.sum()
    # The wide scan has the same middle: it adds just the margin.
    expected = np.einsum("i,j,ijrc->rc", weight, weight, sharp[:, :-1])
    np.testing.assert_allclose(blurred[0, 0], expected, rtol=1e-4, atol=1e-9)


def test_same_seed_gives_same_bytes_and_another_seed_does_not():
    first, again, other = (at(SMALL, (0.4, 0.9), random_state=seed).patterns for seed in (5, 5, 6))
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()


def test_counts_are_poisson_at_the_stated_dose():
    one = at(STILL, (0.0, 0.0))
    many = replace(one, patterns=np.broadcast_to(one.patterns, (50, 40, 63, 63)))
    drawn = counts(many, 2e4, random_state=1)
    assert drawn.dtype == np.uint16
    mean = drawn.reshape(-1, 63, 63).mean(0)
    variance = drawn.reshape(-1, 63, 63).var(0)
    expected = 2e4 * one.patterns[0, 0]
    # 2000 draws: the mean is known to sqrt(n / 2000), a variance to about n sqrt(2 / 2000).
    assert np.abs(mean - expected).max() < 5 * np.sqrt(expected.max() / 2000)
    bright = expected > 5
    assert np.abs(variance / expected - 1)[bright].max() < 5 * math.sqrt(2.2 / 2000)
    assert drawn.sum((2, 3)).mean() == pytest.approx(2e4 * one.patterns.sum(), rel=1e-3)


def test_counts_repeat_with_their_seed():
    one = at(STILL, (0.0, 0.0))
    first, again, other = (counts(one, 1e3, random_state=seed) for seed in (1, 1, 2))
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()


def test_counts_refuse_what_they_cannot_draw():
    one = at(STILL, (0.0, 0.0))
    with pytest.raises(ValueError, match=r"noise-free; got 100\.0 electrons"):
        counts(replace(one, electrons=100.0), 1e3, random_state=1)
    with pytest.raises(ValueError, match="electrons must be positive; got 0"):
        counts(one, 0, random_state=1)
    with pytest.raises(ValueError, match="counts must fit uint16; got"):
        counts(one, 1e9, random_state=1)


def test_unknown_case_lists_the_choices():
    with pytest.raises(
        ValueError, match=r"one of \['graphene', 'graphene_coherent'.*'zns'\]; got 'graphite'"
    ):
        intensities("graphite")


def test_pattern_is_a_mean_over_snapshots():
    """Each electron is detected at most once, and almost every one within 1.5 apertures."""
    total = at(SMALL, (0.4, 0.9)).patterns.sum()
    assert 0.99 < total <= 1


def test_thermal_motion_blurs_the_dark_field_of_an_atom():
    place = site(STILL, 1)
    hot = replace(STILL.microscope, phonon_sigma=0.15, phonon_configurations=8)
    warm = disc_signal(at(replace(STILL, microscope=hot), place), 1.1)
    assert warm < 0.9 * disc_signal(at(STILL, place), 1.1)


def test_scan_beyond_the_specimen_is_refused():
    with pytest.raises(ValueError, match=r"radius is 12\.0 A and the scan goes 9\.0 A"):
        at(SMALL, (9.0, 0.0))


def test_detector_beyond_the_kept_scattering_is_refused():
    wide = replace(SMALL, microscope=replace(SMALL.microscope, max_angle=90.0))
    with pytest.raises(ValueError, match=r"at most 81\.1 mrad at 60000\.0 eV; got 90\.0"):
        vacuum(wide)


def test_command_line_writes_a_file_that_is_the_simulation(tmp_path, monkeypatch):
    monkeypatch.setitem(CASES, "graphene", SMALL)
    path = tmp_path / "small.h5"
    command.main(["graphene", "--out", str(path), "--seed", "3"])
    back = simulate.load(path)
    assert back.electrons == SMALL.electrons
    assert back.random_state == 3
    first = path.read_bytes()
    with monkeypatch.context() as patch:
        # The refusal comes before the simulation.
        patch.delattr(command, "intensities")
        with pytest.raises(FileExistsError, match=r"small\.h5 exists; pass overwrite=True"):
            command.main(["graphene", "--out", str(path)])
    command.main(["graphene", "--out", str(path), "--seed", "3", "--overwrite"])
    assert path.read_bytes() == first
    command.main(["graphene", "--out", str(path), "--electrons", "50", "--overwrite"])
    assert simulate.load(path).electrons == 50
